"""`lamina mounts cp`: files from a cache mount to the machine, and the other way.

As `docker cp` has it: a folder that is copied to one that exists goes into it under its own name,
unless its path ends in `/.`; a mount's root is always its content. Links are copied, not followed.
Every name is opened below a directory that is already open, so that whatever a step does meanwhile,
nothing is read or written outside of the mount.
"""

from __future__ import annotations

import errno
import os
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, Final

from lamina.cache.mountlist import MountCopy, note_end
from lamina.content.room import FULL
from lamina.control.keeping.mount_files import (
    FOLDER,
    Copied,
    Copying,
    Packing,
    Unpacking,
    beneath,
    folder_at,
    open_folder,
)
from lamina.control.mounts import MountInUse, copies_of, find_copies
from lamina.control.privileges import become_root
from lamina.control.store import Store, open_store
from lamina.errors import HostError, UsageError, UserError
from lamina.fs.lock import lock, try_lock
from lamina.fs.paths import resolve_in_root

_HARMLESS: Final = 0o1777  # what a step wrote is nothing to run as root on the machine
_USERS: Final = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.EXDEV)


def copy_files(
    source: str, target: str, *, root: str, platform: str, stdin: BinaryIO, stdout: BinaryIO
) -> Copied:
    """One of the two is `ID:/path`. `-` is a tar, from standard input or to standard output.

    Raises UsageError where none or both are in mounts, UserError for what is not there, MountInUse
    for a mount that a step has locked.
    """
    become_root()
    store = open_store(root)
    out, into = _place(store, source, platform), _place(store, target, platform)
    if (out is None) == (into is None):
        raise _which(store, (source, target), both=out is not None)
    if out is not None:
        copy, path = out
        if target == "-":
            return _to_tar(copy, path, stdout)
        return _to_machine(copy, path, target)
    assert into is not None
    copy, path = into
    with _held(copy):
        if source == "-":
            return _from_tar(stdin, copy, path)
        return _to_mount(source, copy, path)


def _which(store: Store, texts: tuple[str, str], *, both: bool) -> UsageError:
    if both:
        return UsageError("both are in cache mounts", hint="copy through a folder, or through -")
    ids = sorted({copy.id for copy in copies_of(store)})
    for text in texts:
        name, separator, _ = text.partition(":/")
        if separator and "/" not in name.strip("/"):
            find_copies(store, name)
    known = f"; there are {', '.join(ids)}" if ids else "; there are none"
    return UsageError("neither is in a cache mount", hint=f"write ID:/path for one of them{known}")


def _place(store: Store, text: str, platform: str) -> tuple[MountCopy, str] | None:
    """`ID:/path` to the first copy of the mount and the path in it; ids may have colons."""
    ids = {copy.id for copy in copies_of(store)}
    fitting = sorted((name for name in ids if text.startswith(f"{name}:")), key=len)
    if not fitting:
        return None
    copies = find_copies(store, fitting[-1], platform)
    if len({copy.platform for copy in copies}) > 1:
        names = ", ".join(sorted({copy.platform for copy in copies}))
        raise UsageError(f"cache mount {fitting[-1]} is there for {names}", hint="give --platform")
    return copies[0], text[len(fitting[-1]) + 1 :]


@contextmanager
def _held(copy: MountCopy) -> Iterator[None]:
    """The mount for somebody who writes to it: not while a step has locked it."""
    with ExitStack() as held:
        taken = try_lock(f"{copy.place}/lock")
        if taken is None:
            raise MountInUse(
                f"cache mount {copy.id} is in use: {copy.user.step or 'a step'}",
                hint="wait until that step has ended",
            )
        held.enter_context(taken)
        users = lock(f"{copy.place}/users", shared=True)
        if users is not None:
            held.enter_context(users)
        yield
        note_end(copy.place)


def _inside(copy: MountCopy, path: str) -> tuple[bytes, bytes]:
    """Where a path of a mount really is: its folder and its name, both without links."""
    clean = os.fsencode(path).strip(b"/")
    parent, _, name = clean.rpartition(b"/")
    if name in (b"..", b"."):
        parent, name = clean, b""
    with _errors(f"{copy.id}:{path}"):
        folder = resolve_in_root(copy.data, parent)
    return folder, name


