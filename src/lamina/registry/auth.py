"""Authorization at a registry: anonymous, basic, and bearer tokens (distribution's token spec).

    us → registry   GET …                             401, WWW-Authenticate: Bearer realm=…
    us → realm      GET ?service&scope, any login     {"token": …, "expires_in": 300}
    us → registry   GET …, Authorization: Bearer …    200

With an identity token the second line is a POST with grant_type=refresh_token (OAuth 2).
Tokens are kept until they expire, one for every repository and kind of access.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import assert_never
from urllib.parse import urlencode, urlsplit

import msgspec

from lamina.registry.challenge import Challenge
from lamina.registry.credentials import (
    Credential,
    Found,
    IdentityToken,
    Login,
    RegistryToken,
)
from lamina.registry.errors import ServerFailed, Unauthorized
from lamina.registry.hosts import Endpoint, is_loopback, resolve_address
from lamina.registry.transport import Transport

_CLIENT_ID = "lamina"
_DEFAULT_LIFE = 60.0
_MARGIN = 5.0
_MAX_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is asked for: `repository:library/alpine:pull`, and to pull from `lenders` as well.

    No `path` stands for the registry itself.
    """

    path: str
    actions: tuple[str, ...] = ("pull",)
    lenders: tuple[str, ...] = ()

    def texts(self, demanded: str) -> tuple[str, ...]:
        """As token servers read it, one a repository, together with what the registry demands."""
        wanted: dict[str, dict[str, None]] = {}
        if self.path:
            wanted[f"repository:{self.path}"] = dict.fromkeys(self.actions)
        for lender in self.lenders:
            wanted.setdefault(f"repository:{lender}", {})["pull"] = None
        for text in demanded.split():
            resource, _, actions = text.rpartition(":")
            wanted.setdefault(resource, {}).update(dict.fromkeys(actions.split(",")))
        return tuple(f"{resource}:{','.join(actions)}" for resource, actions in wanted.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    """The value of an Authorization header, and until when it is good (by the given clock)."""

    header: str = field(repr=False)
    until: float


class _TokenAnswer(msgspec.Struct, frozen=True):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None


class Authorizer:
    """Gives Authorization headers. Safe for several threads, of which one asks for all."""

    def __init__(
        self,
        transport: Transport,
        *,
        find: Callable[[str, str], Found],
        clock: Callable[[], float],
    ) -> None:
        """`find` tells the credentials for a domain and a path. `clock` gives seconds and never
        goes back."""
        self._transport = transport
        self._find = find
        self._clock = clock
        self._lock = threading.Lock()
        self._grants: dict[tuple[str, Scope], _Grant] = {}
        self._found: dict[tuple[str, str], Found] = {}

    def header(self, endpoint: Endpoint, scope: Scope) -> str | None:
        """The header that worked before, if there is one."""
        grant = self._grants.get((endpoint.domain, scope))
        return grant.header if grant and grant.until > self._clock() else None

    def answer(
        self,
        challenges: tuple[Challenge, ...],
        endpoint: Endpoint,
        scope: Scope,
        *,
        refused: str | None,
    ) -> str | None:
        """A header that answers a 401, None if there is nothing left to try.

        `refused` is the header that was sent. Raises Unauthorized, ServerFailed, Unreachable.
        """
        with self._lock:
            known = self.header(endpoint, scope)
            if known is not None and known != refused:
                return known
            grant = self._grant(challenges, endpoint, scope)
            if grant is None or grant.header == refused:
                return None
            self._grants[(endpoint.domain, scope)] = grant
            return grant.header

    def unauthorized(self, endpoint: Endpoint, scope: Scope, *, name: str) -> Unauthorized:
        """The error for a registry that goes on to say no."""
        found = self._found.get((endpoint.domain, scope.path))
        if found is None or found.credential is None:
            case = "to push" if "push" in scope.actions else "if the image is private"
            hint = (
                f"{case}, log in: lamina login {endpoint.domain}"
                " (Lamina reads Docker's config.json)"
            )
        else:
            hint = (
                f"the credentials for {endpoint.domain} do not give access to this repository;"
                f" for others: lamina login {endpoint.domain}"
            )
        if found is not None and found.problems:
            hint += f"; {'; '.join(found.problems)}"
        return Unauthorized(
            f"{name}: {endpoint.domain} denies access: the repository does not exist,"
            " or needs another login",
            registry=endpoint.domain,
            hint=hint,
        )

    def _grant(
        self, challenges: tuple[Challenge, ...], endpoint: Endpoint, scope: Scope
    ) -> _Grant | None:
        credential = self._credential(endpoint, scope)
        if isinstance(credential, RegistryToken):
            return _Grant(header=f"Bearer {credential.token}", until=float("inf"))
        for challenge in challenges:
            if challenge.scheme == "bearer":
                return self._token(challenge, credential, endpoint, scope)
        for challenge in challenges:
            if challenge.scheme == "basic" and isinstance(credential, Login):
                return _Grant(header=_basic(credential), until=float("inf"))
        return None

    def _credential(self, endpoint: Endpoint, scope: Scope) -> Credential | None:
        key = (endpoint.domain, scope.path)
        if key not in self._found:
            self._found[key] = self._find(endpoint.domain, scope.path)
        return self._found[key].credential

    def _token(
        self,
        challenge: Challenge,
        credential: Login | IdentityToken | None,
        endpoint: Endpoint,
        scope: Scope,
    ) -> _Grant:
        realm = _checked_realm(challenge.parameters.get("realm", ""), endpoint)
        asked = {"service": challenge.parameters.get("service", "")}
        scopes = scope.texts(challenge.parameters.get("scope", ""))
        now = self._clock()
        match credential:
            case None:
                status, data = self._get(realm, endpoint, asked, scopes, login=None)
            case Login():
                asked["account"] = credential.username
                status, data = self._get(realm, endpoint, asked, scopes, login=credential)
            case IdentityToken():
                asked |= {"grant_type": "refresh_token", "client_id": _CLIENT_ID}
                asked |= {"refresh_token": credential.token, "scope": " ".join(scopes)}
                status, data = self._post(realm, endpoint, asked)
            case _:
                assert_never(credential)
        if status in (400, 401, 403) and credential is not None:
            raise Unauthorized(
                f"{endpoint.domain} does not accept the credentials",
                registry=endpoint.domain,
                hint=f"log in again: lamina login {endpoint.domain}",
            )
        if status in (401, 403):
            raise self.unauthorized(
                endpoint, scope, name=f"{endpoint.domain}/{scope.path}".rstrip("/")
            )
        return _grant_of(status, data, now=now, host=str(urlsplit(realm).hostname))

    def _get(
        self,
        realm: str,
        endpoint: Endpoint,
        asked: Mapping[str, str],
        scopes: tuple[str, ...],
        *,
        login: Login | None,
    ) -> tuple[int, bytes]:
        pairs = [pair for pair in asked.items() if pair[1]]
        query = urlencode([*pairs, *(("scope", text) for text in scopes)])
        return self._transport.send_small(
            "GET",
            f"{realm}{'&' if '?' in realm else '?'}{query}",
            headers={"Authorization": _basic(login)} if login else {},
            limit=_MAX_ANSWER,
            insecure=endpoint.excuses(realm),
        )

    def _post(self, realm: str, endpoint: Endpoint, asked: Mapping[str, str]) -> tuple[int, bytes]:
        return self._transport.send_small(
            "POST",
            realm,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode({key: value for key, value in asked.items() if value}).encode(),
            limit=_MAX_ANSWER,
            insecure=endpoint.excuses(realm),
        )


def _checked_realm(realm: str, endpoint: Endpoint) -> str:
    """The token server's address. A registry in TLS must not send credentials into the clear."""
    if not resolve_address("", realm):
        raise ServerFailed(
            f"{endpoint.domain} names no valid address of its token server", retryable=False
        )
    parts = urlsplit(realm)
    clear = parts.scheme == "http" and not is_loopback(parts.netloc)
    if clear and endpoint.scheme == "https" and not endpoint.excuses(realm):
        raise ServerFailed(
            f"{endpoint.domain} names a token server without TLS, {parts.hostname}",
            retryable=False,
        )
    return realm.partition("#")[0]


def _grant_of(status: int, data: bytes, *, now: float, host: str) -> _Grant:
    if status != 200:
        raise ServerFailed(
            f"the token server {host} answers with status {status}",
            retryable=status >= 500 or status == 429,
        )
    try:
        answer = msgspec.json.decode(data, type=_TokenAnswer)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise ServerFailed(
            f"the token server {host} sends no valid JSON", retryable=False
        ) from None
    token = answer.token or answer.access_token
    if not token or not token.isprintable() or not token.isascii():
        raise ServerFailed(f"the token server {host} sends no token", retryable=False)
    life = max(answer.expires_in or _DEFAULT_LIFE, _DEFAULT_LIFE)
    return _Grant(header=f"Bearer {token}", until=now + life - _MARGIN)


def _basic(login: Login) -> str:
    pair = f"{login.username}:{login.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
