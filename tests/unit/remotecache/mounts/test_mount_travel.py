"""A mount leaves one machine with a cache and arrives on another."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lamina.cache.mounts import CacheMounts
from lamina.content.store import BlobStore
from lamina.errors import UserError
from lamina.graph.mounts import CacheMount, Sharing
from lamina.oci.descriptor import Descriptor
from lamina.oci.platform import Platform
from lamina.remotecache.document import MountState
from lamina.remotecache.local import LocalCache
from lamina.remotecache.mounts.exporting import MountExport, save_mounts
from lamina.remotecache.mounts.seeding import Restorer, Source

AMD64 = Platform(os="linux", architecture="amd64")


def a_mount(name: str, sharing: Sharing = Sharing.SHARED) -> CacheMount:
    return CacheMount(id=name, target="/cache", sharing=sharing, uid=os.getuid(), gid=os.getgid())


class Told:
    """What a user is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def progress(
        self, what: str, current: int, total: int = 0, *, unit: str = "bytes", done: bool = False
    ) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


class Machine:
    """A store with cache mounts; all machines share a backend."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root / name
        self.mounts = CacheMounts(str(self.root / "mounts"))
        self.documents = BlobStore(self.root / "images")
        self.backend = LocalCache(str(root / "backend"))
        self.told = Told()
        self.warnings: list[str] = []
        self.cancelled = threading.Event()

    def use(
        self,
        name: str,
        *add: str,
        states: tuple[MountState, ...] | None = None,
        sharing: Sharing = Sharing.SHARED,
        mounts: tuple[str, ...] = (),
    ) -> list[str]:
        """Uses a mount in a step that adds files; what was there before."""
        restorer = Restorer(
            lambda: [Source(reader=self.backend, states=states or ())],
            mounts=mounts,
            documents=self.documents,
            warn=self.warnings.append,
        )
        with self.mounts.use(
            a_mount(name, sharing),
            AMD64,
            fill=lambda folder: (
                restorer.fill(name, AMD64, folder, step=self.told, cancelled=self.cancelled),
                None,
            )[1],
            note=self.told.note,
            cancelled=self.cancelled,
            refill=states is not None,
        ) as folder:
            there = sorted(os.listdir(folder.path))
            for each in add:
                Path(folder.path, each).write_text(each * 1000)
        return there

    def save(self, *names: str, earlier: tuple[MountState, ...] = ()) -> tuple[MountState, ...]:
        export = MountExport(
            mounts=self.mounts,
            earlier=earlier,
            writer=self.backend,
            documents=self.documents,
            step=self.told,
            clock=lambda: 1000.0 + len(earlier),
        )
        return save_mounts([(name, AMD64) for name in names], export)

    def leftovers(self) -> list[str]:
        names = [path.name for path in self.root.glob("mounts/*/*/*")]
        return [each for each in names if each in ("scratch", "fetched", "data.new")]


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "here")


@pytest.fixture
def there(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "there")


@pytest.mark.parametrize("sharing", list(Sharing))
def test_a_mount_arrives(here: Machine, there: Machine, sharing: Sharing) -> None:
    """Whatever its sharing; and it is told in one line on each side."""
    assert here.use("npm", "left-pad", sharing=sharing) == []
    states = here.save("npm")
    assert there.use("npm", states=states, sharing=sharing) == ["left-pad"]
    assert here.told.notes[-1].startswith("saved cache mount npm: 8 kB, 1 file, sent ")
    assert there.told.notes[-1].startswith("restored cache mount npm: 8 kB, 1 file from ")
    assert not here.leftovers()
    assert not there.leftovers()


def test_a_mount_that_is_there_stays(here: Machine, there: Machine) -> None:
    """Only what is missing or empty is restored."""
    here.use("npm", "left-pad")
    states = here.save("npm")
    there.use("npm", "right-pad")
    assert there.use("npm", states=states) == ["right-pad"]
    there.use("pip")
    here.use("pip", "wheel")
    assert there.use("pip", states=here.save("pip")) == ["wheel"]


def test_an_empty_mount_that_somebody_uses_is_left_to_them(here: Machine, there: Machine) -> None:
    """Their files would be lost."""
    here.use("npm", "left-pad")
    states = here.save("npm")
    with there.mounts.use(
        a_mount("npm"), AMD64, fill=lambda folder: None, note=print, cancelled=there.cancelled
    ) as folder:
        assert there.use("npm", states=states) == []
        Path(folder.path, "theirs").touch()
    assert there.use("npm", states=states) == ["theirs"]


def test_the_nearest_state_is_taken_and_told(here: Machine, there: Machine) -> None:
    """A lock file's digest in the id: the last one's packages are there."""
    here.use("npm-1111", "left-pad")
    states = here.save("npm-1111")
    assert there.use("npm-2222", "right-pad", states=states) == ["left-pad"]
    assert "of npm-1111, the nearest state" in there.told.notes[-1]
    (state,) = there.save("npm-2222", earlier=states)
    assert state.id == "npm-2222"
    assert state.packs[: len(states[0].packs)] == states[0].packs


def test_an_unchanged_mount_keeps_its_state(here: Machine, there: Machine) -> None:
    """The document is the same, byte for byte."""
    here.use("npm", "left-pad")
    states = here.save("npm")
    there.use("npm", states=states)
    assert there.save("npm", earlier=states) == states


def test_a_mount_that_this_build_did_not_use_is_not_saved_over(
    here: Machine, there: Machine
) -> None:
    """After a cached build, old files do not replace newer ones; an empty cache gets them."""
    there.use("npm", "old")
    there.mounts = CacheMounts(str(there.root / "mounts"))
    here.use("npm", "new")
    states = here.save("npm")
    assert there.save("npm", earlier=states) == ()
    assert [state.id for state in there.save("npm")] == ["npm"]
    assert there.save("never-used") == ()


def test_a_mount_in_use_by_another_build_is_saved_later(
    here: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a lock protects is never read in the middle of a change."""
    monkeypatch.setattr("lamina.remotecache.mounts.exporting._PATIENCE", 0.05)
    here.use("apt", "deb", sharing=Sharing.LOCKED)
    mount = a_mount("apt", Sharing.LOCKED)
    with here.mounts.use(
        mount, AMD64, fill=lambda folder: None, note=print, cancelled=here.cancelled
    ):
        assert here.save("apt") == ()
    assert here.told.notes == ["cache mount apt is in use by another build: it is not saved"]
    assert len(here.save("apt")) == 1


