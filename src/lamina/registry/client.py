"""One request to a registry: its scheme, authorization and redirects, and what a status means."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from lamina.content.errors import NotFound
from lamina.errors import RemoteError
from lamina.oci.reference import Reference
from lamina.registry.auth import Authorizer
from lamina.registry.challenge import parse_challenges
from lamina.registry.credentials import Found, find_credential
from lamina.registry.errors import ServerFailed, Unreachable
from lamina.registry.failure import MAX_ERROR, failure_of
from lamina.registry.hosts import (
    Endpoint,
    Place,
    api_authority,
    is_loopback,
    resolve_address,
)
from lamina.registry.message import Answer, Request
from lamina.registry.registries import Registries, load_registries
from lamina.registry.retry import Backoff
from lamina.registry.transfers import TRANSFERS, Transfers
from lamina.registry.transport import Transport, read_body

if TYPE_CHECKING:
    import urllib3

_Result = TypeVar("_Result")
_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


class RegistryClient:
    """Talks to registries. Safe for several threads."""

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        transport: Transport | None = None,
        insecure: Collection[str] = (),
        find: Callable[[str, str], Found] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random.random,
        transfers: int = TRANSFERS,
    ) -> None:
        """`environ` tells of proxies, certificates, mirrors and credentials (`find` takes the place
        of the last). `insecure` are domains that need no verified TLS, beside those that
        registries.conf names. `sleep` and `clock` are in seconds, `random` gives numbers from 0 to
        1. `transfers` is how many blobs move at once.
        """
        self.sleep = sleep
        self.transfers = Transfers(transfers)
        self._random = random
        self._environ = environ
        self._insecure = frozenset(insecure)
        self._transport = transport or Transport(environ)
        self._authorizer = Authorizer(
            self._transport,
            find=find or (lambda domain, path: find_credential(domain, path, environ=environ)),
            clock=clock,
        )
        self._registries: Registries | None = None
        self._endpoints: dict[tuple[str, bool], Endpoint] = {}
        self._answered: set[str] = set()
        self._failed: set[str] = set()
        self._lock = threading.Lock()

    def place(self, reference: Reference) -> Place:
        """Where to push to. Raises UserError for what registries.conf blocks."""
        return self._trusted(self._rules().to_write(reference))

    def at_first(self, reference: Reference, work: Callable[[Place], _Result]) -> _Result:
        """What `work` gives at the first place to read from that can do it: mirrors, then the
        registry itself. A mirror that could not is asked last from then on. Raises what `work`
        raises at the last place, and UserError for what registries.conf blocks."""
        places = [self._trusted(place) for place in self._rules().to_read(reference)]
        own = places.pop()
        problems = []
        for place in sorted(places, key=lambda place: place.domain in self._failed):
            try:
                return work(place)
            except RemoteError as error:
                if not isinstance(error, NotFound):
                    self._failed.add(place.domain)
                problems.append(f"the mirror {place.domain} could not help: {error.message}")
        try:
            return work(own)
        except RemoteError as error:
            if problems:
                error.hint = "; ".join([*([error.hint] if error.hint else []), *problems])
            raise

    def ask(self, request: Request) -> Answer:
        """Sends a request once, and once more for each refusal that another token may change.

        Raises NotFound, Unauthorized, TooManyRequests, ServerFailed, Unreachable.
        """
        endpoint = self._endpoint(request.place)
        url = self._url(request, endpoint)
        if origin_of(url) != origin_of(endpoint.url):
            return self._ask_elsewhere(request, endpoint, url)
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
        return self._answer(request, endpoint, response, url)

    def insist(self, request: Request) -> Answer:
        """As `ask`, again after failures that may pass."""
        return self._patiently(request, lambda answer: answer)

    def insist_whole(self, request: Request, *, limit: int) -> tuple[Answer, bytes]:
        """As `insist`, with the body, cut after `limit` + 1 bytes. It is asked for again where it
        breaks off."""

        def whole(answer: Answer) -> tuple[Answer, bytes]:
            with answer:
                return answer, answer.read_all(limit)

        return self._patiently(request, whole)

    def _patiently(self, request: Request, take: Callable[[Answer], _Result]) -> _Result:
        backoff = self.backoff()
        while True:
            try:
                return take(self.ask(request))
            except RemoteError as error:
                if not self.has_answered(request.domain):
                    raise
                backoff.wait(error)

    def backoff(self) -> Backoff:
        """For one piece of work."""
        return Backoff(sleep=self.sleep, random=self._random)

    def has_answered(self, domain: str) -> bool:
        """Whether the registry ever sent anything. If not, there is no use in being patient."""
        return domain in self._answered

    def close(self) -> None:
        """Closes idle connections."""
        self._transport.close()

    def _url(self, request: Request, endpoint: Endpoint) -> str:
        below = f"{request.place.path}/" if request.place.path else ""
        url = resolve_address(f"{endpoint.url}/v2/{below}", request.tail)
        return _safe_target(url, before=endpoint.url, request=request)

    def _ask_elsewhere(self, request: Request, endpoint: Endpoint, url: str) -> Answer:
        """An address at another host, which carries its own proof of who we are."""
        response = self._send(request, url, None)
        return self._answer(request, endpoint, *self._follow(request, response, url, None))

    def _answer(
        self, request: Request, endpoint: Endpoint, response: urllib3.BaseHTTPResponse, url: str
    ) -> Answer:
        if response.status < 300:
            return Answer(response, url)
        raise failure_of(
            response,
            name=request.name,
            registry=request.domain,
            url=url,
            redirected=origin_of(url) != origin_of(endpoint.url),
        )

    def _send(
        self, request: Request, url: str, authorization: str | None
    ) -> urllib3.BaseHTTPResponse:
        headers = dict(request.headers)
        if authorization is not None:
            headers["Authorization"] = authorization
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        response = self._transport.send(
            request.method,
            url,
            headers=headers,
            body=request.body,
            insecure=self._endpoint(request.place).excuses(url),
        )
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
            target = resolve_address(url, response.headers.get("Location", ""))
            url = _safe_target(target, before=url, request=request)
            own = authorization if origin_of(url) == registry else None
            response = self._send(request, url, own)
        raise ServerFailed(f"{request.name}: too many redirects", retryable=False)

    def _rules(self) -> Registries:
        with self._lock:
            if self._registries is None:
                self._registries = load_registries(self._environ)
            return self._registries

    def _trusted(self, place: Place) -> Place:
        return replace(place, insecure=True) if place.domain in self._insecure else place

    def _endpoint(self, place: Place) -> Endpoint:
        key = (place.domain, place.insecure)
        with self._lock:
            endpoint = self._endpoints.get(key)
        if endpoint is None:
            with self.transfers.turn(key):
                endpoint = self._endpoints.get(key) or self._find_endpoint(place)
                self._endpoints[key] = endpoint
        return endpoint

    def _find_endpoint(self, place: Place) -> Endpoint:
        """HTTPS; on loopback plain HTTP, unless the server turns out to want TLS; where the user
        asks for no security, plain HTTP if the server turns out not to know TLS.

        The question carries no credentials.
        """
        domain, authority = place.domain, api_authority(place.domain)
        secure = Endpoint(
            domain=domain, scheme="https", authority=authority, insecure=place.insecure
        )
        plain = replace(secure, scheme="http")
        if is_loopback(authority) and not authority.endswith(":443"):
            return self._probe(plain, secure)
        return self._probe(secure, plain) if place.insecure else secure

    def _probe(self, first: Endpoint, second: Endpoint) -> Endpoint:
        try:
            status, _ = self._transport.send_small(
                "GET", f"{first.url}/v2/", headers={}, limit=MAX_ERROR, insecure=first.insecure
            )
        except Unreachable as error:
            return second if error.connected or first.scheme == "https" else first
        self._answered.add(first.domain)
        return second if status == 400 and first.scheme == "http" else first


def _safe_target(target: str, *, before: str, request: Request) -> str:
    """Where the registry sends us. Raises ServerFailed for nonsense, and for the end of TLS."""
    if not target:
        raise ServerFailed(
            f"{request.name}: {request.domain} redirects to nowhere", retryable=False
        )
    parts = urlsplit(target)
    clear = parts.scheme == "http" and before.startswith("https:")
    if clear and not request.place.insecure:
        raise ServerFailed(
            f"{request.name}: {request.domain} redirects to {parts.hostname} without TLS",
            retryable=False,
        )
    return target


def origin_of(url: str) -> tuple[str, str]:
    """Scheme and `host[:port]`: what secrets belong to."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
