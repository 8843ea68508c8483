"""Annotations of manifests and indexes, as `--annotation` and the outputs' attributes write them.

As in buildx: `--annotation [TYPE[PLATFORM][,…]:]KEY=VALUE`, and attributes
`annotation[-TYPE][[PLATFORM]].KEY`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping

import msgspec

from lamina.errors import UsageError, UserError
from lamina.oci.platform import Platform, normalized, parse_platform


class Place(enum.Enum):
    """Which document an annotation is written into: `…-descriptor` is what points at it."""

    MANIFEST = "manifest"
    MANIFEST_DESCRIPTOR = "manifest-descriptor"
    INDEX = "index"
    INDEX_DESCRIPTOR = "index-descriptor"


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """One annotation; `platform` None is every platform's."""

    key: str
    value: str
    place: Place = Place.MANIFEST
    platform: Platform | None = None


_ATTRIBUTE = re.compile(
    r"annotation(?:-(?P<place>[a-z-]+))?(?:\[(?P<platform>[A-Za-z0-9_/-]+)\])?\.(?P<key>\S+)\Z"
)
_PLACE = re.compile(r"(?P<place>[a-z-]+)(?:\[(?P<platform>[A-Za-z0-9_/-]+)\])?\Z")


def parse_attribute(name: str, value: str) -> Annotation | None:
    """`annotation-index.KEY`; None if `name` is no such attribute. Raises UsageError."""
    found = _ATTRIBUTE.match(name)
    if found is None:
        return None
    return _annotation(found["place"], found["platform"], found["key"], value)


def parse_flag(key: str, value: str) -> tuple[Annotation, ...]:
    """The part of `--annotation` before `=`, and the one after it. Raises UsageError."""
    places, colon, name = key.partition(":")
    if not colon:
        return (_annotation(None, None, key, value),)
    made = []
    for place in places.split(","):
        found = _PLACE.match(place)
        if found is None:
            raise UsageError(
                f"invalid annotation type {place!r}",
                hint="write TYPE:KEY=VALUE, such as index:org.opencontainers.image.title=Name",
            )
        made.append(_annotation(found["place"], found["platform"], name, value))
    return tuple(made)


def parse_flags(annotations: Mapping[str, str]) -> tuple[Annotation, ...]:
    """All of them, as `BuildRequest.annotations` holds them. Raises UsageError."""
    return tuple(one for key, value in annotations.items() for one in parse_flag(key, value))


def annotations_of(
    annotations: Iterable[Annotation], place: Place, platform: Platform | None = None
) -> dict[str, str]:
    """Those of one document; the ones for its very platform win over the ones for all."""
    chosen = [one for one in annotations if one.place is place]
    if platform is not None:
        exact = normalized(platform)
        chosen = [one for one in chosen if one.platform in (None, exact)]
        chosen.sort(key=lambda one: one.platform is not None)
    return {one.key: one.value for one in chosen}


def _annotation(place: str | None, platform: str | None, key: str, value: str) -> Annotation:
    known = [kind.value for kind in Place]
    if place is not None and place not in known:
        raise UsageError(f"unknown annotation type {place!r}", hint=f"there are {', '.join(known)}")
    parsed = None
    if platform is not None:
        try:
            parsed = normalized(
                parse_platform(platform, host=Platform(os="linux", architecture="amd64"))
            )
        except UserError as error:
            raise UsageError(error.message, hint=error.hint) from None
    return Annotation(
        key=key, value=value, place=Place(place) if place else Place.MANIFEST, platform=parsed
    )
