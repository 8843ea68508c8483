"""Digests as values."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import UserError
from lamina.oci.digest import digest_from, digest_of, encoded, parse_digest


@given(st.binary())
def test_a_digest_is_read_back_as_itself(data: bytes) -> None:
    """All ways to make the digest of the same bytes agree."""
    digest = digest_of(data)
    assert parse_digest(digest) == digest
    assert digest_from(hashlib.sha256(data).digest()) == digest
    assert encoded(digest) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 64 + "\n",
        "sha512:" + "0" * 128,
        "sha256:../../" + "0" * 58,
        "0" * 64,
    ],
)
def test_nothing_else_is_a_digest(text: str) -> None:
    """Only sha256 in lower case is accepted, so a digest is always a safe file name."""
    with pytest.raises(UserError, match="not a sha256 digest"):
        parse_digest(text)
