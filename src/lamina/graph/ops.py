"""The kinds of operation that a build is made of, as values.

Every operation gives a file tree: a stack of layers, or a tree in place for LocalOp.
"""

from __future__ import annotations

import msgspec

from lamina.graph.mounts import Mount
from lamina.oci.digest import Digest
from lamina.oci.platform import Platform


class ScratchOp(msgspec.Struct, frozen=True, kw_only=True):
    """The empty tree."""


class ImageOp(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of an image. `digest` is that of its manifest, already resolved."""

    reference: str
    digest: Digest
    platform: Platform


class LocalOp(msgspec.Struct, frozen=True, kw_only=True):
    """A directory of the machine: the build context, or a named one."""

    name: str


class HttpOp(msgspec.Struct, frozen=True, kw_only=True):
    """One file from a web server, as `/filename`."""

    url: str
    filename: str
    checksum: Digest | None = None


class TreeSource(msgspec.Struct, frozen=True, kw_only=True):
    """What a COPY takes from one of its inputs.

    `path` is absolute in that tree. With `wildcards` it is a pattern, symlinks in it are followed,
    and of a matched directory the contents are taken (COPY and ADD of files).
    Without, it names exactly one file (a downloaded one).
    `include` (with --parents) are patterns relative to `path`; `required` are paths that must
    exist. `unpack`: an archive is unpacked instead of copied.
    """

    input: int
    path: str
    wildcards: bool = True
    include: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    unpack: bool = False


class InlineSource(msgspec.Struct, frozen=True, kw_only=True):
    """A file whose content stands in the Dockerfile."""

    name: str
    content: bytes


CopySource = TreeSource | InlineSource


class CopyOp(msgspec.Struct, frozen=True, kw_only=True):
    """COPY and ADD: writes the sources, in order, on top of the first input.

    `dest` is absolute; a slash at its end says that it is a directory.
    `chown` is `user[:group]` by name or number, looked up in the first input; None keeps the owners
    that the source has (in a local directory everything is owned by 0:0). `chmod` is octal or
    symbolic.
    """

    sources: tuple[CopySource, ...]
    dest: str
    chown: str | None = None
    chmod: str | None = None
    exclude: tuple[str, ...] = ()
    epoch: int | None = None


class MakeDirOp(msgspec.Struct, frozen=True, kw_only=True):
    """WORKDIR: a directory and its parents, where they are missing. `owner` as in `USER`."""

    path: str
    mode: int = 0o755
    owner: str | None = None
    epoch: int | None = None


class EnvVar(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of a step's environment. `argument`: it came from ARG and is no part of the
    image.
    """

    name: str
    value: str
    argument: bool = False


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a step's processes. `ulimits` are (name, soft, hard); sizes in bytes."""

    ulimits: tuple[tuple[str, int, int], ...] = ()
    shm_size: int = 0


class ExecOp(msgspec.Struct, frozen=True, kw_only=True):
    """RUN: a process on top of the first input.

    `proxies` are proxy variables: the process sees them, the key does not. So with `extra_hosts`'
    addresses.
    """

    args: tuple[str, ...]
    env: tuple[EnvVar, ...] = ()
    cwd: str = "/"
    user: str = ""
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    hostname: str = ""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    proxies: tuple[tuple[str, str], ...] = ()
    limits: Limits = msgspec.field(default_factory=Limits)
    platform: Platform


class MergeOp(msgspec.Struct, frozen=True, kw_only=True):
    """COPY --link: the layers of the second input on top of those of the first."""


Op = ScratchOp | ImageOp | LocalOp | HttpOp | CopyOp | MakeDirOp | ExecOp | MergeOp
