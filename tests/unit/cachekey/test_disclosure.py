"""What an external cache says of a key."""

from __future__ import annotations

import pytest

from lamina.cachekey.difference import compare_parts
from lamina.cachekey.disclosure import disclosed
from lamina.cachekey.key import Part


@pytest.mark.parametrize(
    "part",
    [
        Part("argument:NPM_TOKEN", "s3cret"),
        Part("argument:password", "s3cret"),
        Part("env:API_KEY_FOR_TESTS", "s3cret"),
        Part("instruction", "ADD https://me:s3cret@host/f /f"),
        Part("url", "https://host/f?X-Amz-Signature=s3cret&a=b"),
    ],
)
def test_credentials_are_in_no_cache(part: Part) -> None:
    """And that they are not told does not look like a change; a change does."""
    told = disclosed(part)
    assert "s3cret" not in told.value
    assert compare_parts([told], [part]) == ()
    other = Part(part.name, part.value.replace("host", "other").replace("s3cret", "an0ther"))
    assert len(compare_parts([told], [other])) == 1


@pytest.mark.parametrize(
    "part",
    [Part("argument:VERSION", "1"), Part("env:PATH", "/bin"), Part("instruction", "RUN a@b")],
)
def test_what_is_no_credential_is_told(part: Part) -> None:
    """Reasons name the values that changed."""
    assert disclosed(part) == part
