"""Paths of instructions: relative ones made absolute, by the rules of Go's `path` package.

For Windows images a drive letter C: is dropped and backslashes are slashes until the configuration
is written.
"""

from __future__ import annotations

import posixpath
import re

from lamina.errors import UserError

_DRIVE = re.compile(r"([A-Za-z]):")


def join(*parts: str) -> str:
    """The parts as one clean path: no `.`, `..` or doubled slash."""
    path = posixpath.normpath("/".join(part for part in parts if part) or ".")
    return "/" + path.lstrip("/") if path.startswith("/") else path


def normalize(parent: str, path: str, *, os: str, keep_slash: bool = False) -> str:
    """`path` seen from `parent`; an absolute one stays as it was written.

    With `keep_slash` an end that says "directory" stays.
    """
    path, parent = _plain(path, os), _plain(parent, os) or "/"
    original = path
    if not parent.startswith("/"):
        parent = join("/", parent)
    if not path:
        path = parent
    if not path.startswith("/"):
        path = join(parent, path)
    if keep_slash:
        if original.endswith("/") and not path.endswith("/"):
            path += "/"
        elif original.endswith("/.") and not path.endswith("/."):
            path += "." if path == "/" else "/."
    return path


def native(path: str, *, os: str) -> str:
    """The path as the operating system of the image writes it."""
    return path.replace("/", "\\") if os == "windows" else path


def contains_wildcards(path: str) -> bool:
    """Whether `*`, `?` or `[` stands in it unescaped."""
    return bool(re.search(r"(?<!\\)(?:\\\\)*[*?\[]", path))


def _plain(path: str, os: str) -> str:
    if os != "windows":
        return path
    path = path.replace("\\", "/")
    if found := _DRIVE.match(path):
        if found[1].lower() != "c":
            raise UserError(f"The specified path is not on the system drive (C:): {path}")
        path = path[2:]
    return path
