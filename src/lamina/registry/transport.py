"""HTTP as the registry client needs it: streams, proxies, certificates, time-outs.

No retries and no redirects here: who asks knows better what may be repeated, and with which
secrets.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lamina.errors import UserError
from lamina.registry.errors import Unreachable
from lamina.registry.proxy import proxy_for

if TYPE_CHECKING:
    import ssl

    import urllib3

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
_USER_AGENT = "lamina"
_CONNECTIONS = 8
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Transport:
    """Sends single requests. `environ` names proxies and certificates. Safe for several threads."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        self._environ = environ
        self._timeouts = (connect_timeout, read_timeout)
        self._lock = threading.Lock()
        self._pools: dict[tuple[str | None, bool], urllib3.PoolManager] = {}

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """The answer, whose body is still to be read; release or close it.

        Raises Unreachable, with a cause without secrets.
        """
        import urllib3

        pool = self._pool(url)
        every = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers}
        try:
            return pool.request(
                method,
                url,
                headers=every,
                body=body,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
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
    ) -> tuple[int, bytes]:
        """The status and the whole body. A body above `limit` bytes is cut."""
        response = self.send(method, url, headers=headers, body=body)
        return response.status, read_body(response, url=url, limit=limit)

    def close(self) -> None:
        """Closes the connections that wait to be used again."""
        for pool in self._pools.values():
            pool.clear()

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = proxy_for(url, self._environ)
        with_tls = url.startswith("https:") or (proxy or "").startswith("https:")
        with self._lock:
            pool = self._pools.get((proxy, with_tls))
            if pool is None:
                pool = self._pools[(proxy, with_tls)] = self._new_pool(proxy, with_tls=with_tls)
        return pool

    def _new_pool(self, proxy: str | None, *, with_tls: bool) -> urllib3.PoolManager:
        import urllib3

        connect, read = self._timeouts
        timeout = urllib3.Timeout(connect=connect, read=read)
        context = ssl_context(self._environ) if with_tls else None
        if proxy is None:
            return urllib3.PoolManager(maxsize=_CONNECTIONS, timeout=timeout, ssl_context=context)
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
            timeout=timeout,
            ssl_context=context,
        )


def ssl_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Verifies by SSL_CERT_FILE and SSL_CERT_DIR, else by the system's certificates."""
    import ssl

    file, folder = environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")
    try:
        if file or folder:
            return ssl.create_default_context(cafile=file or None, capath=folder or None)
        paths = ssl.get_default_verify_paths()
        if paths.cafile or (paths.capath and os.listdir(paths.capath)):
            return ssl.create_default_context()
        # A Python that was built elsewhere does not know where this system keeps them.
        bundle = next((path for path in _BUNDLES if os.path.exists(path)), None)
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise UserError(
            f"the certificates of {file or folder or 'the system'} cannot be read: {error}",
            hint="check SSL_CERT_FILE and SSL_CERT_DIR",
        ) from error


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
                hint = "point SSL_CERT_FILE to a bundle that has the registry's authority"
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
