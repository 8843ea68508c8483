"""What every snapshotter must do, run over both drivers on a real disk."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamina.fs.overlay import mount_overlay
from lamina.fs.syscalls import private_mounts
from lamina.layer.entry import Entry, Kind, Manifest
from lamina.layer.stack import Layer, Stack
from lamina.snapshot.copying import CopyingSnapshotter
from lamina.snapshot.overlay import OverlaySnapshotter
from lamina.snapshot.probe import overlay_works
from lamina.snapshot.snapshotter import OverlayRoot, PlainRoot, Root, Snapshotter
from lamina.snapshot.store import LayerStore
from lamina.snapshot.view import View

pytestmark = pytest.mark.root

Change = Callable[[], None]
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(str(tmp_path / "store"))


@pytest.fixture(params=["overlay", "copying", "copying on an overlay"])
def snapshotter(
    request: pytest.FixtureRequest, store: LayerStore, tmp_path: Path
) -> Iterator[Snapshotter]:
    if request.param == "overlay":
        yield OverlaySnapshotter(store)
    elif request.param == "copying":
        yield CopyingSnapshotter(store)
    else:  # the disk of a container, as whoever runs in one has it
        for name in ("lower", "upper", "work", "store"):
            (tmp_path / name).mkdir()
        folders = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", folders, store.root]
        subprocess.run(mount, check=True)
        try:
            yield CopyingSnapshotter(store)
        finally:
            subprocess.run(["umount", "--lazy", store.root], check=True)


def in_root(root: Root, change: Change) -> None:
    """Runs `change` in a process of its own, with the tree as its working directory."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            match root:
                case OverlayRoot():
                    private_mounts()
                    target = os.path.join(os.path.dirname(root.upper), "merged")
                    os.mkdir(target)
                    mount_overlay(
                        root.lower, target, upper=root.upper, work=root.work, user_namespace=False
                    )
                    os.chdir(target)
                case PlainRoot():
                    os.chdir(root.path)
            os.umask(0o022)
            change()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def step(snapshotter: Snapshotter, stack: Stack, change: Change) -> Stack:
    with snapshotter.prepare(stack) as active:
        in_root(active.root, change)
        return (*stack, Layer(id=active.commit()))


def view(store: LayerStore, stack: Stack) -> View:
    return View(store, tuple(layer.id for layer in stack))


def tree(store: LayerStore, stack: Stack) -> dict[bytes, Entry]:
    return {entry.path: entry for entry in view(store, stack).walk(b"")}


def layer_entries(store: LayerStore, stack: Stack) -> dict[bytes, Entry]:
    return {entry.path: entry for entry in store.manifest(stack[-1].id).entries}


def write(path: str | bytes, text: str = "") -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def content(store: LayerStore, stack: Stack, path: bytes) -> bytes:
    descriptor = view(store, stack).open(path)
    try:
        return os.read(descriptor, 1 << 20)
    finally:
        os.close(descriptor)


def base() -> None:
    os.makedirs("etc/conf.d")
    os.makedirs("usr/lib/deep/er")
    write("etc/passwd", "root")
    write("etc/conf.d/one", "1")
    write("etc/conf.d/two", "2")
    write("usr/lib/deep/er/file", "deep")
    os.symlink("usr/lib", "lib")
    os.symlink("/etc", "usr/etc")


def test_every_kind_of_file_survives(snapshotter: Snapshotter, store: LayerStore) -> None:
    """What a step makes is in the tree, with its mode, owner, links, attributes and times."""

    def change() -> None:
        base()
        os.link("etc/passwd", "etc/shadow")
        os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mkfifo("fifo", 0o600)
        write("suid", "x")
        os.chown("suid", 12, 34)
        os.chmod("suid", 0o4755)
        write("ping")
        os.setxattr("ping", "security.capability", CAPABILITY)
        os.setxattr("ping", "user.note", b"\0\xff")
        write(b"caf\xe9")
        os.utime(b"caf\xe9", ns=(0, 1_234_567_890_123_456_789))
        with open("sparse", "wb") as file:
            file.truncate(1 << 26)
        os.makedirs("/".join(["d" * 200] * 4))

    stack = step(snapshotter, (), change)
    found = tree(store, stack)
    assert {found[b"etc/passwd"].kind, found[b"etc/shadow"].kind} == {Kind.FILE, Kind.HARDLINK}
    assert (found[b"null"].kind, found[b"null"].device) == (Kind.CHARACTER, (1, 3))
    assert found[b"fifo"].kind is Kind.FIFO
    suid = found[b"suid"]
    assert (suid.mode, suid.uid, suid.gid, suid.size) == (0o4755, 12, 34, 1)
    assert found[b"ping"].xattrs == (
        (b"security.capability", CAPABILITY),
        (b"user.note", b"\0\xff"),
    )
    assert found[b"caf\xe9"].mtime_ns == 1_234_567_890_123_456_789
    assert found[b"sparse"].size == 1 << 26
    assert os.stat(view(store, stack).host_path(b"sparse")).st_blocks == 0
    assert b"/".join([b"d" * 200] * 4) in found
    assert found[b"lib"].link == b"usr/lib"


