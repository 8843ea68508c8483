"""Layers that come from elsewhere: fetched when they are needed, used only if they are right."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace

from lamina.content.compression import Compression
from lamina.content.errors import NotFound, wrong_digest
from lamina.content.store import BlobStore
from lamina.errors import RemoteError
from lamina.layer.scan import read_diff
from lamina.layer.stack import Layer, LayerLost
from lamina.layer.tar import HashingSink, write_tar
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of
from lamina.ops.stacks import Stacks
from lamina.snapshot.store import LayerStore, WorkDir
from lamina.trace import events
from lamina.trace.recorder import Progress, Recorder

CREATED = 1_700_000_000.123456


@dataclass
class Place:
    """A store, and an external cache that has blobs in a dictionary."""

    root: Path
    there: dict[str, bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    seen: list[events.Event] = field(default_factory=list)
    failure: Callable[[Layer], Exception] | None = None

    def __post_init__(self) -> None:
        self.layers = LayerStore(str(self.root / "store"))
        self.blobs = BlobStore(self.root / "blobs")
        (self.root / "locks").mkdir(parents=True)
        self.stacks = Stacks(
            layers=self.layers,
            blobs=self.blobs,
            fetch=self.fetch,
            recorder=Recorder((self.seen.append,)),
            locks=str(self.root / "locks"),
            reachable=lambda layer: layer.origin == "cache",
        )

    def fetch(self, layer: Layer, progress: Progress) -> None:
        assert layer.blob is not None
        self.fetched.append(layer.blob.digest)
        if self.failure is not None:
            raise self.failure(layer)
        self.blobs.put(self.there[layer.blob.digest])

    def offer(self, name: str) -> Layer:
        """A layer with one file that the cache has, as it was made elsewhere."""
        folder = self.root / name
        folder.mkdir()
        (folder / "file").write_text(name)
        (folder / "file").chmod(0o4755)
        os.link(folder / "file", folder / "hard link")
        os.symlink("file", folder / "soft link")
        manifest = read_diff(str(folder)).manifest
        tar = _Bytes()
        plain = HashingSink(tar)
        write_tar(manifest, str(folder), plain)
        data = bytes(tar.data)
        self.there[digest_of(data)] = data
        media_type = Compression.UNCOMPRESSED.media_type()
        return Layer(
            id=manifest.identity(),
            blob=Descriptor(media_type=media_type, digest=digest_of(data), size=len(data)),
            origin="cache",
            diff_id=plain.digest(),
            created=CREATED,
            size=plain.size,
        )

    def warnings(self) -> list[str]:
        return [event.message for event in self.seen if isinstance(event, events.Warned)]


class _Bytes:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes | memoryview, /) -> int:
        self.data += data
        return len(data)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_layer_of_a_cache_is_there_when_it_is_needed(place: Place) -> None:
    """It is known before, and fetched once."""
    layer = place.offer("one")
    assert place.stacks.exists((layer,))
    assert place.fetched == []
    place.stacks.ensure((layer,))
    place.stacks.ensure((layer,))
    assert len(place.fetched) == 1
    assert Path(place.layers.diff_dir(layer.id), "file").read_text() == "one"


def test_a_layer_is_as_old_as_where_it_was_made(place: Place) -> None:
    """To the last bit: images are dated by it."""
    layer = place.offer("one")
    place.stacks.ensure((layer,))
    assert place.layers.made_at(layer.id) == CREATED


def test_a_layer_without_a_blob_cannot_be_had(place: Place) -> None:
    """Nor one in a cache that there is no way to; unless its blob is here already."""
    layer = place.offer("one")
    assert not place.stacks.exists((replace(layer, blob=None),))
    elsewhere = replace(layer, origin="s3://other")
    assert not place.stacks.exists((elsewhere,))
    with pytest.raises(LayerLost):
        place.stacks.ensure((elsewhere,))
    assert layer.blob is not None
    place.blobs.put(place.there[layer.blob.digest])
    assert place.stacks.exists((elsewhere,))


@pytest.mark.parametrize("field", ["id", "diff_id"])
def test_a_layer_that_is_not_what_its_record_says_is_not_used(place: Place, field: str) -> None:
    """There is a warning, and the layer counts as lost; it is never unpacked into the store."""
    right = place.offer("one")
    layer = replace(right, **{field: digest_of(b"something else")})
    with pytest.raises(LayerLost):
        place.stacks.ensure((layer,))
    assert not place.stacks.exists((layer,))
    assert not place.layers.has(layer.id)
    assert len(place.warnings()) == 1
    assert "not what its record says" in place.warnings()[0]


def test_a_blob_that_cannot_be_had_loses_its_layer_alone(place: Place) -> None:
    """The cache has others still. It is no failure of the build."""
    lost, other = place.offer("one"), place.offer("two")
    place.failure = lambda layer: NotFound("no such blob")
    with pytest.raises(LayerLost):
        place.stacks.ensure((lost,))
    assert not place.stacks.exists((lost,))
    assert place.stacks.exists((other,))
    finished = [event for event in place.seen if isinstance(event, events.StepFinished)]
    assert [event.error for event in finished] == [""]


def test_wrong_bytes_lose_their_layer_alone(place: Place) -> None:
    """Though asking again might have helped."""
    lost, other = place.offer("one"), place.offer("two")
    place.failure = lambda layer: wrong_digest(expected=layer.id, got=digest_of(b"x"))
    with pytest.raises(LayerLost):
        place.stacks.ensure((lost,))
    assert place.stacks.exists((other,))


def test_a_cache_that_does_not_answer_is_asked_once(place: Place) -> None:
    """With one warning, however many layers it has."""
    stack = tuple(place.offer(name) for name in ("one", "two", "three"))
    place.failure = lambda layer: RemoteError("connection refused", retryable=True)
    with pytest.raises(LayerLost):
        place.stacks.ensure(stack)
    assert not any(place.stacks.exists((layer,)) for layer in stack)
    assert len(place.warnings()) == 1


def test_a_base_image_that_cannot_be_had_is_an_error(place: Place) -> None:
    """Nothing can make its layers again."""
    offered = place.offer("one")
    assert offered.diff_id is not None
    layer = Layer(id=offered.diff_id, blob=offered.blob, origin="registry.example/base")
    place.failure = lambda layer: NotFound("no such blob")
    with pytest.raises(NotFound):
        place.stacks.ensure((layer,))
    assert place.warnings() == []


def test_a_record_does_not_make_a_build_need_any_image(place: Place) -> None:
    """A layer that a record says is of some image, and that cannot be had, is lost like others."""
    place.stacks.is_base = lambda layer: False
    offered = place.offer("one")
    assert offered.diff_id is not None
    layer = Layer(id=offered.diff_id, blob=offered.blob, origin="registry.example/other")
    place.failure = lambda layer: NotFound("no such blob")
    assert place.stacks.exists((layer,))
    for _ in range(2):
        with pytest.raises(LayerLost):
            place.stacks.ensure((layer,))
        assert not place.stacks.exists((layer,))
    assert len(place.warnings()) == 1


def test_what_a_cache_says_of_a_diff_id_counts_when_it_was_checked(place: Place) -> None:
    """Else a cache could say what the layers of base images are."""
    proven: list[tuple[str, str]] = []
    place.stacks.proven = lambda diff_id, layer: proven.append((diff_id, layer))
    right = place.offer("one")
    wrong = replace(place.offer("two"), diff_id=digest_of(b"a base image's"))
    place.stacks.ensure((right,))
    with pytest.raises(LayerLost):
        place.stacks.ensure((wrong,))
    assert proven == [(right.diff_id, right.id)]


def test_no_more_is_thrown_out_than_a_blob_can_need(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache may say that a layer has any size."""
    asked: list[int] = []
    work = place.layers.work

    def asking(*, size: int = 0) -> WorkDir:
        asked.append(size)
        return work()

    monkeypatch.setattr(place.layers, "work", asking)
    layer = replace(place.offer("one"), size=1 << 60)
    assert layer.blob is not None
    place.stacks.ensure((layer,))
    assert asked == [1000 * layer.blob.size]
