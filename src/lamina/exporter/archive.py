"""An image layout as files: in one tar, or in a folder (OCI image spec, image-layout.md).

The same members give the same archive, byte for byte: sorted names, no times, no owners.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator

import msgspec

from lamina.content.layout import IMAGE_NAME, REF_NAME
from lamina.content.store import BlobStore, host_errors
from lamina.errors import HostError, UserError
from lamina.exporter.meter import Meter, OutputProgress
from lamina.exporter.output import Output
from lamina.fs.copyfile import copy_content
from lamina.fs.publish import publish_file, publishing
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, encoded
from lamina.oci.manifest import Index, empty_index, encode_document

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_PIECE = 32 << 20
_RECORD = 10240  # tar(5): archives are padded to whole records


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the archive: `data`, or else the blob `digest`."""

    name: str
    mode: int = 0o644
    data: bytes = b""
    digest: Digest | None = None
    size: int


def layout_members(
    manifests: Iterable[Descriptor], blobs: Iterable[Descriptor]
) -> tuple[Member, ...]:
    """The files of an image layout whose index lists `manifests`."""
    index = msgspec.structs.replace(empty_index(), manifests=tuple(manifests))
    return (
        member("index.json", encode_document(index)),
        member("oci-layout", _LAYOUT, mode=0o444),
        *(
            Member(name=blob_name(blob.digest), mode=0o444, digest=blob.digest, size=blob.size)
            for blob in blobs
        ),
    )


def member(name: str, data: bytes, *, mode: int = 0o644) -> Member:
    return Member(name=name, mode=mode, data=data, size=len(data))


def blob_name(digest: Digest) -> str:
    return f"blobs/sha256/{encoded(digest)}"


def write_archive(
    members: Iterable[Member],
    content: BlobStore,
    out: Output,
    *,
    progress: OutputProgress,
    what: str,
) -> None:
    """One tar. Raises HostError."""
    files = list(members)
    total = sum(one.size for one in files)
    folders = {f"{part}/" for one in files for part in _folders(one.name)}
    files += [Member(name=folder, mode=0o755, size=0) for folder in folders]
    position = 0
    with Meter(progress, what, total) as meter:
        for one in sorted(files, key=lambda one: one.name):
            header, padding = _header(one), bytes(-one.size % 512)
            out.write(header)
            if one.digest is None:
                out.write(one.data)
            else:
                _copy_blob(content, one, out, meter)
            out.write(padding)
            position += len(header) + one.size + len(padding)
        end = 1024
        out.write(bytes(end + -(position + end) % _RECORD))


def write_folder(
    folder: str,
    manifests: tuple[Descriptor, ...],
    blobs: Iterable[Descriptor],
    content: BlobStore,
    *,
    progress: OutputProgress,
    what: str,
) -> None:
    """A folder that is a layout. What it holds of other images stays; equal names are replaced.

    The index comes last, so it never names a blob that is not there. Raises HostError, or UserError
    for a folder whose index is none.
    """
    blobs = tuple(blobs)
    with Meter(progress, what, sum(blob.size for blob in blobs)) as meter:
        with host_errors(folder):
            os.makedirs(os.path.join(folder, "blobs", "sha256"), exist_ok=True)
        for blob in blobs:
            _place_blob(content, blob, os.path.join(folder, blob_name(blob.digest)))
            meter.advance(blob.size)
        with host_errors(folder), _locked(folder):
            index = _read_index(os.path.join(folder, "index.json"))
            publish_file(os.path.join(folder, "oci-layout"), _LAYOUT)
            merged = msgspec.structs.replace(index, manifests=_merged(index.manifests, manifests))
            publish_file(os.path.join(folder, "index.json"), encode_document(merged))


def _merged(old: tuple[Descriptor, ...], new: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
    """The descriptors of both but those of the old ones that a new one takes the name of."""
    taken = {_name(one) for one in new}
    return (*(one for one in old if _name(one) not in taken), *new)


def _name(descriptor: Descriptor) -> tuple[str, str]:
    annotations = descriptor.annotations
    return annotations.get(IMAGE_NAME, ""), annotations.get(REF_NAME, "")


def _read_index(path: str) -> Index:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return empty_index()
    try:
        return msgspec.json.decode(data, type=Index)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise UserError(
            f"{path} is not the index of an image layout: {error}",
            hint="choose another dest, or remove the folder",
        ) from None


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Keeps other Lamina processes from changing the index at the same time."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _place_blob(content: BlobStore, blob: Descriptor, target: str) -> None:
    # Copied, not hard-linked: whoever gets the folder may write to its files, and the store's
    # must not change. Where the file system can share extents this costs nothing either.
    with host_errors(target), content.open(blob.digest) as source:
        if os.path.lexists(target) and os.stat(target).st_size == blob.size:
            return
        with publishing(target) as file:
            copied = copy_content(source.fileno(), file.fileno())
    if copied != blob.size:
        raise _damaged(blob.digest)


def _copy_blob(content: BlobStore, one: Member, out: Output, meter: Meter) -> None:
    assert one.digest is not None
    with content.open(one.digest) as source:
        if os.fstat(source.fileno()).st_size != one.size:
            raise _damaged(one.digest)
        left = one.size
        while left:
            size = min(left, _PIECE)
            out.copy(source.fileno(), size)
            meter.advance(size)
            left -= size


def _damaged(digest: Digest) -> HostError:
    return HostError(
        f"the blob {digest} in the store is damaged: its size is wrong",
        hint="remove it; it will be fetched or made again",
    )


def _folders(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def _header(one: Member) -> bytes:
    import tarfile

    info = tarfile.TarInfo(one.name.rstrip("/"))
    info.size, info.mode = one.size, one.mode
    if one.name.endswith("/"):
        info.type = tarfile.DIRTYPE
    return info.tobuf(tarfile.PAX_FORMAT)
