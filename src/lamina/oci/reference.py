"""Image references, with Docker Hub's short names (distribution's reference grammar)."""

from __future__ import annotations

import re

import msgspec

from lamina.errors import UserError
from lamina.oci.digest import Digest, parse_digest

_DOMAIN_PART = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?\Z")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_LIKE_AN_ID = re.compile(r"[0-9a-f]{64}\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")

DOCKER_HUB = "docker.io"


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A fully spelled-out name: `docker.io` / `library/alpine` : `latest` @ digest."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def repository(self) -> str:
        return f"{self.domain}/{self.path}"

    @property
    def familiar(self) -> str:
        """The short form that people write."""
        name = self.repository if self.domain != DOCKER_HUB else self.path
        if self.domain == DOCKER_HUB and self.path.count("/") == 1:
            name = self.path.removeprefix("library/")
        tag = f":{self.tag}" if self.tag else ""
        return f"{name}{tag}{f'@{self.digest}' if self.digest else ''}"

    def with_default_tag(self) -> Reference:
        return self if self.tag or self.digest else msgspec.structs.replace(self, tag="latest")

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"


def parse_reference(text: str) -> Reference:
    """Text to reference; `alpine` is `docker.io/library/alpine`. No tag is added.

    Raises UserError.
    """
    name, at, digest = text.partition("@")
    parsed = None
    if at:
        try:
            parsed = parse_digest(digest)
        except UserError:
            raise _invalid(text) from None
    head, slash, tail = name.rpartition("/")
    last, colon, tag = tail.partition(":")
    if colon and not _TAG.match(tag):
        raise _invalid(text)
    name = f"{head}{slash}{last}"
    if _LIKE_AN_ID.match(name):
        raise _invalid(text)
    first, slash, rest = name.partition("/")
    if not slash or not (
        "." in first or ":" in first or first == "localhost" or first.lower() != first
    ):
        first, rest = DOCKER_HUB, name
    if first == "index.docker.io":
        first = DOCKER_HUB
    if first == DOCKER_HUB and "/" not in rest:
        rest = f"library/{rest}"
    if not _DOMAIN.match(first) or not _PATH.match(rest) or len(f"{first}/{rest}") > 255:
        raise _invalid(text)
    return Reference(domain=first, path=rest, tag=tag or None, digest=parsed)


def _invalid(text: str) -> UserError:
    hint = None
    if text.lower() != text:
        hint = "the name of an image must be in lower case"
    return UserError(f"invalid reference format: {text!r}", hint=hint)
