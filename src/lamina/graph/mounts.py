"""Mounts of a RUN step, as values (Dockerfile reference, "RUN --mount").

Paths are those inside the container, absolute. `input` is the place of the source in the step's
inputs.
"""

from __future__ import annotations

import enum

import msgspec


class Sharing(enum.StrEnum):
    """What a second user of a cache mount gets while the first one runs."""

    SHARED = "shared"
    PRIVATE = "private"
    LOCKED = "locked"


class BindMount(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder of another tree; what is written to it is thrown away."""

    input: int
    source: str
    target: str
    read_only: bool = True


class CacheMount(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that outlives the build. Its identity is `id` alone.

    `input` and `source` are what a new one starts from; without an `input` it starts empty, and
    `source` is the part of it that is mounted.
    `mode`, `uid` and `gid` are those of the folder itself, set at mount time.
    """

    id: str
    target: str
    sharing: Sharing = Sharing.SHARED
    input: int | None = None
    source: str = "/"
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    read_only: bool = False


class TmpfsMount(msgspec.Struct, frozen=True, kw_only=True):
    """A file system in memory. `size` in bytes; 0 is the kernel's default."""

    target: str
    size: int = 0


class SecretMount(msgspec.Struct, frozen=True, kw_only=True):
    """A secret as a file (`target`), as an environment variable (`env`), or as both."""

    id: str
    target: str | None
    env: str | None = None
    required: bool = False
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


class SshMount(msgspec.Struct, frozen=True, kw_only=True):
    """The socket of an SSH agent; the step finds it in SSH_AUTH_SOCK."""

    id: str
    target: str
    required: bool = False
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


Mount = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount
