"""The WWW-Authenticate header (RFC 9110, 11.3 and 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*(?P<scheme>{_TOKEN})(?=[\s,]|\Z)")
_PARAMETER = re.compile(
    rf"[\s,]*(?P<name>{_TOKEN})\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>[^\s,\"]*))"
)
_MAX_HEADER = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way to authorize. Scheme and names of parameters are in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Every challenge of a header; what cannot be read ends the list."""
    found: list[Challenge] = []
    at = 0
    header = header[:_MAX_HEADER]
    while match := _SCHEME.match(header, at):
        at = match.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, at):
            value = parameter["plain"]
            if value is None:
                value = re.sub(r"\\(.)", r"\1", parameter["quoted"])
            parameters[parameter["name"].lower()] = value
            at = parameter.end()
        found.append(Challenge(scheme=match["scheme"].lower(), parameters=parameters))
    return tuple(found)
