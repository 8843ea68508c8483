"""What the attributes of all object stores have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from lamina.errors import UsageError

DEFAULT_NAME = "buildkit"
"""Docker's."""

_CONNECT = timedelta(seconds=5)
_SILENCE = timedelta(minutes=2)
_LONGEST = timedelta(hours=6)
_RETRIES_FOR = timedelta(minutes=2)


def document_names(attributes: Mapping[str, str]) -> tuple[str, ...]:
    """`name=a;b`: a cache is written under all of them and read from the first."""
    names = tuple(filter(None, attributes.get("name", "").split(";")))
    return names or (DEFAULT_NAME,)


def positive(kind: str, attributes: Mapping[str, str], name: str, *, default: int) -> int:
    text = attributes.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 1000:
        raise UsageError(f"type={kind}: {name} must be a positive number, not {text!r}")
    return int(text)


def connection(endpoint: str, *, attempts: int) -> dict[str, Any]:
    """How obstore speaks to a store: unencrypted only where the address itself says so."""
    return {
        "client_options": {
            "allow_http": endpoint.startswith("http:"),
            "connect_timeout": _CONNECT,
            "read_timeout": _SILENCE,
            "timeout": _LONGEST,  # of a whole transfer, however large
            "user_agent": "lamina",
        },
        "retry_config": {"max_retries": attempts - 1, "retry_timeout": _RETRIES_FOR},
    }
