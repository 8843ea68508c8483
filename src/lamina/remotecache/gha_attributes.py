"""What the attributes of `type=gha` and the environment of a job say.

The names are those of Docker's reference, "GitHub Actions cache"; the variables are those that the
runner sets for actions, which a workflow's own steps only see when an action hands them on.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from collections.abc import Callable, Mapping

import msgspec

from lamina.errors import UsageError
from lamina.notation.boolean import parse_bool
from lamina.notation.sizes import parse_duration
from lamina.registry.hosts import resolve_address
from lamina.registry.transport import Transport
from lamina.remotecache.errors import NoCacheService
from lamina.remotecache.gha import GhaCache, GhaPlace
from lamina.remotecache.gha_line import Line
from lamina.remotecache.gha_protocol import CacheService, ServiceV1, ServiceV2
from lamina.remotecache.gha_rest import RestApi

ATTRIBUTES = frozenset(
    {"ghtoken", "repository", "scope", "timeout", "token", "url", "url_v2", "version"}
)
DEFAULT_SCOPE = "buildkit"
"""Docker's."""

_PATIENCE = 600.0  # seconds
_API = "https://api.github.com"
_BRANCH_LENGTH = 8
_CAN_WRITE = 2
_HINT = (
    "in a workflow, hand ACTIONS_RESULTS_URL and ACTIONS_RUNTIME_TOKEN on to the step, or"
    " write url_v2=… and token=…"
)


def parse(
    attributes: Mapping[str, str],
    *,
    environ: Mapping[str, str],
    sleep: Callable[[float], None] = time.sleep,
) -> GhaCache:
    """The cache that the attributes describe. Raises NoCacheService, UsageError; asks nobody."""
    token = attributes.get("token") or environ.get("ACTIONS_RUNTIME_TOKEN", "")
    url, version = _service(attributes, environ)
    if not url or not token:
        lacking = "token" if url else "address of the cache service"
        raise NoCacheService(f"type=gha: the {lacking} is missing", hint=_HINT)
    if not resolve_address("", url):
        raise UsageError(f"type=gha: not an address: {url!r}", hint=_HINT)
    scope = attributes.get("scope") or DEFAULT_SCOPE
    line = Line(
        Transport(environ),
        address=f"gha:{scope}",
        allowance=_patience(attributes),
        sleep=sleep,
    )
    service: CacheService
    if version == 1:
        service = ServiceV1(line, url=url, token=token)
    else:
        service = ServiceV2(line, url=url, token=token)
    place = GhaPlace(scope=scope, branches=branches_of(token))
    return GhaCache(place, service, line, rest=_rest(attributes, environ, line))


def branches_of(token: str) -> tuple[str, ...]:
    """Digests of the branches in a job's token (a JSON web token, whose claim `ac` lists them), the
    writable one first. One without a name where the token is of another kind.
    """
    try:
        body = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        access = msgspec.json.decode(claims["ac"], type=tuple[_Access, ...])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error, msgspec.MsgspecError):
        access = ()
    ordered = sorted(access, key=lambda each: not each.Permission & _CAN_WRITE)
    names = [each.Scope for each in ordered] or [""]
    return tuple(hashlib.sha256(name.encode()).hexdigest()[:_BRANCH_LENGTH] for name in names)


class _Access(msgspec.Struct):
    Scope: str
    Permission: int


def _service(attributes: Mapping[str, str], environ: Mapping[str, str]) -> tuple[str, int]:
    """The address and the version of the service."""
    asked = attributes.get("version", "")
    forced = environ.get("ACTIONS_CACHE_API_FORCE_VERSION", "").removeprefix("v")
    if asked not in ("", "1", "2"):
        raise UsageError(f"type=gha: unknown version {asked!r}", hint="version=1 or version=2")
    first = attributes.get("url") or environ.get("ACTIONS_CACHE_URL", "")
    second = attributes.get("url_v2") or environ.get("ACTIONS_RESULTS_URL", "")
    wants_second = parse_bool(environ.get("ACTIONS_CACHE_SERVICE_V2", "")) or not first
    if "url_v2" in attributes:
        wants_second = True
    elif "url" in attributes:
        wants_second = "results-receiver" in first
        second = first if wants_second else second
    version = asked or forced or ("2" if wants_second else "1")
    return (first, 1) if version == "1" else (second, 2)


def _patience(attributes: Mapping[str, str]) -> float:
    text = attributes.get("timeout")
    if text is None:
        return _PATIENCE
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return parse_duration(text) / 1e9
    except ValueError as error:
        raise UsageError(f"type=gha: timeout: {error}", hint="timeout=10m") from None


def _rest(attributes: Mapping[str, str], environ: Mapping[str, str], line: Line) -> RestApi | None:
    repository, token = attributes.get("repository", ""), attributes.get("ghtoken", "")
    if not token:
        return None
    repository = repository or environ.get("GITHUB_REPOSITORY", "")
    if repository.count("/") != 1:
        raise UsageError("type=gha: ghtoken needs a repository", hint="repository=OWNER/NAME")
    api = environ.get("GITHUB_API_URL") or _API
    return RestApi(line, url=api, repository=repository, token=token)
