from __future__ import annotations

import pytest

from lamina.errors import UsageError
from lamina.exporter.annotations import (
    Annotation,
    Place,
    annotations_of,
    parse_attribute,
    parse_flag,
    parse_flags,
)
from lamina.oci.platform import Platform

ARM = Platform(os="linux", architecture="arm64")
AMD = Platform(os="linux", architecture="amd64")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("annotation.a.b", Annotation(key="a.b", value="v")),
        ("annotation-manifest.k", Annotation(key="k", value="v")),
        ("annotation-index.k", Annotation(key="k", value="v", place=Place.INDEX)),
        (
            "annotation-manifest-descriptor[linux/arm64].k",
            Annotation(key="k", value="v", place=Place.MANIFEST_DESCRIPTOR, platform=ARM),
        ),
        ("annotation[linux/aarch64].k", Annotation(key="k", value="v", platform=ARM)),
        ("annotations.k", None),
        ("name", None),
    ],
)
def test_attributes(name: str, expected: Annotation | None) -> None:
    """Every form that buildx documents; anything else is another attribute."""
    assert parse_attribute(name, "v") == expected


def test_a_flag_without_a_type_is_the_manifests() -> None:
    """A colon in the value is none in the key."""
    assert parse_flag("k", "a:b") == (Annotation(key="k", value="a:b"),)


def test_a_flag_may_name_several_places() -> None:
    """Each becomes an annotation of its own."""
    assert parse_flags({"index,manifest[linux/arm64]:k": "v"}) == (
        Annotation(key="k", value="v", place=Place.INDEX),
        Annotation(key="k", value="v", platform=ARM),
    )


@pytest.mark.parametrize("key", ["indx:k", "Index:k", "manifest[]:k", "manifest[a/b/c/d]:k", ":k"])
def test_an_unknown_place_is_refused(key: str) -> None:
    """With what there is instead."""
    with pytest.raises(UsageError):
        parse_flag(key, "v")


def test_the_annotation_of_the_very_platform_wins() -> None:
    """Whatever the order on the command line."""
    both = (Annotation(key="k", value="arm", platform=ARM), Annotation(key="k", value="all"))
    assert annotations_of(both, Place.MANIFEST, ARM) == {"k": "arm"}
    assert annotations_of(both, Place.MANIFEST, AMD) == {"k": "all"}
    assert annotations_of(both, Place.INDEX) == {}
