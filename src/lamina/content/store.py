"""Blobs by digest: an OCI image layout on disk.

Layout of the folder (OCI image spec, image-layout.md; `ingest` is ours and invisible to readers):

    <root>/oci-layout             {"imageLayoutVersion": "1.0.0"}
    <root>/index.json             names of images (see `lamina.content.images`)
    <root>/blobs/sha256/<hex>     one blob; immutable; appears by rename, complete and verified
    <root>/ingest/<random>        a blob that is being written, locked by its writer

Workload: few, large, immutable files, written once by streams and read by streams; many processes.

Nothing is fsynced. A kill cannot harm a blob, because a name appears only by the rename of a
finished file. A power cut can leave a name whose data never reached the disk; documents are
verified when they are read and layers when they are unpacked, so that shows as damage and not as
wrong content. Syncing every blob would cost a build more than most of its steps do.

Rejected: `O_TMPFILE` with `linkat` (no file is ever left behind, but overlayfs and NFS lack it);
temporary files named by the writer's process id (ids are reused, and differ between containers).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Self

from lamina.content.errors import wrong_digest, wrong_size
from lamina.content.room import BLOB, FULL, UNWATCHED, Room
from lamina.errors import HostError
from lamina.fs.publish import publish_file
from lamina.oci.digest import Digest, digest_of, encoded, parse_digest

MAX_DOCUMENT = 8 << 20
"""No manifest, index or configuration is larger than this, in bytes."""

_SMALL = 64 * 1024  # bytes; no room is made for that, though it counts
_LAYOUT_FILE = b'{"imageLayoutVersion":"1.0.0"}'


class BlobStore:
    """An OCI image layout. Safe for several threads and processes at once.

    Every method raises HostError where the disk refuses.
    """

    def __init__(self, root: str | os.PathLike[str], *, room: Room = UNWATCHED) -> None:
        """Opens or makes the store at `root`, and clears what killed writers left.

        Blobs that somebody asks for here are held in `room`, so that they stay.
        """
        self.root = Path(root)
        self.room = room
        self._blobs = self.root / "blobs" / "sha256"
        self._ingest = self.root / "ingest"
        with host_errors(self.root):
            self._blobs.mkdir(parents=True, exist_ok=True)
            self._ingest.mkdir(exist_ok=True)
            if not (self.root / "oci-layout").exists():
                publish_file(str(self.root / "oci-layout"), _LAYOUT_FILE)
            self._clear_ingest()

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self._blobs / encoded(digest)

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether the blob is there, with that size in bytes if one is given."""
        self.room.hold(digest)
        try:
            status = self.path(digest).stat()
        except OSError:
            return False
        return size is None or status.st_size == size

    def size(self, digest: Digest) -> int:
        """In bytes. Raises HostError for a blob that is not there."""
        with host_errors(self.path(digest)):
            return self.path(digest).stat().st_size

    def read(self, digest: Digest, *, limit: int = MAX_DOCUMENT) -> bytes:
        """A whole document, verified. Raises HostError if missing, damaged or above `limit`."""
        with self.open(digest) as file, host_errors(self.path(digest)):
            data = file.read(limit + 1)
        if len(data) > limit:
            raise HostError(f"{digest} in {self.root} is larger than {limit} bytes")
        if digest_of(data) != digest:
            raise HostError(
                f"{digest} in {self.root} is damaged",
                hint=f"remove {self.path(digest)}; it will be fetched or made again",
            )
        return data

    def open(self, digest: Digest) -> BufferedReader:
        """A stream of the blob's bytes, not verified. Raises HostError if there is no such blob."""
        with host_errors(self.path(digest)):
            return self.path(digest).open("rb")

    def writer(self, expected: Digest | None = None, size: int | None = None) -> BlobWriter:
        """A writer of one blob; use it in a `with` statement and end with `commit()`."""
        if size is None or size > _SMALL:
            self.room.make(size or 0)
        return BlobWriter(self, expected=expected, size=size)

    def put(self, data: bytes) -> Digest:
        """Keeps a small blob."""
        digest = digest_of(data)
        if not self.has(digest):
            with self.writer(digest, len(data)) as writer:
                writer.write(data)
                writer.commit()
        return digest

    def remove(self, digest: Digest) -> bool:
        """Whether there was such a blob. Streams that are open go on reading it."""
        with host_errors(self.path(digest)):
            try:
                self.path(digest).unlink()
            except FileNotFoundError:
                return False
        return True

    def digests(self) -> Iterator[Digest]:
        """Every blob there is, in no order."""
        with host_errors(self._blobs), os.scandir(self._blobs) as entries:
            for entry in entries:
                if len(entry.name) == 64:
                    yield parse_digest(f"sha256:{entry.name}")

    def _clear_ingest(self) -> None:
        for name in os.listdir(self._ingest):
            path = self._ingest / name
            try:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError:
                continue  # just finished, or another user's
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            os.close(fd)


class BlobWriter:
    """Writes one blob, hashing as it goes. Nothing is seen of it before `commit()`.

    Several writers of one blob may work at once; each makes the same file. Leaving the `with`
    statement without `commit()` throws the bytes away.
    """

    def __init__(self, store: BlobStore, *, expected: Digest | None, size: int | None) -> None:
        self._store = store
        self._expected = expected
        self._size = size
        self._hash = hashlib.sha256()
        self._fd = -1
        self._path = store.root
        self.offset = 0
        """How many bytes were written."""

    def __enter__(self) -> Self:
        with host_errors(self._store.root):
            self._fd, self._path = _new_file(self._store.root / "ingest")
        return self

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Appends. Raises WrongDigest as soon as there are more bytes than the size allows."""
        length = len(data)
        if self._size is not None and self.offset + length > self._size:
            raise wrong_size(expected=self._size, got="more")
        view = memoryview(data)
        with host_errors(self._path):
            while view:
                view = view[os.write(self._fd, view) :]
        self._hash.update(data)
        self.offset += length
        return length

    def restart(self) -> None:
        """Forgets everything written so far."""
        with host_errors(self._path):
            os.lseek(self._fd, 0, os.SEEK_SET)
            os.ftruncate(self._fd, 0)
        self._hash = hashlib.sha256()
        self.offset = 0

    def commit(self) -> Digest:
        """Publishes the blob under its digest. Raises WrongDigest if another one was expected."""
        if self._size is not None and self.offset != self._size:
            raise wrong_size(expected=self._size, got=str(self.offset))
        digest = Digest(f"sha256:{self._hash.hexdigest()}")
        if self._expected is not None and digest != self._expected:
            raise wrong_digest(expected=self._expected, got=digest)
        target = self._store.path(digest)
        self._store.room.hold(digest)
        with host_errors(target):
            blocks = os.fstat(self._fd).st_blocks
            os.rename(self._path, target)
        self._store.room.wrote(BLOB, digest, max(blocks * 512, self.offset))
        os.close(self._fd)
        self._fd = -1
        return digest

    def __exit__(self, *_: object) -> None:
        if self._fd < 0:
            return
        self._path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1


def _new_file(folder: Path) -> tuple[int, Path]:
    """A locked file under `ingest`: the lock tells the living from what a kill left behind."""
    while True:
        path = folder / secrets.token_hex(16)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return fd, path
        except BlockingIOError:
            pass  # a clearing process saw it before it was locked: take another
        os.close(fd)


@contextlib.contextmanager
def host_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an OSError about `path` into a HostError that names it and its cause."""
    try:
        yield
    except OSError as error:
        hint = None
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = FULL
        cause = error.strerror or str(error)
        raise HostError(f"{os.fspath(path)}: {cause}", hint=hint) from error
