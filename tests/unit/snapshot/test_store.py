"""The store of unpacked layers."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lamina.errors import HostError
from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.scan import read_diff
from lamina.oci.digest import Digest, digest_of
from lamina.snapshot.store import LayerStore


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(str(tmp_path / "store"))


def add(store: LayerStore, text: str, *, id: Digest | None = None) -> Digest:  # noqa: A002
    with store.work() as work:
        Path(work.diff, "file").write_text(text)
        return store.publish(work, read_diff(work.diff).manifest, id=id)


def test_published_layer(store: LayerStore) -> None:
    """A layer has its files, its manifest and its size, also for the next process."""
    layer = add(store, "hello")
    for each in (store, LayerStore(store.root)):
        assert each.has(layer)
        assert list(each.ids()) == [layer]
        assert each.manifest(layer).identity() == layer
        assert each.size(layer) == 5
        assert Path(each.diff_dir(layer), "file").read_text() == "hello"
        assert each.is_exact(layer)


def test_first_one_wins(store: LayerStore) -> None:
    """The same content published again is the layer that is there; nothing is left over."""
    first = add(store, "same")
    time = os.stat(f"{store.diff_dir(first)}/file").st_mtime_ns
    assert add(store, "same") == first
    assert os.stat(f"{store.diff_dir(first)}/file").st_mtime_ns == time
    assert os.listdir(f"{store.root}/making") == ["lock"]


def test_pulled_layers_have_the_diff_id(store: LayerStore) -> None:
    """A layer may have another id than that of its manifest."""
    layer = digest_of(b"the tar")
    assert add(store, "pulled", id=layer) == layer
    assert LayerStore(store.root).manifest(layer).identity() != layer


def test_names_are_short(store: LayerStore) -> None:
    """127 names of layers fit into the page of options that old kernels take."""
    layer = add(store, "x")
    name = os.path.relpath(store.diff_dir(layer), f"{store.root}/layers")
    assert 127 * (len(name) + 1) < 4096 - 500
    assert not set(name) & set(",:\\")


def test_removed_layer(store: LayerStore) -> None:
    """A layer can be removed, twice too, and made again."""
    layer = add(store, "x")
    store.remove(layer)
    store.remove(layer)
    assert not store.has(layer)
    assert os.listdir(f"{store.root}/making") == ["lock"]
    with pytest.raises(HostError, match="gone"):
        store.manifest(layer)
    assert add(store, "x") == layer


@pytest.mark.parametrize("damage", [b"", b"lamina layer 1\n", b"x" * 100, None])
def test_damaged_manifest(store: LayerStore, damage: bytes | None) -> None:
    """A manifest that is cut off or of something else is an error, no empty layer, and the layer
    can be made again."""
    layer = add(store, "x")
    path = Path(store.diff_dir(layer)).parent / "manifest"
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    fresh = LayerStore(store.root)
    assert fresh.has(layer) == (damage is None)
    with pytest.raises(HostError):
        fresh.manifest(layer)
    assert not fresh.has(layer)
    assert add(fresh, "x") == layer
    assert fresh.size(layer) == 1


def test_empty_layer(store: LayerStore) -> None:
    """A layer may be empty."""
    with store.work() as work:
        layer = store.publish(work, Manifest(()))
    assert store.manifest(layer) == Manifest(())
    assert store.size(layer) == 0


def test_failure_leaves_nothing(store: LayerStore) -> None:
    """An exception in the block removes what was being made."""

    def fail() -> None:
        with store.work() as work:
            Path(work.diff, "half").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert os.listdir(f"{store.root}/making") == ["lock"]
    assert list(store.ids()) == []


def test_many_threads(store: LayerStore) -> None:
    """Threads that make the same layers at once agree."""
    made: list[Digest] = []
    threads = [
        threading.Thread(target=lambda n=n: made.append(add(store, str(n % 3)))) for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 12
    assert sorted(store.ids()) == sorted(set(made))
    assert len(set(made)) == 3


def test_manifests_are_not_kept_for_ever(
    store: LayerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory for manifests is bounded, whatever the number of layers."""
    monkeypatch.setattr("lamina.snapshot.store._MOST_KEPT", 5)
    layers = []
    for number in range(4):
        entries = tuple(
            Entry(path=b"%d-%d" % (number, i), kind=Kind.SYMLINK, link=b"x") for i in range(3)
        )
        with store.work() as work:
            layers.append(store.publish(work, Manifest(entries)))
    assert len(store._kept) == 1
    assert [len(store.manifest(layer).entries) for layer in layers] == [3] * 4
