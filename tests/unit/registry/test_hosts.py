"""Where registries are."""

from __future__ import annotations

import pytest

from lamina.registry.hosts import (
    api_authority,
    credential_keys,
    host_of,
    is_loopback,
    resolve_address,
)


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


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("/v2/b", "https://r.example/v2/b"),
        ("https://other.example:1/x", "https://other.example:1/x"),
        ("//other.example/x", "https://other.example/x"),
        *((bad, "") for bad in ("http://[", "//[::1", "https://\u2100/", "https://h:99999/")),
        *((bad, "") for bad in ("https://h:x/", "ftp://h/", "file:///etc/passwd", "javascript:1")),
    ],
)
def test_what_a_server_gives_as_an_address_may_be_none(address: str, meant: str) -> None:
    """It is then no address, and no crash."""
    assert resolve_address("https://r.example/v2/a", address) == meant
