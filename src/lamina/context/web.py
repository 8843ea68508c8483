"""One file from a web server: ADD of a URL, a context or a Dockerfile behind a URL.

The digest is taken while the file streams to disk. What a server said last time (`Validators`)
spares the transfer if the file is still the same: RFC 9110, sections 13 (conditional requests) and
15.4 (redirects).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import msgspec

from lamina.errors import HostError, RemoteError, UserError
from lamina.oci.digest import Digest, digest_from
from lamina.trace.recorder import Progress

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_MOST_REDIRECTS: Final = 10
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_ATTEMPTS: Final = 3
_PAUSE_SECONDS: Final = 0.3
_CONNECT_SECONDS: Final = 30.0
_READ_SECONDS: Final = 120.0
_PIECE: Final = 1 << 18
_SECOND_NS: Final = 1_000_000_000
_LONGEST_NAME: Final = 255


class DigestMismatch(UserError):
    """A downloaded file is not the one that `--checksum` names."""


class Validators(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says that tells one version of a file from another; "" for what it does not."""

    etag: str = ""
    last_modified: str = ""


class Downloaded(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it came: 0600, dated as the server dates it, else with the time 0."""

    path: str
    digest: Digest
    size: int
    mtime_ns: int
    validators: Validators


class Unchanged(msgspec.Struct, frozen=True):
    """The file is still the one that the validators are of."""


def download(
    url: str,
    directory: str,
    *,
    environ: Mapping[str, str],
    filename: str = "",
    known: Validators | None = None,
    checksum: Digest | None = None,
    progress: Progress | None = None,
) -> Downloaded | Unchanged:
    """Downloads the file to `directory`.

    It is called `filename`, else as the server or the URL says. Proxies come from `environ`
    (HTTP_PROXY, HTTPS_PROXY, NO_PROXY, also in lower case). Raises RemoteError, DigestMismatch,
    UserError for a malformed URL, and HostError where the disk refuses.
    """
    fetching = _Fetching(url, environ, known or Validators())
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with fetching.answer() as response:
                if response is None:
                    return Unchanged()
                name = safe_filename(filename or _offered_name(response, url))
                done = _save(response, os.path.join(directory, name), progress)
            break
        except RemoteError as error:
            if not error.retryable or attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_SECONDS * 4 ** (attempt - 1))
    if checksum is not None and done.digest != checksum:
        os.unlink(done.path)
        raise DigestMismatch(f"digest mismatch for {url}: {done.digest} (expected: {checksum})")
    return done


def safe_filename(name: str) -> str:
    """A name that stays in its directory."""
    name = name.replace("\0", "").rpartition("/")[2]
    if name in ("", ".", ".."):
        return "download"
    return os.fsdecode(os.fsencode(name)[:_LONGEST_NAME])


class _Fetching:
    """A request with its redirects. Credentials in the URL go to the URL's own host alone."""

    def __init__(self, url: str, environ: Mapping[str, str], known: Validators) -> None:
        self._url = url
        self._environ = environ
        self._known = known
        self._origin = _split(url)

    @contextlib.contextmanager
    def answer(self) -> Iterator[BaseHTTPResponse | None]:
        """The response whose body is the file; None if the file is unchanged."""
        from urllib3.exceptions import HTTPError

        url = self._url
        try:
            for _ in range(_MOST_REDIRECTS + 1):
                with self._request(url) as response:
                    location = response.headers.get("Location")
                    if response.status not in _REDIRECTS or not location:
                        yield self._checked(response)
                        return
                    url = urljoin(url, location)
        except HTTPError as error:
            reason = _root_cause(error)
            raise RemoteError(f"{self._url}: {reason}", retryable=True) from error
        raise RemoteError(f"{self._url}: stopped after {_MOST_REDIRECTS} redirects")

    @contextlib.contextmanager
    def _request(self, url: str) -> Iterator[BaseHTTPResponse]:
        import urllib3

        parts = _split(url)
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
        proxy = _proxy(parts, self._environ)
        made: dict[str, Any] = {"timeout": timeout, "retries": False}
        manager = urllib3.ProxyManager(proxy, **made) if proxy else urllib3.PoolManager(**made)
        with manager as pool:
            response = pool.request(
                "GET",
                parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl(),
                headers=self._headers(parts),
                preload_content=False,
                decode_content=False,
                redirect=False,
            )
            try:
                yield response
            finally:
                response.close()

    def _headers(self, parts: SplitResult) -> dict[str, str]:
        from urllib3.util import make_headers

        headers = {"User-Agent": "lamina", "Accept-Encoding": "identity"}
        same_host = (parts.scheme, parts.hostname, parts.port) == (
            self._origin.scheme,
            self._origin.hostname,
            self._origin.port,
        )
        if same_host and self._origin.username is not None:
            user = unquote(self._origin.username) + ":" + unquote(self._origin.password or "")
            headers.update(make_headers(basic_auth=user))
        if self._known.etag:
            headers["If-None-Match"] = self._known.etag
        elif self._known.last_modified:
            headers["If-Modified-Since"] = self._known.last_modified
        return headers

    def _checked(self, response: BaseHTTPResponse) -> BaseHTTPResponse | None:
        known = self._known
        if response.status == 304 and (known.etag or known.last_modified):
            return None
        if not 200 <= response.status < 300:
            raise RemoteError(
                f"{self._url}: invalid response status {response.status}",
                retryable=response.status >= 500 or response.status == 429,
            )
        # Some servers have tags, but do not look at those of a request.
        if known.etag and response.headers.get("ETag") == known.etag:
            return None
        return response


def _save(response: BaseHTTPResponse, path: str, progress: Progress | None) -> Downloaded:
    hasher = hashlib.sha256()
    size = 0
    total = int(response.headers.get("Content-Length") or 0)
    modified = response.headers.get("Last-Modified", "")
    mtime_ns = _timestamp(modified)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0) as file:
            for piece in response.stream(_PIECE, decode_content=False):
                hasher.update(piece)
                _write(file.fileno(), piece)
                size += len(piece)
                if progress is not None:
                    progress(size, total)
            os.fchmod(file.fileno(), 0o600)
            os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}") from error
    etag = response.headers.get("ETag", "")
    return Downloaded(
        path=path,
        digest=digest_from(hasher.digest()),
        size=size,
        mtime_ns=mtime_ns,
        validators=Validators(etag=etag, last_modified=modified),
    )


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _timestamp(date: str) -> int:
    try:
        return max(0, int(parsedate_to_datetime(date).timestamp()) * _SECOND_NS)
    except (ValueError, OverflowError):
        return 0


