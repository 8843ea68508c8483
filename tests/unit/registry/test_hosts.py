"""Where registries are."""

from __future__ import annotations

import pytest

from lamina.registry.hosts import api_authority, credential_keys, host_of, is_loopback


@pytest.mark.parametrize(
    ("authority", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("LOCALHOST:5000", True),
        ("registry.localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.8.9.1", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("[fe80::1]:80", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com:5000", False),
        ("mylocalhost", False),
    ],
)
def test_loopback(authority: str, loopback: bool) -> None:
    """Only what cannot leave this machine is loopback."""
    assert is_loopback(authority) is loopback


def test_docker_hub_has_names_of_its_own() -> None:
    """Its API and its credentials are kept under other names than its domain."""
    assert api_authority("docker.io") == "registry-1.docker.io"
    assert api_authority("ghcr.io") == "ghcr.io"
    assert credential_keys("docker.io")[0] == "https://index.docker.io/v1/"
    assert credential_keys("localhost:5000")[0] == "localhost:5000"


def test_hosts_lose_their_port() -> None:
    """Brackets too."""
    assert host_of("a.b:5") == "a.b"
    assert host_of("[::1]:5") == "::1"
    assert host_of("a") == "a"