def test_deletions_hide(snapshotter: Snapshotter, store: LayerStore) -> None:
    """What a step deletes is gone from the tree, and stays in the layers below."""

    def change() -> None:
        os.unlink("etc/passwd")
        shutil.rmtree("usr/lib/deep")
        os.unlink("lib")

    below = step(snapshotter, (), base)
    stack = step(snapshotter, below, change)
    found = tree(store, stack)
    assert not {b"etc/passwd", b"usr/lib/deep", b"usr/lib/deep/er", b"lib"} & set(found)
    assert b"etc/passwd" in tree(store, below)
    entries = layer_entries(store, stack)
    assert entries[b"etc/passwd"].kind is Kind.WHITEOUT
    assert entries[b"usr/lib/deep"].kind is Kind.WHITEOUT
    assert b"usr/lib/deep/er" not in entries


def test_replaced_directory_is_empty(snapshotter: Snapshotter, store: LayerStore) -> None:
    """A directory that was removed and made again shows nothing of the old one."""

    def change() -> None:
        shutil.rmtree("etc/conf.d")
        os.mkdir("etc/conf.d")
        write("etc/conf.d/three", "3")

    stack = step(snapshotter, step(snapshotter, (), base), change)
    assert view(store, stack).names(b"etc/conf.d") == [b"three"]


def test_directory_and_file_change_places(snapshotter: Snapshotter, store: LayerStore) -> None:
    """A file may stand where a directory was, and the other way round, several layers deep."""

    def first() -> None:
        shutil.rmtree("etc/conf.d")
        write("etc/conf.d", "file")
        os.unlink("etc/passwd")
        os.makedirs("etc/passwd/inside")

    def second() -> None:
        os.unlink("etc/conf.d")
        os.mkdir("etc/conf.d")
        os.rmdir("etc/passwd/inside")
        os.rmdir("etc/passwd")
        os.symlink("conf.d", "etc/passwd")

    one = step(snapshotter, step(snapshotter, (), base), first)
    assert content(store, one, b"etc/conf.d") == b"file"
    assert view(store, one).names(b"etc/passwd") == [b"inside"]
    two = step(snapshotter, one, second)
    assert view(store, two).names(b"etc/conf.d") == []
    assert view(store, two).resolve(b"etc/passwd") == b"etc/conf.d"


def test_nothing_changed_is_the_empty_layer(snapshotter: Snapshotter, store: LayerStore) -> None:
    """A step that changes nothing, or only times of directories, makes the empty layer."""

    def change() -> None:
        write("etc/conf.d/temporary")
        os.unlink("etc/conf.d/temporary")
        os.utime("usr")
        os.listdir("usr/lib")

    below = step(snapshotter, (), base)
    stack = step(snapshotter, below, change)
    assert store.manifest(stack[-1].id) == Manifest(())
    assert stack[-1].id == Manifest(()).identity()


def test_same_change_is_the_same_layer(snapshotter: Snapshotter, store: LayerStore) -> None:
    """Times do not count: the same content made again is the layer that is there."""
    below = step(snapshotter, (), base)
    again = step(snapshotter, (), base)
    assert below == again
    first = step(snapshotter, below, lambda: write("new", "x"))
    time.sleep(0.02)
    assert step(snapshotter, below, lambda: write("new", "x")) == first
    assert sorted(store.ids()) == sorted({below[0].id, first[-1].id})


