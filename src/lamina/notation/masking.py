"""What stands in for credentials in addresses, wherever something is told or recorded."""

from __future__ import annotations

import re
from typing import Final

_MASK: Final = "xxxxx"
# Up to the last @ of the authority; that of NAME@sha256:… is none.
_USER: Final = re.compile(r"(?<=://)[^/?#\s\"\\]+(?=@(?!sha\d+:))")
_PARAMETER: Final = re.compile(
    r"([?&](?:[a-z0-9._-]*(?:token|signature|secret|password|credential)|sig|api[_-]?key)=)"
    r"[^&#\s\"'\\<>`]+",
    re.IGNORECASE,
)


def without_credentials(text: str) -> str:
    """The text without the users, passwords, tokens and signatures of the URLs in it."""
    if "://" not in text:
        return text
    if "@" in text:
        text = _USER.sub(_MASK, text)
    return _PARAMETER.sub(rf"\g<1>{_MASK}", text) if "=" in text else text
