"""Cache mounts are saved to a backend and restored from it, file for file."""

from __future__ import annotations

import os
import random
import stat
import threading
import time
from pathlib import Path

import pytest

from lamina.content.store import BlobStore
from lamina.context.statindex import Record, StatIndex, stamp_of
from lamina.errors import LaminaError, RemoteError
from lamina.layer.entry import Kind
from lamina.oci.descriptor import Descriptor
from lamina.remotecache.document import MountState
from lamina.remotecache.local import LocalCache
from lamina.remotecache.mounts.manifest import MountManifest
from lamina.remotecache.mounts.restoring import restore, stamps_of
from lamina.remotecache.mounts.saving import Saved, save
from lamina.remotecache.mounts.states import load, store

MB = 1_000_000


class Place:
    """A machine with one cache mount, and a backend that outlives it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mount = root / "mount"
        self.mount.mkdir()
        self.backend = LocalCache(str(root / "backend"))
        self.documents = BlobStore(root / "documents")

    def write(self, name: str, data: bytes) -> Path:
        path = self.mount / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def save(
        self, earlier: MountManifest | None = None, *, index: StatIndex | None = None
    ) -> Saved:
        return save(
            str(self.mount),
            earlier=earlier,
            index=index or StatIndex(None),
            writer=self.backend,
            scratch=BlobStore(self.root / "scratch"),
            progress=lambda done: None,
        )

    def state(self, saved: Saved, earlier: MountState | None = None) -> MountState:
        """What a document says of it, based on an earlier state."""
        before = None if earlier is None else load(earlier, self.backend, self.documents)
        stored = store(saved.manifest, before, self.documents)
        self.backend.push(stored.blob, self.documents)
        return MountState(
            id="npm",
            platform="linux/amd64",
            manifest=stored.blob,
            packs=(*saved.packs, *stored.base),
            saved=1.0,
        )

    def restore(self, saved: Saved | MountState, name: str = "restored") -> Path:
        state = self.state(saved) if isinstance(saved, Saved) else saved
        folder = self.root / name
        folder.mkdir()
        fetched = BlobStore(self.root / f"documents of {name}")
        restore(
            load(state, self.backend, fetched).manifest,
            self.backend,
            str(folder),
            scratch=BlobStore(self.root / f"scratch of {name}"),
            progress=lambda done, total: None,
            cancelled=threading.Event(),
        )
        assert not list(BlobStore(self.root / f"scratch of {name}").digests())
        return folder

    def blob(self, blob: Descriptor) -> Path:
        return self.root / "backend" / "blobs" / "sha256" / blob.digest.removeprefix("sha256:")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def noise(seed: int, size: int) -> bytes:
    """Bytes that no compressor makes smaller."""
    return random.Random(seed).randbytes(size)


def listing(root: Path) -> list[tuple[object, ...]]:
    """Everything that a file has, by path; of hard links, who is one."""
    found: list[tuple[object, ...]] = []
    first: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content: object = None
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        owner = (status.st_uid, status.st_gid)
        same = first.setdefault(status.st_ino, name)
        mode = stat.S_IMODE(status.st_mode)
        found.append((name, kind, mode, owner, status.st_mtime_ns, content, same))
    return found


def fill(place: Place) -> None:
    """Small files, large ones, equal ones, and everything that is not a file."""
    for number in range(300):
        place.write(f"small/{number % 7}/{number}", noise(number, number * 40))
    place.write("large/one", noise(1000, 3 * MB))
    place.write("large/twin", noise(1000, 3 * MB))
    place.write("large/text", b"all work and no play\n" * 100_000)
    place.write("empty", b"")
    (place.mount / "empty folder").mkdir()
    os.symlink("../elsewhere", place.mount / "small" / "link")
    os.symlink("/etc/passwd", place.mount / "absolute")
    os.link(place.mount / "large" / "one", place.mount / "a hard link")
    os.link(place.mount / "small" / "1" / "1", place.mount / "another")
    os.mkfifo(place.mount / "pipe")
    place.write("odd name \udcff\n", b"bytes")
    os.chmod(place.write("mode", b"x"), 0o4701)
    os.utime(place.mount / "large", ns=(1, 123_456_789_012_345_678))
    os.utime(place.mount / "mode", ns=(1, 987_654_321))


def test_everything_comes_back(place: Place) -> None:
    """Contents, modes, times in nanoseconds, links of both kinds, names that are no text."""
    fill(place)
    assert listing(place.restore(place.save())) == listing(place.mount)


def test_the_same_files_make_the_same_state(place: Place) -> None:
    """Whoever reads them, and whatever was there before."""
    fill(place)
    first = place.save()
    assert place.save().manifest == first.manifest
    again = place.save(first.manifest)
    assert again.manifest == first.manifest
    assert again.sent == 0


def test_one_more_file_sends_little_more_than_itself(place: Place) -> None:
    """Though it stands in the middle of ten thousand."""
    for number in range(2000):
        place.write(f"{number % 50}/{number}", noise(number, 3000))
    first = place.save()
    place.write("25/new", noise(-1, 5000))
    second = place.save(first.manifest)
    assert 5000 < second.sent < 6000
    assert second.packs[:-1] == first.packs
    assert listing(place.restore(second)) == listing(place.mount)


def test_a_manifest_is_sent_as_its_difference(place: Place) -> None:
    """From the last whole one, however many states lie between them."""
    for number in range(2000):
        place.write(f"{number % 50}/{number}", noise(number, 100))
    first = place.save()
    states = [place.state(first)]
    for number in range(3):
        place.write(f"25/new{number}", noise(-number - 1, 100))
        saved = place.save(load(states[-1], place.backend, place.documents).manifest)
        states.append(place.state(saved, states[-1]))
        assert states[-1].manifest.size < 1000 < states[0].manifest.size
        assert states[0].manifest in states[-1].packs
    assert listing(place.restore(states[-1])) == listing(place.mount)
    for number in range(1000):
        os.unlink(place.mount / f"{number % 50}" / f"{number}")
    saved = place.save(saved.manifest)
    states.append(place.state(saved, states[-1]))
    assert listing(place.restore(states[-1], "again")) == listing(place.mount)


def test_a_large_file_that_changed_in_the_middle_is_sent_in_part(place: Place) -> None:
    """Also where what follows has moved."""
    data = noise(1, 8 * MB)
    place.write("list", data)
    first = place.save()
    place.write("list", data[: 4 * MB] + b"inserted" + data[4 * MB :])
    second = place.save(first.manifest)
    assert second.sent < MB
    assert listing(place.restore(second)) == listing(place.mount)


def test_files_that_moved_are_not_sent_again(place: Place) -> None:
    """A content is known by its digest, not by its path."""
    for number in range(100):
        place.write(f"old/{number}", noise(number, 20_000))
    first = place.save()
    os.rename(place.mount / "old", place.mount / "new")
    assert place.save(first.manifest).sent == 0


def test_thousands_of_small_files_are_few_blobs(place: Place) -> None:
    """And few chunks."""
    for number in range(3000):
        place.write(f"{number % 50}/{number}", noise(number, 2000))
    saved = place.save()
    assert len(saved.packs) == 1
    assert len(saved.manifest.chunks) < 100


def test_packs_that_are_mostly_useless_are_left_behind(place: Place) -> None:
    """A mount whose files come and go does not drag everything it ever had along."""
    for number in range(100):
        place.write(f"{number}", noise(number, 50_000))
    first = place.save()
    for number in range(30):
        os.unlink(place.mount / f"{number}")
    second = place.save(first.manifest)
    assert second.packs == first.packs
    for number in range(30, 90):
        os.unlink(place.mount / f"{number}")
    third = place.save(second.manifest)
    assert first.packs[0] not in third.packs
    assert third.sent < 600_000
    assert listing(place.restore(third)) == listing(place.mount)


def test_many_tiny_packs_become_one(place: Place) -> None:
    """Each build adds a file; a restore does not fetch a blob for each."""
    earlier = None
    for number in range(40):
        place.write(f"{number}", noise(number, 3000))
        saved = place.save(earlier)
        earlier = saved.manifest
        assert len(saved.packs) <= 18
    assert listing(place.restore(saved)) == listing(place.mount)


def test_an_unchanged_file_is_not_read_again(place: Place) -> None:
    """What was remembered by its `stat` is believed, though it is wrong here."""
    place.write("one", b"first")
    place.write("other", b"second")
    first = place.save()
    one, other = first.manifest.entries
    index = StatIndex(None)
    stamp = stamp_of(os.stat(place.mount / "one"))
    index.store(b"one", Record(stamp, other.digest), read_ns=time.time_ns() + 10**10)
    second = place.save(first.manifest, index=index)
    assert [entry.digest for entry in second.manifest.entries] == [other.digest] * 2
    assert [entry.digest for entry in place.save().manifest.entries] == [one.digest, other.digest]


def test_what_was_restored_is_not_read_again(place: Place) -> None:
    """A machine that restores, builds and saves reads what the build added."""
    fill(place)
    first = place.save()
    folder = place.restore(first)
    time.sleep(0.03)
    stamps_of(str(folder), str(place.root / "stamps"), first.manifest)
    index = StatIndex(str(place.root / "stamps"))
    for entry in first.manifest.entries:
        if entry.kind is Kind.FILE:
            path = os.fsencode(folder) + b"/" + entry.path
            found = index.find(entry.path, stamp_of(os.lstat(path)))
            assert found is not None
            assert found.digest == entry.digest


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
@pytest.mark.parametrize("which", ["pack", "manifest"])
def test_a_damaged_blob_is_noticed(place: Place, damage: str, which: str) -> None:
    """Nothing wrong is ever restored."""
    place.write("file", noise(1, 100_000))
    saved = place.save()
    state = place.state(saved)
    blob = place.blob(saved.packs[0] if which == "pack" else state.manifest)
    data = blob.read_bytes()
    match damage:
        case "cut":
            blob.write_bytes(data[:-1])
        case "flipped":
            blob.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
        case "missing":
            blob.unlink()
    with pytest.raises(RemoteError):
        place.restore(state)


def test_a_pack_that_is_gone_is_made_anew(place: Place) -> None:
    """As soon as the mount is saved with a change."""
    place.write("file", noise(1, 100_000))
    first = place.save()
    place.blob(first.packs[0]).unlink()
    place.write("other", b"new")
    second = place.save(first.manifest)
    assert listing(place.restore(second)) == listing(place.mount)


def test_cancelling_ends_a_restore(place: Place) -> None:
    """Before everything has come."""
    place.write("file", noise(1, 100_000))
    saved = place.save()
    cancelled = threading.Event()
    cancelled.set()
    folder = place.root / "restored"
    folder.mkdir()
    with pytest.raises(LaminaError, match="canceled"):
        restore(
            saved.manifest,
            place.backend,
            str(folder),
            scratch=BlobStore(place.root / "fetched"),
            progress=lambda done, total: None,
            cancelled=cancelled,
        )


def test_files_that_are_written_meanwhile_do_no_harm(place: Place) -> None:
    """What is saved of a shared mount is what some moment had, file by file."""
    for number in range(200):
        place.write(f"{number}", bytes([number]) * 200_000)
    stop = threading.Event()

    def scribble() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            for number in range(0, 200, 20):
                letter = bytes([(number + turn) % 256])
                (place.mount / f"{number}").write_bytes(letter * (200_000 + turn % 5))
            (place.mount / f"gone-{turn % 3}").touch()
            (place.mount / f"gone-{(turn + 1) % 3}").unlink(missing_ok=True)

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        saved = place.save()
    finally:
        stop.set()
        thread.join()
    for path in place.restore(saved).iterdir():
        assert len(set(path.read_bytes())) <= 1
