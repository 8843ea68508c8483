"""One request to a registry: its scheme, authorization and redirects, and what a status means."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from lamina.registry.auth import Authorizer, Scope
from lamina.registry.challenge import parse_challenges
from lamina.registry.errors import ServerFailed, Unreachable
from lamina.registry.failure import MAX_ERROR, failure_of
from lamina.registry.hosts import Endpoint, api_authority, is_loopback
from lamina.registry.transport import Transport, read_body, unreachable

if TYPE_CHECKING:
    import urllib3

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`method` on `/v2/<scope.path>/<tail>` of `domain`. `name` is what messages call the thing."""

    domain: str
    scope: Scope
    tail: str
    name: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)


class Answer:
    """A successful answer, whose body is still to be read. Close it, or read it to its end."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str) -> None:
        self._response = response
        self._url = url

    @property
    def status(self) -> int:
        return self._response.status

    def header(self, name: str) -> str:
        """Empty if there is none."""
        return self._response.headers.get(name, "")

    @property
    def length(self) -> int | None:
        """Content-Length in bytes, if it is known."""
        text = self.header("Content-Length")
        return int(text) if text.isascii() and text.isdigit() else None

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none only at the end. Raises Unreachable if the connection breaks."""
        from urllib3.exceptions import HTTPError

        try:
            return self._response.read(size)
        except HTTPError as error:
            raise unreachable(self._url, error) from None

    def read_all(self, limit: int) -> bytes:
        """The body, cut after `limit` + 1 bytes. Raises Unreachable."""
        return read_body(self._response, url=self._url, limit=limit + 1)

    def close(self) -> None:
        """What was not read is dropped, with the connection."""
        self._response.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RegistryClient:
    """Talks to registries. Safe for several threads.

    `environ` tells of proxies, certificates and credentials; `sleep` and `clock` are in seconds.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        transport: Transport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.sleep = sleep
        self._transport = transport or Transport(environ)
        self._authorizer = Authorizer(self._transport, environ=environ, clock=clock)
        self._endpoints: dict[str, Endpoint] = {}
        self._answered: set[str] = set()
        self._lock = threading.Lock()

    def ask(self, request: Request) -> Answer:
        """Sends a request once, and once more for each refusal that another token may change.

        Raises NotFound, Unauthorized, TooManyRequests, ServerFailed, Unreachable.
        """
        endpoint = self._endpoint(request.domain)
        url = f"{endpoint.url}/v2/{request.scope.path}/{request.tail}"
        authorization = self._authorizer.header(endpoint, request.scope)
        for _ in range(3):
            response = self._send(request, url, authorization)
            if response.status != 401:
                break
            challenges = parse_challenges(response.headers.get("WWW-Authenticate", ""))
            read_body(response, url=url, limit=MAX_ERROR)
            authorization = self._authorizer.answer(
                challenges, endpoint, request.scope, refused=authorization
            )
            if authorization is None:
                break
        if response.status == 401:
            raise self._authorizer.unauthorized(endpoint, request.scope, name=request.name)
        response, url = self._follow(request, response, url, authorization)
        if response.status >= 300:
            raise failure_of(
                response,
                name=request.name,
                registry=request.domain,
                url=url,
                redirected=origin_of(url) != origin_of(endpoint.url),
            )
        return Answer(response, url)

    def has_answered(self, domain: str) -> bool:
        """Whether the registry ever sent anything. If not, there is no use in being patient."""
        return domain in self._answered

    def close(self) -> None:
        """Closes idle connections."""
        self._transport.close()

    def _send(
        self, request: Request, url: str, authorization: str | None
    ) -> urllib3.BaseHTTPResponse:
        headers = dict(request.headers)
        if authorization is not None:
            headers["Authorization"] = authorization
        response = self._transport.send(request.method, url, headers=headers)
        self._answered.add(request.domain)
        return response

    def _follow(
        self,
        request: Request,
        response: urllib3.BaseHTTPResponse,
        url: str,
        authorization: str | None,
    ) -> tuple[urllib3.BaseHTTPResponse, str]:
        """Where redirects lead: to object stores, mostly. Credentials are for the registry only."""
        registry = origin_of(url)
        for _ in range(_MAX_REDIRECTS):
            if response.status not in _REDIRECTS:
                return response, url
            read_body(response, url=url, limit=MAX_ERROR)
            target = urljoin(url, response.headers.get("Location", ""))
            parts = urlsplit(target)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ServerFailed(
                    f"{request.name}: {request.domain} redirects to nowhere", retryable=False
                )
            if parts.scheme == "http" and url.startswith("https:"):
                raise ServerFailed(
                    f"{request.name}: {request.domain} redirects to {parts.hostname} without TLS",
                    retryable=False,
                )
            url = target
            own = authorization if origin_of(url) == registry else None
            response = self._send(request, url, own)
        raise ServerFailed(f"{request.name}: too many redirects", retryable=False)

    def _endpoint(self, domain: str) -> Endpoint:
        with self._lock:
            endpoint = self._endpoints.get(domain)
            if endpoint is None:
                endpoint = self._endpoints[domain] = self._find_endpoint(domain)
        return endpoint

    def _find_endpoint(self, domain: str) -> Endpoint:
        """HTTPS; on loopback plain HTTP, unless the server turns out to want TLS.

        The question carries no credentials and does not leave the machine.
        """
        authority = api_authority(domain)
        secure = Endpoint(domain=domain, scheme="https", authority=authority)
        if not is_loopback(authority) or authority.endswith(":443"):
            return secure
        plain = Endpoint(domain=domain, scheme="http", authority=authority)
        try:
            status, _ = self._transport.send_small(
                "GET", f"{plain.url}/v2/", headers={}, limit=MAX_ERROR
            )
        except Unreachable as error:
            return secure if error.connected else plain
        self._answered.add(domain)
        return secure if status == 400 else plain


def origin_of(url: str) -> tuple[str, str]:
    """Scheme and `host[:port]`: what secrets belong to."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
