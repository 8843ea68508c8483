"""What others may see of a key: an external cache is read by more people than may know a token."""

from __future__ import annotations

import re
from typing import Final

from lamina.cachekey.key import Part
from lamina.notation.masking import without_credentials
from lamina.oci.digest import digest_of

_VARIABLE: Final = re.compile(
    r"(?:argument|env):(?:.*_)?(?:api_?key|auth|credentials?|key|passwo?r?d|secret|token)(?:_.*)?",
    re.IGNORECASE,
)


def disclosed(part: Part) -> Part:
    """The part without the credentials in its URLs; of a variable that is called like a secret,
    the digest of its value.
    """
    if _VARIABLE.fullmatch(part.name):
        return Part(part.name, digest_of(part.value.encode()))
    value = without_credentials(part.value)
    return part if value == part.value else Part(part.name, value)
