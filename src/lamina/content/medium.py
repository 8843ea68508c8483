"""What a foreign layout lies in: a folder or an uncompressed tar. Nothing is ever extracted."""

from __future__ import annotations

import io
import os
import posixpath
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lamina.content.errors import MalformedImage, NotFound
from lamina.content.store import MAX_DOCUMENT, BlobStore, host_errors
from lamina.errors import UserError
from lamina.oci.descriptor import Descriptor

if TYPE_CHECKING:
    import tarfile

_MAX_MEMBERS = 100_000
_CHUNK = 1 << 20


class Medium(Protocol):
    """Files by name (`blobs/sha256/…`)."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def open(self, path: str) -> Section | None:
        """One file; None if there is no such file. Close it after use."""
        ...


class Section(io.RawIOBase):
    """A read-only part of a file, with a place of its own: many may be read at once."""

    def __init__(self, fd: int, *, start: int, size: int) -> None:
        """Takes over `fd`. `start` and `size` are in bytes."""
        super().__init__()
        self._fd = fd
        self._start = start
        self._offset = 0
        self.size = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), self.size - self._offset)
        if wanted <= 0:
            return 0
        count = os.preadv(self._fd, [memoryview(buffer)[:wanted]], self._start + self._offset)
        self._offset += count
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


class Folder:
    """A layout that is a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def name(self) -> str:
        return str(self._root)

    def open(self, path: str) -> Section | None:
        file = self._root / path
        with host_errors(file):
            try:
                # Without O_NONBLOCK a named pipe in the place of a blob would hang the build.
                fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except (FileNotFoundError, NotADirectoryError):
                return None
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise MalformedImage(f"{file} is not a file")
        return Section(fd, start=0, size=status.st_size)


class Archive:
    """A layout in a tar. Only the headers are read at first; links lead to other members alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        self._scan()

    @property
    def name(self) -> str:
        return str(self._path)

    def open(self, path: str) -> Section | None:
        for _ in range(4):
            if path not in self._links:
                break
            path = self._links[path]
        found = self._files.get(path)
        if found is None:
            return None
        with host_errors(self._path):
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return Section(fd, start=found[0], size=found[1])

    def _scan(self) -> None:
        import tarfile

        count = 0
        try:
            with host_errors(self._path), tarfile.open(self._path, "r:") as tar:
                while (member := tar.next()) is not None:
                    # Otherwise tarfile keeps every header in memory.
                    tar.members.clear()  # type: ignore[attr-defined]
                    count += 1
                    if count > _MAX_MEMBERS:
                        raise MalformedImage(f"{self._path}: more than {_MAX_MEMBERS} files")
                    self._keep(member)
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            raise UserError(
                f"{self._path} is not the tar of an image: {error}",
                hint="a compressed archive must be decompressed first",
            ) from error

    def _keep(self, member: tarfile.TarInfo) -> None:
        name = posixpath.normpath(member.name)
        if member.issym():
            folder = posixpath.dirname(name)
            self._links[name] = posixpath.normpath(posixpath.join(folder, member.linkname))
        elif member.islnk():
            self._links[name] = posixpath.normpath(member.linkname)
        elif member.isreg() and not member.issparse():
            self._files[name] = (member.offset_data, member.size)


def open_medium(path: Path) -> Medium:
    """The folder or the tar at `path`. Raises UserError, MalformedImage or HostError."""
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or directory")
    return Archive(path)


def read_document(medium: Medium, path: str, *, limit: int = MAX_DOCUMENT) -> bytes:
    """A small file. Raises NotFound, or MalformedImage if it is larger than `limit` bytes."""
    file = medium.open(path)
    if file is None:
        raise NotFound(f"{medium.name}: {path} is missing")
    with file, host_errors(medium.name):
        if file.size > limit:
            raise MalformedImage(f"{medium.name}: {path} is larger than {limit} bytes")
        return file.readall()


def copy_blob(
    medium: Medium,
    path: str,
    descriptor: Descriptor,
    store: BlobStore,
    *,
    progress: Callable[[int], None] | None,
) -> None:
    """Copies one file into the store. Raises WrongDigest if it is not what `descriptor` says."""
    if store.has(descriptor.digest, descriptor.size):
        return
    file = medium.open(path)
    if file is None:
        raise NotFound(f"{medium.name}: {path} is missing")
    with file, store.writer(descriptor.digest, descriptor.size) as writer:
        while data := file.read(_CHUNK):
            writer.write(data)
            if progress:
                progress(len(data))
        writer.commit()
