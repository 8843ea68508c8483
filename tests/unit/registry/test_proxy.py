"""Proxies by the environment."""

from __future__ import annotations

import pytest

from lamina.registry.proxy import proxy_for

BOTH = {"HTTP_PROXY": "http://one:1", "https_proxy": "two:2"}


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://a.example/x", {}, None),
        ("http://a.example/x", BOTH, "http://one:1"),
        ("https://a.example/x", BOTH, "http://two:2"),
        ("https://a.example/x", {"ALL_PROXY": "http://all:3"}, "http://all:3"),
        ("https://a.example/x", {"HTTP_PROXY": "http://one:1"}, None),
        ("http://localhost:5000/", BOTH, None),
        ("http://127.0.0.1/", BOTH, None),
        ("http://[::1]:5000/", BOTH, None),
    ],
)
def test_the_scheme_chooses(url: str, environ: dict[str, str], proxy: str | None) -> None:
    """In either case of the name; loopback is always direct."""
    assert proxy_for(url, environ) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("*", "https://a.example/", True),
        ("a.example", "https://a.example/", True),
        ("A.Example", "https://a.example/", True),
        ("example", "https://a.example/", True),
        (".example", "https://a.example/", True),
        ("*.example", "https://a.example/", True),
        (".a.example", "https://a.example/", False),
        ("b.example, a.example", "https://a.example/", True),
        ("xample", "https://a.example/", False),
        ("a.example:443", "https://a.example/", True),
        ("a.example:444", "https://a.example/", False),
        ("a.example:5000", "https://a.example:5000/", True),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.1.2.3", "https://10.1.2.3/", True),
        ("10.1.2.3:80", "https://10.1.2.3/", False),
        ("3", "https://10.1.2.3/", False),
        ("fd00::/8", "https://[fd00::5]/", True),
        ("", "https://a.example/", False),
        (",,", "https://a.example/", False),
    ],
)
def test_no_proxy(no_proxy: str, url: str, direct: bool) -> None:
    """Names with their subdomains, addresses, networks and ports are excluded."""
    proxy = proxy_for(url, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": no_proxy})
    assert (proxy is None) is direct