def _offered_name(response: BaseHTTPResponse, url: str) -> str:
    from email.message import Message

    message = Message()
    message["Content-Disposition"] = response.headers.get("Content-Disposition", "")
    offered = message.get_filename("")
    if offered and not offered.endswith("/"):
        return offered
    return unquote(_split(url).path.rpartition("/")[2])


def _split(url: str) -> SplitResult:
    """Raises UserError for what is no URL of a web server."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise UserError(f"{url}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"{url} is not the URL of a web server")
    return parts


def _proxy(parts: SplitResult, environ: Mapping[str, str]) -> str | None:
    def variable(name: str) -> str:
        return environ.get(name.lower()) or environ.get(name.upper()) or ""

    proxy = variable(f"{parts.scheme}_proxy") or variable("all_proxy")
    if not proxy or _goes_direct(parts.hostname or "", variable("no_proxy")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _goes_direct(host: str, exceptions: str) -> bool:
    """Whether NO_PROXY has the host, or a domain that it is in."""
    names = [name.strip().partition(":")[0].lstrip(".").lower() for name in exceptions.split(",")]
    return any(name == "*" or name == host or host.endswith(f".{name}") for name in names if name)


def _root_cause(error: BaseException) -> str:
    """The words of the innermost error, without urllib3's objects in them."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _root_cause(reason)
    if error.__cause__ is not None:
        return _root_cause(error.__cause__)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).rpartition(">: ")[2] or type(error).__name__