@pytest.mark.parametrize("which", ["pack", "manifest"])
def test_a_damaged_state_costs_a_warning_and_a_cold_mount(
    here: Machine, there: Machine, which: str
) -> None:
    """Never a failed build, nothing half-restored, and the next state is whole."""
    here.use("npm", "left-pad")
    (state,) = here.save("npm")
    blob = blob_of(here, state.packs[0] if which == "pack" else state.manifest)
    blob.write_bytes(blob.read_bytes()[:-3])
    assert there.use("npm", "right-pad", states=(state,)) == []
    assert there.warnings[0].startswith("cache mount npm starts empty: its state in ")
    assert not there.leftovers()
    later = there.save("npm", earlier=(state,))
    third = Machine(here.root.parent, "third")
    assert third.use("npm", states=later) == ["right-pad"]


def test_an_interrupted_restore_leaves_nothing(here: Machine, there: Machine) -> None:
    """The next build starts it again."""
    here.use("npm", "left-pad")
    states = here.save("npm")
    there.cancelled.set()
    with pytest.raises(UserError, match="canceled"):
        there.use("npm", states=states)
    there.cancelled.clear()
    assert there.use("npm", states=states) == ["left-pad"]


def test_what_a_killed_builder_left_is_no_obstacle(here: Machine, there: Machine) -> None:
    """A half-filled folder, packs that were fetched, or were being made."""
    here.use("npm", "left-pad")
    (place,) = (here.root / "mounts").glob("*/0")
    (place / "scratch" / "ingest").mkdir(parents=True)
    (place / "scratch" / "ingest" / "half").touch()
    states = here.save("npm")
    there.use("other", "x")
    (home,) = (there.root / "mounts").glob("*")
    place = there.root / "mounts" / home.name / "0"
    os.rename(place / "data", place / "data.new")
    (place / "fetched" / "blobs").mkdir(parents=True)
    assert there.use("other", states=(states[0],)) == []
    assert not here.leftovers()


def blob_of(machine: Machine, blob: Descriptor) -> Path:
    path = machine.root.parent / "backend" / "blobs" / "sha256"
    return path / blob.digest.removeprefix("sha256:")