def test_metadata_alone_is_a_change(snapshotter: Snapshotter, store: LayerStore) -> None:
    """Mode, owner and attributes of files, directories and the root are changes."""

    def change() -> None:
        os.chmod("etc/passwd", 0o600)
        os.chown("usr/lib", 5, 6)
        os.setxattr("etc/conf.d/one", "user.a", b"b")
        os.chmod(".", 0o1777)

    stack = step(snapshotter, step(snapshotter, (), base), change)
    found = tree(store, stack)
    assert found[b"etc/passwd"].mode == 0o600
    assert (found[b"usr/lib"].uid, found[b"usr/lib"].gid) == (5, 6)
    assert found[b"etc/conf.d/one"].xattrs == ((b"user.a", b"b"),)
    root = view(store, stack).lookup(b"")
    assert root is not None
    assert root.mode == 0o1777
    # The root keeps its mode for the steps after this one, whether they say so or not.
    after = step(snapshotter, stack, lambda: write("x"))
    root = view(store, after).lookup(b"")
    assert root is not None
    assert root.mode == 0o1777
    assert b"" not in layer_entries(store, after)


def test_content_changed_with_times_kept(snapshotter: Snapshotter, store: LayerStore) -> None:
    """A file of the same size and time is noticed, and its content counts."""

    def change() -> None:
        status = os.stat("etc/passwd")
        write("etc/passwd", "toor")
        os.utime("etc/passwd", ns=(status.st_atime_ns, status.st_mtime_ns))

    stack = step(snapshotter, step(snapshotter, (), base), change)
    assert content(store, stack, b"etc/passwd") == b"toor"
    assert set(layer_entries(store, stack)) == {b"etc", b"etc/passwd"}


def test_hard_link_to_an_old_file(snapshotter: Snapshotter, store: LayerStore) -> None:
    """A link to a file of a lower layer holds both names in the new layer."""
    stack = step(snapshotter, step(snapshotter, (), base), lambda: os.link("etc/passwd", "etc/aa"))
    entries = layer_entries(store, stack)
    assert entries[b"etc/aa"].kind is Kind.FILE
    assert (entries[b"etc/passwd"].kind, entries[b"etc/passwd"].link) == (Kind.HARDLINK, b"etc/aa")
    assert entries[b"etc/aa"].digest == view(store, stack).digest(b"etc/passwd")


def test_renames(snapshotter: Snapshotter, store: LayerStore) -> None:
    """A renamed directory of a lower layer is complete under its new name."""

    def change() -> None:
        shutil.move("etc/conf.d", "etc/conf.new")
        os.rename("etc/passwd", "usr/passwd")

    stack = step(snapshotter, step(snapshotter, (), base), change)
    now = view(store, stack)
    assert now.names(b"etc/conf.new") == [b"one", b"two"]
    assert now.names(b"etc") == [b"conf.new"]
    assert content(store, stack, b"usr/passwd") == b"root"


def test_sockets_are_left_out(snapshotter: Snapshotter, store: LayerStore) -> None:
    """A socket, which no image can hold, is neither in the layer nor in the tree."""

    def change() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("run.sock")

    stack = step(snapshotter, step(snapshotter, (), base), change)
    assert b"run.sock" not in tree(store, stack)
    assert store.manifest(stack[-1].id) == Manifest(())


def test_view_agrees_with_manifests(snapshotter: Snapshotter, store: LayerStore) -> None:
    """What a layer's directory says and what its manifest says is the same."""
    stack = step(snapshotter, step(snapshotter, (), base), lambda: write("etc/passwd", "new"))
    entries = {**{e.path: e for e in store.manifest(stack[0].id).entries}}
    entries |= {e.path: e for e in store.manifest(stack[1].id).entries}
    now = view(store, stack)
    assert now.digests(now.walk(b"")) == [
        entries[path] for path in sorted(entries, key=lambda path: path.split(b"/"))
    ]


def test_unwanted_trees_go(snapshotter: Snapshotter, store: LayerStore) -> None:
    """A tree that is not committed leaves nothing behind, nor does one that is."""
    with snapshotter.prepare(()) as active:
        in_root(active.root, base)
    step(snapshotter, (), base)
    assert os.listdir(f"{store.root}/making") == ["lock"]