def _to_machine(copy: MountCopy, path: str, target: str) -> Copied:
    """A file or folder of a mount to the machine."""
    with _errors(f"{copy.id}:{path}"), ExitStack() as opened:
        source, name = _open_source(copy, path, opened)
        tree = Copying(mode=_HARMLESS)
        goal = os.path.abspath(target)
        if os.path.isdir(goal) and name and not path.endswith("/."):
            goal = os.path.join(goal, os.fsdecode(name))
        elif name and target.endswith("/") and not os.path.isdir(goal):
            raise UserError(f"{target}: there is no such directory")
        folder = opened.enter_context(open_folder(os.path.dirname(goal), FOLDER & ~os.O_NOFOLLOW))
        last = os.fsencode(os.path.basename(goal))
        if not name or path.endswith("/."):
            if not os.path.isdir(goal):
                os.mkdir(goal)
            inner = opened.enter_context(open_folder(goal, FOLDER & ~os.O_NOFOLLOW))
            whole = _descend(source, name, opened) if name else source
            tree.contents(whole, inner)
        else:
            tree.entry(source, name, folder, last)
        return tree.copied


def _to_mount(source: str, copy: MountCopy, path: str) -> Copied:
    """A file or folder of the machine into a mount."""
    where = os.path.abspath(source)
    if not os.path.lexists(where):
        raise UserError(f"{source}: no such file or directory")
    with _errors(f"{copy.id}:{path}"), ExitStack() as opened:
        base = opened.enter_context(open_folder(copy.data, FOLDER))
        folder_path, name = _inside(copy, path)
        folder = opened.enter_context(beneath(base, folder_path))
        tree = Copying()
        content = source.endswith("/.") or os.path.basename(source) in (".", "..")
        goal = _existing_folder(folder, name, opened)
        if goal is None and path.endswith("/") and name:
            raise UserError(f"{copy.id}:{path}: there is no such directory")
        if os.path.isdir(where) and not os.path.islink(where) and (content or goal is None):
            if goal is None:
                os.mkdir(name, 0o755, dir_fd=folder)
                goal = opened.enter_context(folder_at(name, folder))
            tree.contents(opened.enter_context(open_folder(where, FOLDER)), goal)
            return tree.copied
        parent = opened.enter_context(open_folder(os.path.dirname(where), FOLDER))
        last = os.fsencode(os.path.basename(where))
        tree.entry(parent, last, *((folder, name) if goal is None else (goal, last)))
        return tree.copied


def _to_tar(copy: MountCopy, path: str, stdout: BinaryIO) -> Copied:
    with _errors(f"{copy.id}:{path}"), ExitStack() as opened:
        source, name = _open_source(copy, path, opened)
        with tarfile.open(fileobj=stdout, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            packing = Packing(tar)
            if name and not path.endswith("/."):
                packing.entry(source, name, os.fsdecode(name))
            else:
                packing.contents(_descend(source, name, opened) if name else source, "")
        return packing.copied


def _from_tar(stdin: BinaryIO, copy: MountCopy, path: str) -> Copied:
    """Unpack an archive into a folder of a mount, as it would be for an ordinary user's eyes: no
    devices, and nothing outside of the folder.
    """
    with _errors(f"{copy.id}:{path}"), ExitStack() as opened:
        base = opened.enter_context(open_folder(copy.data, FOLDER))
        with _errors(f"{copy.id}:{path}"):
            inner = resolve_in_root(copy.data, os.fsencode(path))
        folder = opened.enter_context(beneath(base, inner))
        try:
            with tarfile.open(fileobj=stdin, mode="r|*") as tar:
                return Unpacking(tar, folder).run()
        except (tarfile.TarError, ValueError) as error:  # the second: numbers that are none
            raise UserError(f"standard input is no tar archive: {error}") from None


def _open_source(copy: MountCopy, path: str, opened: ExitStack) -> tuple[int, bytes]:
    base = opened.enter_context(open_folder(copy.data, FOLDER))
    bare = path.removesuffix("/.") if path != "/." else ""
    folder, name = _inside(copy, bare)
    if name == b"" and folder:
        folder, _, name = folder.rpartition(b"/")
    source = opened.enter_context(beneath(base, folder))
    if name:
        os.stat(name, dir_fd=source, follow_symlinks=False)
    return source, name


def _descend(folder: int, name: bytes, opened: ExitStack) -> int:
    return opened.enter_context(folder_at(name, folder))


def _existing_folder(folder: int, name: bytes, opened: ExitStack) -> int | None:
    if not name:
        return folder
    try:
        return opened.enter_context(folder_at(name, folder))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            return None
        raise


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """What the user can cause is the user's, the rest is the machine's."""
    try:
        yield
    except RecursionError:
        raise UserError(f"{what}: its folders lie too deep in one another") from None
    except OSError as error:
        name = os.fsdecode(error.filename) if error.filename else ""
        place = f"{what}: {name}" if name and name not in what else what
        if error.errno in _USERS:
            raise UserError(f"{place}: {error.strerror}") from error
        hint = FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
        raise HostError(f"{place}: {error.strerror}", hint=hint) from error
