"""Values of `--cache-from` and `--cache-to`."""

from __future__ import annotations

import pytest

from lamina.cli.cache_values import parse_caches
from lamina.control.request import CacheRequest
from lamina.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user/app:cache", [CacheRequest(type="registry", attributes={"ref": "user/app:cache"})]),
        (
            "a,b",
            [
                CacheRequest(type="registry", attributes={"ref": "a"}),
                CacheRequest(type="registry", attributes={"ref": "b"}),
            ],
        ),
        ("type=inline", [CacheRequest(type="inline")]),
        (
            "type=registry,ref=a,read-only",
            [CacheRequest(type="registry", attributes={"ref": "a", "read-only": "true"})],
        ),
        (
            'type=local,src=a,"mounts=x,y"',
            [CacheRequest(type="local", attributes={"src": "a", "mounts": "x,y"})],
        ),
    ],
)
def test_values_are_read_as_buildx_reads_them(text: str, expected: list[CacheRequest]) -> None:
    """A name alone is a cache in a registry; else a type with its keys."""
    assert list(parse_caches("cache_from", text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ref=a", "type is required"),
        ("type=regstry,ref=a", "unknown type"),
        ("type=registry,ref", "has no value"),
        ("a:1,mode=max", "write type=registry,ref=NAME"),
        ('type="x', "invalid value"),
    ],
)
def test_mistakes_are_told(text: str, message: str) -> None:
    """Each with the flag's name."""
    with pytest.raises(UsageError) as caught:
        parse_caches("cache_to", text)
    assert message in f"{caught.value.message} {caught.value.hint}"
    assert "--cache-to" in caught.value.message