def test_many_layers(snapshotter: Snapshotter, store: LayerStore) -> None:
    """A stack of 130 layers can be used, and its highest layers win."""
    stack: Stack = ()
    for number in range(130):
        with store.work() as work:
            write(f"{work.diff}/file", str(number))
            write(f"{work.diff}/file{number}", "x")
            entry = Entry(path=b"file%d" % number, kind=Kind.FILE, mode=0o644, size=1)
            manifest = Manifest((entry,))
            stack = (*stack, Layer(id=store.publish(work, manifest)))

    def change() -> None:
        with open("file", encoding="ascii") as file:
            assert file.read() == "129"
        assert len(os.listdir()) == 131
        os.unlink("file0")

    top = step(snapshotter, stack, change)
    assert len(view(store, top).names(b"")) == 130


def test_overlays_are_probed(store: LayerStore) -> None:
    """The probe mounts one for real where these tests run, and leaves nothing behind."""
    assert overlay_works(store)
    assert os.listdir(f"{store.root}/making") == ["lock"]


ORDINARY_USER = """
import io, os, sys, tarfile
from lamina.layer.entry import Kind
from lamina.layer.stack import Layer
from lamina.layer.unpack import unpack
from lamina.snapshot.overlay import OverlaySnapshotter
from lamina.snapshot.probe import overlay_works
from lamina.snapshot.store import LayerStore
from lamina.snapshot.view import View
from lamina.fs.overlay import mount_overlay
from lamina.fs.syscalls import private_mounts

store = LayerStore(sys.argv[1])
assert overlay_works(store)
out = io.BytesIO()
with tarfile.open(fileobj=out, mode="w") as tar:
    for name, kind in (("f", tarfile.REGTYPE), ("null", tarfile.CHRTYPE), ("d", tarfile.DIRTYPE)):
        info = tarfile.TarInfo(name)
        info.type, info.uid, info.gid, info.mode = kind, 33, 44, 0o751
        info.devmajor, info.devminor = 1, 3
        tar.addfile(info)
    for name in ("d/.wh..wh..opq", ".wh.gone"):
        tar.addfile(tarfile.TarInfo(name))
with store.work() as work:
    unpacked = unpack(io.BytesIO(out.getvalue()), work.diff)
    assert {note.what for note in unpacked.notes} == {"owner", "device"}, unpacked.notes
    layer = store.publish(work, unpacked.manifest)
assert not store.is_exact(layer)
found = {entry.path: entry for entry in View(store, [layer]).walk(b"")}
assert set(found) == {b"f", b"null", b"d"}
assert {(e.uid, e.gid, e.mode) for e in found.values()} == {(33, 44, 0o751)}
assert (found[b"null"].kind, found[b"null"].device) == (Kind.CHARACTER, (1, 3))
with OverlaySnapshotter(store).prepare((Layer(id=layer),)) as active:
    if (child := os.fork()) == 0:
        private_mounts()
        os.mkdir(active.root.upper + "/../merged")
        target = active.root.upper + "/../merged"
        root = active.root
        mount_overlay(root.lower, target, upper=root.upper, work=root.work, user_namespace=True)
        os.unlink(target + "/f")
        os.rmdir(target + "/d")
        os.mkdir(target + "/d")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    top = active.commit()
kinds = {entry.path: (entry.kind, entry.opaque) for entry in store.manifest(top).entries}
assert kinds == {b"f": (Kind.WHITEOUT, False), b"d": (Kind.DIRECTORY, True)}, kinds
"""


def test_user_namespace_with_one_id(tmp_path: Path) -> None:
    """Where only one id exists, layers keep their owners and devices in the manifest, and
    overlays, whiteouts and opaque directories work all the same."""
    subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount",
         sys.executable, "-c", ORDINARY_USER, str(tmp_path / "store")],
        check=True,
    )  # fmt: skip


def test_dead_work_goes(store: LayerStore) -> None:
    """What a killed process was making is removed by the next one; what is alive stays."""
    program = (
        "import sys, time; from lamina.snapshot.store import LayerStore;"
        f"work = LayerStore({store.root!r}).work(); open(work.diff + '/x', 'w').close();"
        "print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with LayerStore(store.root).work():
            assert len(os.listdir(f"{store.root}/making")) == 5
        process.send_signal(signal.SIGKILL)
        process.wait()
    LayerStore(store.root).work().close()
    assert os.listdir(f"{store.root}/making") == ["lock"]
