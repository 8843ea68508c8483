"""The objects of a git repository, read through one `git cat-file --batch` process.

Nothing is checked out and nothing is written. An object never changes, so what was read once is
kept: a tree's rows, and a blob's digest. See git-cat-file(1), "BATCH OUTPUT"; the format of trees
is that of git's "tree" objects: `MODE NAME\\0ID`, repeated.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

import msgspec

from lamina.errors import HostError, UserError

_CHUNK = 1 << 20
_AT_ONCE = 64  # ids in the pipe: far less than it holds, so neither side ever waits for the other
_MAX_TREE = 256 << 20


class GitMissing(UserError):
    """There is no program `git`."""


class NoRepository(UserError):
    """A folder that is in no git repository which can be read."""


class GitRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row of a tree. `mode` is git's (0o100644, 0o40000 …), `id` the raw object name."""

    mode: int
    name: bytes
    id: bytes


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """`id` in hexadecimal, `tree` raw; `time` in seconds since 1970, `subject` the first line."""

    id: str
    tree: bytes
    time: int
    subject: str


class Blob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of a file's content: its SHA-256 (32 bytes) and its size in bytes."""

    digest: bytes
    size: int


class GitRepository(msgspec.Struct, frozen=True, kw_only=True):
    """Where a repository's files are checked out (`top`, a real path), and whether its history
    was cut off when it was cloned.
    """

    top: str
    shallow: bool

    def commits(self, *, most: int, revision: str = "HEAD") -> tuple[Commit, ...]:
        """The last commits along the first parents, oldest first. Raises NoRepository."""
        form = "--format=%H%x00%T%x00%ct%x00%s"
        listed = ("--first-parent", f"--max-count={most}", form, revision, "--")
        text = _git(self.top, "rev-list", *listed)
        found = [_commit(line) for line in text.split(b"\n") if b"\0" in line]
        return tuple(reversed(found))


def open_repository(directory: str) -> GitRepository:
    """The repository that a folder is in. Raises GitMissing and NoRepository."""
    text = _git(directory, "rev-parse", "--show-toplevel", "--is-shallow-repository")
    top, _, shallow = os.fsdecode(text).rstrip("\n").rpartition("\n")
    return GitRepository(top=os.path.realpath(top), shallow=shallow == "true")


def _commit(line: bytes) -> Commit:
    name, tree, time, subject = line.split(b"\0", 3)
    return Commit(
        id=name.decode(),
        tree=bytes.fromhex(tree.decode()),
        time=int(time),
        subject=subject.decode("utf-8", "replace"),
    )


class GitObjects:
    """Reads objects of a repository. Safe for several threads. Close it.

    Besides what the repository has, there are trees and blobs that `add_tree` and `add_blob` made
    up, under ids of their own.
    """

    def __init__(self, repository: GitRepository) -> None:
        self._lock = threading.Lock()
        self._top = repository.top
        self._process = _start(repository.top)
        self._trees: dict[bytes, tuple[GitRow, ...]] = {}
        self._blobs: dict[bytes, Blob] = {}

    def close(self) -> None:
        """Nothing may be asked afterwards."""
        with self._lock:
            _end(self._process)

    def __enter__(self) -> GitObjects:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tree(self, name: bytes) -> tuple[GitRow, ...]:
        """The rows of a tree, in git's order. Raises HostError where it is not there."""
        known = self._trees.get(name)
        if known is None:
            known = self._trees[name] = tuple(_rows(self.read(name, most=_MAX_TREE), len(name)))
        return known

    def add_tree(self, rows: Sequence[GitRow]) -> bytes:
        """A tree that git does not know; its id is one that git would not give."""
        name = b"made up" + hashlib.sha256(msgspec.msgpack.encode(tuple(rows))).digest()
        self._trees[name] = tuple(rows)
        return name

    def add_blob(self, content: bytes) -> bytes:
        """The same for a file's content."""
        digest = hashlib.sha256(content).digest()
        name = b"made up" + digest
        self._blobs[name] = Blob(digest, len(content))
        return name

    def read(self, name: bytes, *, most: int) -> bytes:
        """An object's content. Raises HostError where it is not there or larger than `most`."""
        with self._lock, self._answers():
            self._ask([name])
            size = self._size(name)
            if size > most:
                raise HostError(f"git object {name.hex()} is larger than {most} bytes")
            return b"".join(self._content(size))

    def blobs(self, names: Iterable[bytes]) -> Mapping[bytes, Blob]:
        """Digests and sizes, by id; at least those that were asked for. Raises HostError."""
        wanted = [name for name in dict.fromkeys(names) if name not in self._blobs]
        with self._lock, self._answers():
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                self._ask(some)
                for name in some:
                    self._blobs[name] = self._digested(name)
        return self._blobs

    def _digested(self, name: bytes) -> Blob:
        size = self._size(name)
        hasher = hashlib.sha256()
        for piece in self._content(size):
            hasher.update(piece)
        return Blob(hasher.digest(), size)

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """After an answer that was not read to its end the next ones could not be understood."""
        try:
            yield
        except BaseException as error:
            _end(self._process)
            self._process = _start(self._top)
            if isinstance(error, OSError | ValueError):
                raise HostError(f"git cat-file failed: {error}") from error
            raise

    def _ask(self, names: Sequence[bytes]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(b"".join(name.hex().encode() + b"\n" for name in names))
        stdin.flush()

    def _size(self, name: bytes) -> int:
        """The size in an answer's head. Raises HostError for an object that is not there."""
        head = self._stdout.readline()
        words = head.split()
        if len(words) != 3:
            raise HostError(
                f"git object {name.hex()} is missing in the repository",
                hint="a partial clone leaves objects out: git fetch --refetch brings them",
            )
        return int(words[2])

    def _content(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            piece = self._stdout.read(min(left, _CHUNK))
            if not piece:
                raise OSError("it ended in the middle of an object")
            left -= len(piece)
            yield piece
        self._stdout.read(1)  # the line end behind the content

    @property
    def _stdout(self) -> IO[bytes]:
        stdout = self._process.stdout
        assert stdout is not None
        return stdout


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # it only reads
    process.communicate()


def _rows(data: bytes, id_length: int) -> Iterator[GitRow]:
    at = 0
    while at < len(data):
        blank = data.index(b" ", at)
        end = data.index(b"\0", blank)
        following = end + 1 + id_length
        yield GitRow(int(data[at:blank], 8), data[blank + 1 : end], data[end + 1 : following])
        at = following


def _environment() -> dict[str, str]:
    """English messages, no locks, no questions, and no network for what is not there."""
    return {
        **os.environ,
        "LC_ALL": "C",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
    }


def _start(directory: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            ["git", "cat-file", "--batch"],
            cwd=directory,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise _no_git() from None


def _git(directory: str, *words: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        if not os.path.isdir(directory):
            raise UserError(f"there is no folder {directory}") from error
        raise _no_git() from None
    except NotADirectoryError:
        raise UserError(f"{directory} is not a folder") from None
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ")
    first, _, rest = said.partition("\n")
    if "not a git repository" in first:
        raise NoRepository(
            f"{directory} is in no git repository: there is no history to replay",
            hint="name a folder of one with -C",
        )
    if "bad revision" in first or "ambiguous argument 'HEAD'" in first:
        raise NoRepository(f"the repository of {directory} has no commits yet")
    raise NoRepository(f"git cannot read {directory}: {first}", hint=rest.strip() or None)


def _no_git() -> GitMissing:
    return GitMissing(
        "there is no program git here, which reads the repository's history",
        hint="install git",
    )
