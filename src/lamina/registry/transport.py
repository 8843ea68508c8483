"""HTTP as the registry client needs it: streams, proxies, certificates, time-outs.

No retries and no redirects here: who asks knows better what may be repeated, and with which
secrets.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

from lamina.errors import UserError
from lamina.registry.certificates import certificate_folder, ssl_context
from lamina.registry.errors import Unreachable
from lamina.registry.hosts import resolve_address
from lamina.registry.proxy import proxy_for

if TYPE_CHECKING:
    import ssl

    import urllib3

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
COMMIT_TIMEOUT = 600.0
_USER_AGENT = "lamina"
_CONNECTIONS = 8
_BLOCK = 256 << 10


class Transport:
    """Sends single requests. `environ` names proxies and certificates. Safe for several threads."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        commit_timeout: float = COMMIT_TIMEOUT,
    ) -> None:
        """`commit_timeout` is how long a registry may think about what it was sent."""
        self._environ = environ
        self._timeouts = (connect_timeout, read_timeout, commit_timeout)
        self._lock = threading.Lock()
        self._pools: dict[tuple[str | None, bool, str | None, bool], urllib3.PoolManager] = {}

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes | memoryview] | None = None,
        insecure: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """The answer, whose body is still to be read; release or close it.

        A `body` in pieces needs its Content-Length among the headers. `insecure` believes any
        certificate. Raises Unreachable, with a cause without secrets.
        """
        import urllib3

        if not resolve_address("", url):
            cause = "its address is not valid"
            message = f"a server cannot be reached: {cause}"
            raise Unreachable(message, host="", cause=cause, retryable=False)
        pool = self._pool(url, insecure=insecure)
        every = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers}
        try:
            return pool.request(
                method,
                url,
                headers=every,
                body=cast("Iterable[bytes] | None", body),  # sockets take views, too
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=self._timeout(sends=bool(body)),
            )
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(url, error) from None

    def send_small(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        limit: int,
        insecure: bool = False,
    ) -> tuple[int, bytes]:
        """The status and the whole body. A body above `limit` bytes is cut."""
        response = self.send(method, url, headers=headers, body=body, insecure=insecure)
        return response.status, read_body(response, url=url, limit=limit)

    def close(self) -> None:
        """Closes the connections that wait to be used again."""
        for pool in self._pools.values():
            pool.clear()

    def _timeout(self, *, sends: bool) -> urllib3.Timeout:
        """For sending, urllib3 takes the limit on connecting; and a registry that has got a large
        blob may verify it before it answers."""
        import urllib3

        connect, read, commit = self._timeouts
        if sends:
            return urllib3.Timeout(connect=read, read=commit)
        return urllib3.Timeout(connect=connect, read=read)

    def _pool(self, url: str, *, insecure: bool) -> urllib3.PoolManager:
        proxy = proxy_for(url, self._environ)
        with_tls = url.startswith("https:") or (proxy or "").startswith("https:")
        folder = certificate_folder(urlsplit(url).netloc, self._environ) if with_tls else None
        key = (proxy, with_tls, folder, insecure)
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                context = None
                if with_tls:
                    context = ssl_context(self._environ, folder=folder, insecure=insecure)
                pool = self._pools[key] = _new_pool(proxy, context, insecure=insecure)
        return pool


def _new_pool(
    proxy: str | None, context: ssl.SSLContext | None, *, insecure: bool
) -> urllib3.PoolManager:
    import urllib3

    if insecure:  # said by the user, and not to be repeated on their terminal at every request
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    if proxy is None:
        return urllib3.PoolManager(maxsize=_CONNECTIONS, blocksize=_BLOCK, ssl_context=context)
    parts = urlsplit(proxy)
    if parts.scheme not in ("http", "https"):
        raise UserError(f"a proxy of the kind {parts.scheme!r} is not supported")
    login = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = urllib3.make_headers(proxy_basic_auth=pair)
    return urllib3.ProxyManager(
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        proxy_headers=login,
        proxy_ssl_context=context if parts.scheme == "https" else None,
        maxsize=_CONNECTIONS,
        blocksize=_BLOCK,
        ssl_context=context,
    )


def read_body(response: urllib3.BaseHTTPResponse, *, url: str, limit: int) -> bytes:
    """The body, not more than `limit` bytes of it. Raises Unreachable if the connection breaks."""
    import urllib3

    try:
        data = bytearray()
        while len(data) < limit and (more := response.read(min(limit - len(data), 1 << 16))):
            data += more
        if len(data) < limit:
            response.release_conn()
        else:
            response.close()
    except urllib3.exceptions.HTTPError as error:
        response.close()
        raise unreachable(url, error) from None
    return bytes(data)


def unreachable(url: str, error: Exception) -> Unreachable:
    """What a failure of urllib3 means, said without the path and the query of `url`."""
    import urllib3.exceptions as failures

    host = urlsplit(url).netloc.rpartition("@")[2]
    hint, retryable = None, True
    connected = isinstance(
        error, failures.ProtocolError | failures.ReadTimeoutError | failures.SSLError
    )
    if isinstance(error, failures.ProxyError):
        error, host = error.original_error, f"{host} through a proxy"
    match error:
        case failures.NameResolutionError():
            cause = "its name cannot be resolved"
        case failures.NewConnectionError():  # before the time-out, whose kind it is in urllib3
            cause = _innermost(error)
        case failures.ConnectTimeoutError():
            cause = "no connection within the time limit"
        case failures.ReadTimeoutError():
            cause = "no answer within the time limit"
        case failures.SSLError():
            cause, retryable = f"TLS: {_innermost(error)}", False
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                hint = (
                    "point SSL_CERT_FILE to a bundle that has the registry's authority, or put"
                    f" that into /etc/docker/certs.d/{host}/ca.crt"
                )
        case failures.ProtocolError():
            cause = f"the connection broke ({_innermost(error)})"
        case failures.LocationValueError():
            cause, retryable = "its address is not valid", False
        case _:
            cause = _innermost(error)
    message = f"{host} cannot be reached: {cause}"
    return Unreachable(
        message, host=host, cause=cause, retryable=retryable, connected=connected, hint=hint
    )


def _innermost(error: BaseException) -> str:
    """The words of the operating system or of OpenSSL, without urllib3's around them."""
    while True:
        inner = error.__cause__ or error.__context__
        if inner is None:
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        if inner is None:
            break
        error = inner
    if isinstance(error, OSError):
        import ssl

        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        if isinstance(error, ssl.SSLError) and error.reason:
            return error.reason.lower().replace("_", " ")
        return error.strerror or str(error)
    return str(error)[:200] or type(error).__name__
