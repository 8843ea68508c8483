"""Where the store is (XDG Base Directory Specification)."""

from __future__ import annotations

import os
from collections.abc import Mapping


def default_root(environ: Mapping[str, str], *, uid: int) -> str:
    """`$LAMINA_ROOT`, else /var/lib/lamina for root and `$XDG_DATA_HOME/lamina` for others."""
    if root := environ.get("LAMINA_ROOT"):
        return root
    if uid == 0:
        return "/var/lib/lamina"
    # a relative $XDG_DATA_HOME is to be ignored, says the specification
    data = environ.get("XDG_DATA_HOME", "")
    if not data.startswith("/"):
        data = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".local", "share")
    return os.path.join(data, "lamina")
