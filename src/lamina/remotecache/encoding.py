"""The bytes of a cache document: JSON, compressed with zstd where it is large.

Readers tell the two apart by the first bytes, so a backend may keep either. Whoever compares two
documents compares values: another release of zstd may give other bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from lamina.content.compression import zstd_module
from lamina.errors import UserError
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, parse_digest
from lamina.remotecache.document import MEDIA_TYPE, VERSION, CacheDocument
from lamina.remotecache.errors import UnreadableCache

MAX_ENCODED = 16 << 20
"""No document is larger, in bytes as it is stored."""
MAX_PLAIN = 16 << 20
"""No document is larger, in bytes of JSON: what is read may take ten times as much memory."""
MEDIA_TYPE_ZSTD = f"{MEDIA_TYPE}+zstd"

_SMALL = 4 << 10
_LEVEL = 12
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MOST_LAYERS = 1000
_LARGEST = 1 << 62  # bytes
_LATEST = 253_402_300_800.0  # the year 10000, in seconds since 1970: calendars end there


class _Outline(msgspec.Struct):
    version: int


def encode(document: CacheDocument) -> bytes:
    """Equal documents give equal bytes."""
    data = msgspec.json.encode(document, order="deterministic")
    if len(data) < _SMALL:
        return data
    packed: bytes = zstd_module().compress(data, level=_LEVEL)
    return packed


def media_type(data: bytes) -> str:
    """The media type of encoded bytes."""
    return MEDIA_TYPE_ZSTD if data.startswith(_ZSTD_MAGIC) else MEDIA_TYPE


def decode(data: bytes, *, subject: str) -> CacheDocument:
    """Raises UnreadableCache; `subject` is what its message calls the cache."""
    try:
        plain = _plain(data, subject)
        outline = msgspec.json.decode(plain, type=_Outline)
        if outline.version != VERSION:
            raise UnreadableCache(
                f"{subject}: the cache has version {outline.version}, this Lamina knows {VERSION}",
                hint="write it anew with --cache-to, or use a newer Lamina",
            )
        document = msgspec.json.decode(plain, type=CacheDocument)
        _check(document)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _damaged(subject, str(error)) from None
    except UserError as error:
        raise _damaged(subject, error.message) from None
    return document


def _damaged(subject: str, why: str) -> UnreadableCache:
    return UnreadableCache(f"{subject}: the cache is damaged: {why[:200]}")


def _plain(data: bytes, subject: str) -> bytes:
    if len(data) > MAX_ENCODED:
        raise _damaged(subject, f"larger than {MAX_ENCODED} bytes")
    if not data.startswith(_ZSTD_MAGIC):
        return data
    zstd = zstd_module()
    reader = zstd.ZstdDecompressor()
    try:
        plain: bytes = reader.decompress(data, max_length=MAX_PLAIN)
    except zstd.ZstdError as error:
        raise _damaged(subject, str(error)) from None
    if not reader.eof or reader.unused_data:
        raise _damaged(subject, f"cut short, or larger than {MAX_PLAIN} bytes")
    return plain


def _check(document: CacheDocument) -> None:
    """What the types do not say. Raises UserError."""
    for layer in document.layers:
        parse_digest(layer.id)
        parse_digest(layer.diff_id)
        _check_numbers(layer.id, size=layer.size, times=(layer.created,))
    for step in document.steps:
        parse_digest(step.key)
        _check_numbers(step.key, times=(step.created, step.used, step.seconds))
        if len(step.layers) > _MOST_LAYERS:
            raise UserError(f"the step {step.key} has more than {_MOST_LAYERS} layers")
        if not all(0 <= place < len(document.layers) for place in step.layers):
            raise UserError(f"the step {step.key} has a layer that is not there")
    for state in document.mounts:
        _check_numbers(state.manifest.digest, size=state.size, times=(state.saved,))
    for blob in _all_blobs(document):
        _check_numbers(parse_digest(blob.digest), size=blob.size)


def _check_numbers(what: Digest, *, size: int = 0, times: Iterable[float] = ()) -> None:
    if not 0 <= size < _LARGEST:
        raise UserError(f"{what} has a size that nothing can have")
    if not all(0 <= time < _LATEST for time in times):
        raise UserError(f"{what} has a time that is in no calendar")


def _all_blobs(document: CacheDocument) -> Iterator[Descriptor]:
    yield from (layer.blob for layer in document.layers if layer.blob is not None)
    for state in document.mounts:
        yield from (state.manifest, *state.packs)
