"""What the builder and a step's process say to each other, over a Unix socket.

Both are the same interpreter, so `marshal` (built in, nothing to import) carries the values: each
message is a length of four bytes and a marshalled value. The builder sends a `Job` first.
"""

from __future__ import annotations

import array
import marshal
from _socket import CMSG_LEN, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET
from _socket import socket as Socket  # noqa: N812 - the socket module is slow to import
from typing import Any, TypedDict

MAX_MESSAGE = 64 << 20


class MountJob(TypedDict):
    """A mount, as `spec.Mount`; `kind` ("overlay", "bind", "tmpfs", "file") says what is used."""

    kind: str
    target: str
    lower: tuple[str, ...]
    upper: str | None
    work: str | None
    source: str
    subpath: str
    read_only: bool
    size: int
    mode: int
    content: bytes
    uid: int
    gid: int


class CgroupJob(TypedDict):
    """The control groups to be made for a container, called `name`.

    `hierarchies` are (the directory to make one in, what to write: (file, text) in order).
    """

    name: str
    hierarchies: list[tuple[str, list[tuple[str, str]]]]


class Job(TypedDict):
    """A container. `staging` and `scratch` are empty directories to mount things on.

    `limits` are (resource, soft, hard) with the numbers of getrlimit(2); `groups` False where the
    user namespace forbids setgroups(2). `cgroups` is None for a container without limits.
    `runtime` is None or the OCI runtime's own part.
    """

    staging: str
    scratch: str
    root: MountJob
    mounts: list[MountJob]
    args: list[str]
    env: list[tuple[str, str]]
    cwd: str
    user: str
    hostname: str
    private_network: bool
    cgroup_namespace: bool
    user_namespace: bool
    groups: bool
    shm_size: int
    read_only: bool
    limits: list[tuple[int, int, int]]
    terminal: bool
    cgroups: CgroupJob | None
    runtime: dict[str, Any] | None


def send(connection: Socket, message: object) -> None:
    """Raises OSError where the other side is gone."""
    data = marshal.dumps(message)  # type: ignore[arg-type]
    connection.sendall(len(data).to_bytes(4, "little") + data)


def send_descriptors(connection: Socket, numbers: list[int]) -> None:
    """Gives the other side these descriptors, with one byte that is no message."""
    connection.sendmsg([b"x"], [(SOL_SOCKET, SCM_RIGHTS, array.array("i", numbers))])


def receive_descriptors(connection: Socket, most: int) -> list[int]:
    """The descriptors of one `send_descriptors`; empty where the other side is gone."""
    size = array.array("i").itemsize * most
    try:
        data, ancillary, _, _ = connection.recvmsg(1, CMSG_LEN(size), MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return []
    numbers = array.array("i")
    for level, kind, content in ancillary:
        if data and level == SOL_SOCKET and kind == SCM_RIGHTS:
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    return list(numbers)


def receive(connection: Socket) -> Any:  # noqa: ANN401 - whatever was sent
    """The next message; None where the other side is gone."""
    head = _exactly(connection, 4)
    if head is None:
        return None
    size = int.from_bytes(head, "little")
    if size > MAX_MESSAGE:
        return None
    data = _exactly(connection, size)
    return None if data is None else marshal.loads(data)


def _exactly(connection: Socket, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        try:
            part = connection.recv(size)
        except ConnectionError:
            return None
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
