"""Credentials in addresses."""

from __future__ import annotations

import pytest

from lamina.notation.masking import without_credentials


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("see https://me:pa55@host/x?y=1", "see https://xxxxx@host/x?y=1"),
        ("https://me:pa@55@host/x", "https://xxxxx@host/x"),
        ("https://host/x?sig=abc&b=1", "https://host/x?sig=xxxxx&b=1"),
        ("https://host/x?X-Amz-Security-Token=a%2Fb", "https://host/x?X-Amz-Security-Token=xxxxx"),
        ('{"a":"https://h/?token=abc","b":"c"}', '{"a":"https://h/?token=xxxxx","b":"c"}'),
        ("docker-image://app@sha256:00", "docker-image://app@sha256:00"),
        ("https://host/me@home", "https://host/me@home"),
        ("https://host/?design=1", "https://host/?design=1"),
    ],
)
def test_an_address_is_told_without_credentials(text: str, told: str) -> None:
    """Nothing else of a text changes."""
    assert without_credentials(text) == told
