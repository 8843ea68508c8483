"""Image references."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import UserError
from lamina.oci.reference import parse_reference

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("alpine", "docker.io/library/alpine", "alpine"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("team/app", "docker.io/team/app", "team/app"),
        ("docker.io/alpine", "docker.io/library/alpine", "alpine"),
        ("index.docker.io/library/alpine", "docker.io/library/alpine", "alpine"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x"),
        ("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("MyHost/app", "MyHost/app", "MyHost/app"),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}", f"app@{DIGEST}"),
        (f"app:1@{DIGEST}", f"docker.io/library/app:1@{DIGEST}", f"app:1@{DIGEST}"),
        ("a__b/c-d.e--f", "docker.io/a__b/c-d.e--f", "a__b/c-d.e--f"),
    ],
)
def test_names_are_spelled_out(text: str, full: str, familiar: str) -> None:
    """Short names get Docker Hub's domain; both forms mean the same."""
    reference = parse_reference(text)
    assert str(reference) == full
    assert reference.familiar == familiar
    assert parse_reference(full) == parse_reference(familiar) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":tag",
        "app:",
        "app:-x",
        "app:" + "x" * 129,
        "app@sha256:123",
        "app@",
        "a//b",
        "/app",
        "app/",
        "-app",
        "a___b",
        "https://host/app",
        "app name",
        "../app",
        "host:port/app",
        "x" * 256,
        "ab" * 32,
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    """The grammar has no room for anything else, a bare image ID included."""
    with pytest.raises(UserError, match="invalid reference format"):
        parse_reference(text)


def test_capitals_are_explained() -> None:
    """The most frequent mistake gets a hint."""
    with pytest.raises(UserError) as caught:
        parse_reference("App/Name")
    assert "lower case" in (caught.value.hint or "")


def test_the_default_tag_is_only_for_names_without_one() -> None:
    """`latest` is added where there is neither a tag nor a digest."""
    assert parse_reference("a").with_default_tag().tag == "latest"
    assert parse_reference("a:b").with_default_tag().tag == "b"
    assert parse_reference(f"a@{DIGEST}").with_default_tag().tag is None


@given(st.text(max_size=40))
def test_every_text_is_a_reference_or_an_error(text: str) -> None:
    """Nothing crashes, and what is accepted is stable."""
    try:
        reference = parse_reference(text)
    except UserError:
        return
    assert parse_reference(str(reference)) == reference
