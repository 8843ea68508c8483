from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import msgspec
import pytest

from lamina.content.blob import KnownBlob
from lamina.content.compression import Compression
from lamina.errors import HostError
from lamina.exporter.blobs import ORIGIN, as_it_came, form_name
from lamina.exporter.options import LayerForm
from lamina.layer.stack import Layer
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of

from .conftest import MTIME, Workshop

GZIP = LayerForm()
PLAIN = LayerForm(compression=Compression.UNCOMPRESSED)
ZSTD = LayerForm(compression=Compression.ZSTD)


def plain_tar(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def pulled(data: bytes, tar: bytes, *, origin: str = "docker.io/library/base") -> Layer:
    blob = Descriptor(
        media_type=mediatype.DOCKER_LAYER_GZIP,
        digest=digest_of(data),
        size=len(data),
        annotations={"containerd.io/distribution.source": "x", "note": "kept"},
    )
    return Layer(id=digest_of(tar), blob=blob, origin=origin)


@pytest.mark.parametrize("form", [GZIP, PLAIN, ZSTD, LayerForm(level=9)])
def test_a_made_layer_is_what_its_digests_say(workshop: Workshop, form: LayerForm) -> None:
    """The blob lies in the store under its digest, and its plain bytes have the diff ID."""
    layer = workshop.layer({"a": b"one", "d/b": b"two" * 100_000})
    blob = workshop.blobs().blob(layer, form)
    data = workshop.content.path(blob.descriptor.digest).read_bytes()
    assert digest_of(data) == blob.descriptor.digest
    assert len(data) == blob.descriptor.size
    assert blob.descriptor.media_type == form.compression.media_type()
    assert workshop.blobs().diff_id(layer) == blob.diff_id
    if form.compression is Compression.GZIP:
        assert digest_of(gzip.decompress(data)) == blob.diff_id
    if form.compression is Compression.UNCOMPRESSED:
        assert blob.descriptor.digest == blob.diff_id


def test_the_diff_id_writes_no_blob(workshop: Workshop) -> None:
    """It is needed for every image, the bytes only for some."""
    layer = workshop.layer({"a": b"one"})
    diff_id = workshop.blobs().diff_id(layer)
    assert list(workshop.content.digests()) == []
    assert workshop.index.layer_of(diff_id) == layer.id


def test_a_remembered_blob_is_not_made_again(workshop: Workshop) -> None:
    """The files are not even looked at."""
    layer = workshop.layer({"a": b"one"})
    first = workshop.blobs().blob(layer, GZIP)
    workshop.directories.clear()
    assert workshop.blobs().blob(layer, GZIP) == first
    assert workshop.blobs().diff_id(layer) == first.diff_id


def test_a_blob_that_is_gone_is_made_again(workshop: Workshop) -> None:
    """And it is the same one."""
    layer = workshop.layer({"a": b"one"})
    first = workshop.blobs().blob(layer, GZIP)
    workshop.content.remove(first.descriptor.digest)
    assert workshop.blobs().blob(layer, GZIP) == first
    assert workshop.content.has(first.descriptor.digest)


def test_clamping_changes_later_times_alone(workshop: Workshop) -> None:
    """Times up to the clamp stay, and the plain layer is still known by its own diff ID."""
    layer = workshop.layer({"new": b"1"}, mtime=MTIME)
    os.utime(workshop.directories[layer.id] / "new", (MTIME, MTIME))
    form = LayerForm(compression=Compression.UNCOMPRESSED, clamp_ns=5 * 10**9)
    clamped = workshop.blobs().blob(layer, form)
    with workshop.content.open(clamped.diff_id) as file, tarfile.open(fileobj=file) as tar:
        assert tar.getmember("new").mtime == 5
    assert workshop.index.layer_of(clamped.diff_id) is None
    later = LayerForm(compression=Compression.UNCOMPRESSED, clamp_ns=(MTIME + 1) * 10**9)
    assert workshop.blobs().blob(layer, later).diff_id == workshop.blobs().diff_id(layer)


def test_a_pulled_layer_stays_as_it_came(workshop: Workshop) -> None:
    """Fetched if it is missing, only once, with the media type of the wanted family."""
    tar = plain_tar(a=b"1")
    data = gzip.compress(tar)
    layer = pulled(data, tar)
    workshop.supply = lambda _: workshop.content.put(data)
    for form in (GZIP, ZSTD):
        blob = workshop.blobs().blob(layer, form)
        assert blob.descriptor.digest == digest_of(data)
        assert blob.descriptor.media_type == mediatype.LAYER_GZIP
        assert blob.descriptor.annotations == {"note": "kept"}
        assert blob.diff_id == layer.id
    assert workshop.fetched == [layer]


def test_a_pulled_layer_is_compressed_anew_by_force_alone(workshop: Workshop) -> None:
    """Its diff ID stays, and the result is remembered."""
    tar = plain_tar(a=b"1" * 5000)
    data = gzip.compress(tar)  # once: it holds the time
    workshop.content.put(data)
    layer = pulled(data, tar)
    form = LayerForm(compression=Compression.UNCOMPRESSED, force=True)
    blob = workshop.blobs().blob(layer, form)
    assert blob.descriptor.digest == layer.id == blob.diff_id
    assert workshop.content.read(layer.id) == tar
    assert workshop.index.layer_of(layer.id) is None
    forced = workshop.blobs().blob(layer, LayerForm(force=True))
    assert forced.descriptor.digest == digest_of(data)


def test_a_pulled_layer_that_is_not_its_diff_id_is_refused(workshop: Workshop) -> None:
    """The bytes are verified while they are converted."""
    data = gzip.compress(plain_tar(a=b"1"))
    workshop.content.put(data)
    layer = pulled(data, plain_tar(a=b"2"))
    with pytest.raises(HostError, match="is not the layer"):
        workshop.blobs().blob(layer, LayerForm(compression=Compression.ZSTD, force=True))


def test_a_layer_that_cannot_be_fetched_is_an_error(workshop: Workshop) -> None:
    """Named by its digest."""
    tar = plain_tar(a=b"1")
    with pytest.raises(HostError, match="is missing from the store"):
        workshop.blobs().blob(pulled(gzip.compress(tar), tar), GZIP)


def test_a_made_layer_known_by_its_diff_id_is_made_again(workshop: Workshop) -> None:
    """As an image in the local store names it: no blob is there, none is fetched."""
    made = workshop.layer({"a": b"one"})
    (reference,) = workshop.blobs().references((made,))
    stored = Layer(id=reference.diff_id, blob=reference.descriptor, origin="app:dev")
    assert workshop.blobs().blob(stored, GZIP) == workshop.blobs().blob(made, GZIP)
    assert workshop.fetched == []


def test_references_need_no_bytes(workshop: Workshop) -> None:
    """Pulled layers are named with where they come from; private notes never leave."""
    tar = plain_tar(a=b"1")
    base = pulled(gzip.compress(tar), tar)
    made = workshop.layer({"a": b"one"})
    base_reference, made_reference = workshop.blobs().references((base, made))
    assert list(workshop.content.digests()) == []
    assert workshop.fetched == []
    assert base_reference.descriptor.annotations[ORIGIN] == base.origin
    assert ORIGIN not in as_it_came(base_reference.descriptor, docker_types=False).annotations
    assert made_reference.descriptor.digest == made_reference.diff_id


def test_equal_layers_are_one_blob(workshop: Workshop) -> None:
    """Also in a stack that holds them twice."""
    layer, other = workshop.layer({"a": b"one"}), workshop.layer({"b": b"two"})
    blobs = workshop.blobs().ensure((layer, other, layer), GZIP)
    assert blobs[0] == blobs[2] != blobs[1]
    assert workshop.blobs().ensure((layer, layer), GZIP) == (blobs[0], blobs[0])
    assert len(list(workshop.content.digests())) == 2


def test_what_is_missing_is_what_will_be_read(workshop: Workshop) -> None:
    """In bytes, each layer once; nothing when everything is there."""
    tar = plain_tar(a=b"1")
    data = gzip.compress(tar)
    base, made = pulled(data, tar), workshop.layer({"a": b"x" * 1000})
    workshop.supply = lambda _: workshop.content.put(data)
    assert workshop.blobs().missing((base, made, made), GZIP) == 1000 + len(data)
    told: list[int] = []
    workshop.blobs().ensure((base, made), GZIP, told.append)
    assert sum(told) >= 1000 + len(data)
    assert workshop.blobs().missing((base, made), GZIP) == 0


def test_the_first_failure_stops_the_others(workshop: Workshop) -> None:
    """And is the error that is seen."""
    layers = [workshop.layer({str(number): b"x"}) for number in range(4)]
    (workshop.directories[layers[0].id] / "0").unlink()
    with pytest.raises(HostError):
        workshop.blobs().ensure(tuple(layers), GZIP)


def test_the_form_names_what_changes_the_bytes() -> None:
    """Media types and force do not."""
    assert form_name(GZIP) == form_name(LayerForm(force=True, docker_types=True))
    forms = [GZIP, PLAIN, ZSTD, LayerForm(level=1), LayerForm(clamp_ns=0), LayerForm(clamp_ns=1)]
    assert len({form_name(form) for form in forms}) == len(forms)


def test_a_large_layer_is_hashed_on_the_way(workshop: Workshop, tmp_path: Path) -> None:
    """One pass over files larger than every buffer gives right digests."""
    directory = tmp_path / "large"
    directory.mkdir()
    content = os.urandom(1 << 20) * 5 + b"end"
    (directory / "file").write_bytes(content)
    layer = workshop.adopt(directory)
    blob = workshop.blobs().blob(layer, GZIP)
    plain = gzip.decompress(workshop.content.path(blob.descriptor.digest).read_bytes())
    assert digest_of(plain) == blob.diff_id
    assert (
        hashlib.sha256(plain[512 : 512 + len(content)]).digest()
        == (hashlib.sha256(content).digest())
        or content in plain
    )


def test_facts_are_values() -> None:
    """They may be kept in a database and come back equal."""
    facts = KnownBlob(digest=digest_of(b"1"), size=1, diff_id=digest_of(b"2"))
    assert msgspec.convert(msgspec.to_builtins(facts), KnownBlob) == facts
