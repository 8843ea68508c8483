"""The WWW-Authenticate header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.registry.challenge import parse_challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a b"', [("basic", {"realm": "a b"})]),
        (
            'Bearer realm="https://a/token",service="reg",scope="repository:x/y:pull,push"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://a/token",
                        "service": "reg",
                        "scope": "repository:x/y:pull,push",
                    },
                )
            ],
        ),
        ("BEARER Realm=plain , Service = x", [("bearer", {"realm": "plain", "service": "x"})]),
        (r'Basic realm="a \"b\" \\c"', [("basic", {"realm": 'a "b" \\c'})]),
        (
            'Basic realm="x", Bearer realm="y",service="z"',
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y", "service": "z"})],
        ),
        ('Negotiate, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Bearer realm=""', [("bearer", {"realm": ""})]),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    """Schemes and names in any case, quoted and plain values, several challenges in one header."""
    found = [(each.scheme, dict(each.parameters)) for each in parse_challenges(header)]
    assert found == expected


@given(st.text(alphabet='Basic realm="x",\\ =\t', max_size=200) | st.text(max_size=100))
def test_any_header_ends(header: str) -> None:
    """No header crashes or hangs the parser."""
    assert len(parse_challenges(header)) <= len(header)
