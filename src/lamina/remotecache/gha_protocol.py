"""The cache service of GitHub Actions, as the published client speaks to it (actions/toolkit,
packages/cache): entries that never change, found by key or by the beginning of one.

    version 2   JSON to <results URL>/twirp/github.actions.results.api.v1.CacheService/METHOD:
                CreateCacheEntry, FinalizeCacheEntryUpload, GetCacheEntryDownloadURL;
                bytes go to and come from Azure Blob Storage, through signed addresses
    version 1   JSON to <cache URL>/_apis/artifactcache: POST caches, PATCH caches/ID in pieces,
                POST caches/ID, GET cache?keys=…; bytes come from a signed address

The token goes to the service alone, not to the signed addresses.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Protocol, TypeVar
from urllib.parse import quote

import msgspec

from lamina.errors import RemoteError
from lamina.remotecache.gha_line import CacheServiceFailed, Line, clean

PIECE = 8 << 20
"""Bytes that are sent at once."""

_VERSION = hashlib.sha256(b"lamina cache 1").hexdigest()
"""Entries are found under the version that they were made with; the toolkit puts paths into it."""

_SERVICE = "twirp/github.actions.results.api.v1.CacheService"
_ACCEPT_V1 = "application/json;api-version=6.0-preview.1"
_T = TypeVar("_T")


class Found(msgspec.Struct, frozen=True):
    """An entry: its whole key, and the address of its bytes, which is good for some minutes."""

    key: str
    url: str


class CacheService(Protocol):
    """Either version. Raises RemoteError."""

    def find(self, prefix: str) -> Found | None:
        """The newest entry whose key begins with `prefix`: on the job's own branch, or else on that
        of its base or on the default one."""
        ...

    def save(self, key: str, size: int, pieces: Iterator[bytes]) -> bool:
        """Makes an entry of `size` bytes; False if the key is taken, also by one in the making.
        No byte is taken from `pieces` then, whose elements have at most PIECE bytes.
        """
        ...


class ServiceV2:
    """Version 2."""

    def __init__(self, line: Line, *, url: str, token: str) -> None:
        self._line = line
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def find(self, prefix: str) -> Found | None:
        asked = {"key": prefix, "restore_keys": [prefix], "version": _VERSION}
        answer = self._call("GetCacheEntryDownloadURL", asked, _Download)
        if not answer.ok or not answer.matched_key.startswith(prefix):
            return None
        return Found(answer.matched_key, answer.signed_download_url)

    def save(self, key: str, size: int, pieces: Iterator[bytes]) -> bool:
        try:
            made = self._call("CreateCacheEntry", {"key": key, "version": _VERSION}, _Upload)
        except CacheServiceFailed as error:
            if error.status == 409:
                return False
            raise
        if not made.ok:
            if made.message:
                words = clean(made.message)
                raise RemoteError(f"{self._line.address}: saving {key} was refused: {words}")
            return False
        AzureUpload(self._line, made.signed_upload_url, key).send(pieces, size)
        asked = {"key": key, "size_bytes": str(size), "version": _VERSION}
        if not self._call("FinalizeCacheEntryUpload", asked, _Outcome).ok:
            raise RemoteError(f"{self._line.address}: the service did not keep {key}")
        return True

    def _call(self, method: str, asked: object, form: type[_T]) -> _T:
        body = msgspec.json.encode(asked)
        url = f"{self._url}/{_SERVICE}/{method}"
        data = self._line.ask(method, "POST", url, headers=self._headers, body=body)
        return _decoded(data, form, self._line.address)


class ServiceV1:
    """Version 1, which self-hosted services speak."""

    def __init__(self, line: Line, *, url: str, token: str) -> None:
        self._line = line
        self._url = f"{url.rstrip('/')}/_apis/artifactcache"
        self._headers = {"Authorization": f"Bearer {token}", "Accept": _ACCEPT_V1}

    def find(self, prefix: str) -> Found | None:
        url = f"{self._url}/cache?keys={quote(prefix, safe='')}&version={_VERSION}"
        data = self._line.ask("looking up", "GET", url, headers=self._headers)
        if not data:
            return None
        answer = _decoded(data, _FoundV1, self._line.address)
        if not answer.cacheKey.startswith(prefix):
            return None
        return Found(answer.cacheKey, answer.archiveLocation)

    def save(self, key: str, size: int, pieces: Iterator[bytes]) -> bool:
        json = {**self._headers, "Content-Type": "application/json"}
        body = msgspec.json.encode({"key": key, "version": _VERSION, "cacheSize": size})
        try:
            data = self._line.ask(
                "reserving", "POST", f"{self._url}/caches", headers=json, body=body
            )
        except CacheServiceFailed as error:
            if error.status == 409:
                return False
            raise
        url = f"{self._url}/caches/{_decoded(data, _ReservedV1, self._line.address).cacheId}"
        start = 0
        for piece in pieces:
            ranged = f"bytes {start}-{start + len(piece) - 1}/*"
            headers = {
                **self._headers,
                "Content-Type": "application/octet-stream",
                "Content-Range": ranged,
            }
            self._line.ask("sending", "PATCH", url, headers=headers, body=piece)
            start += len(piece)
        self._line.ask(
            "committing", "POST", url, headers=json, body=msgspec.json.encode({"size": size})
        )
        return True


class AzureUpload:
    """A blob through a signed address (Azure's REST reference: Put Blob, Put Block, Put Block
    List). Only when its last request is done is there anything."""

    def __init__(self, line: Line, url: str, key: str) -> None:
        self._line = line
        self._url = url
        self._doing = f"sending {key}"

    def send(self, pieces: Iterator[bytes], size: int) -> None:
        first = next(pieces, b"")
        if len(first) == size:
            for _ in pieces:  # lets the source check what it gave
                pass
            self._put("", first, {"x-ms-blob-type": "BlockBlob"})
            return
        names = []
        for number, piece in enumerate(_with_first(first, pieces)):
            name = base64.b64encode(f"{number:08d}".encode()).decode()
            self._put(f"comp=block&blockid={quote(name, safe='')}", piece, {})
            names.append(name)
        listed = "".join(f"<Latest>{name}</Latest>" for name in names)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'
        self._put("comp=blocklist", body.encode(), {"Content-Type": "application/xml"})

    def _put(self, query: str, body: bytes, more: Mapping[str, str]) -> None:
        joint = "&" if "?" in self._url else "?"
        url = f"{self._url}{joint}{query}" if query else self._url
        headers = {"Content-Type": "application/octet-stream", **more}
        self._line.ask(self._doing, "PUT", url, headers=headers, body=body)


class _Download(msgspec.Struct):
    ok: bool = False
    signed_download_url: str = ""
    matched_key: str = ""


class _Upload(msgspec.Struct):
    ok: bool = False
    signed_upload_url: str = ""
    message: str = ""


class _Outcome(msgspec.Struct):
    ok: bool = False


class _FoundV1(msgspec.Struct):
    cacheKey: str = ""  # noqa: N815 - the service's own
    archiveLocation: str = ""  # noqa: N815


class _ReservedV1(msgspec.Struct):
    cacheId: int  # noqa: N815


def _with_first(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _decoded(data: bytes, form: type[_T], address: str) -> _T:
    try:
        return msgspec.json.decode(data, type=form)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise RemoteError(f"{address}: the service's answer makes no sense") from None
