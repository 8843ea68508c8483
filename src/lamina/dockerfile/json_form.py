"""The exec form of an instruction: a JSON array of strings (RFC 8259)."""

from __future__ import annotations

import json
import re

from lamina.dockerfile.problems import DockerfileSyntaxError
from lamina.notation.gostrings import SPACES

_SURROGATE = re.compile("[\ud800-\udfff]")


class NotStringsError(DockerfileSyntaxError):
    """The text is a JSON array, but something in it is no string."""


def parse_json_strings(text: str) -> tuple[str, ...] | None:
    """The strings of the array that `text` is; None if `text` is no JSON array at all.

    Raises NotStringsError for an array with anything but strings in it.
    """
    text = text.lstrip(SPACES)
    if not text.startswith("["):
        return None
    try:
        # Numbers are never looked at, so they need no conversion, which has limits.
        values = json.loads(text, parse_int=len, parse_float=len, parse_constant=_reject)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, str) for value in values):
        raise NotStringsError(
            "when using JSON array syntax, arrays must be comprised of strings only"
        )
    return tuple(_SURROGATE.sub("\ufffd", value) for value in values)


def _reject(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
