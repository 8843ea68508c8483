"""Single requests: who is trusted, and what a failure is called."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from lamina.errors import UserError
from lamina.registry.certificates import ssl_context
from lamina.registry.errors import Unreachable
from lamina.registry.transport import Transport


def test_certificates_are_verified() -> None:
    """Without a word in the environment the system's authorities decide."""
    context = ssl_context({})
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_bundle_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    """A wrong SSL_CERT_FILE is the user's to put right; nothing else is trusted in its place."""
    path = tmp_path / "bundle.pem"
    if content:
        path.write_text(content)
    with pytest.raises(UserError, match=r"bundle\.pem cannot be read") as caught:
        ssl_context({"SSL_CERT_FILE": str(path)})
    assert "SSL_CERT_FILE" in (caught.value.hint or "")


def test_a_proxy_of_an_unknown_kind_is_refused() -> None:
    """It is not left out silently: the request would go another way than it should."""
    transport = Transport({"HTTPS_PROXY": "socks5://me:secret@proxy.invalid:1"})
    with pytest.raises(UserError, match="'socks5' is not supported") as caught:
        transport.send("GET", "https://registry.invalid/", headers={})
    assert "secret" not in caught.value.message


def test_addresses_in_errors_have_no_secrets() -> None:
    """User, password, path and query of an address stay out."""
    url = "http://me:secret@registry.invalid/secret?secret"
    with pytest.raises(Unreachable) as caught:
        Transport({}).send("GET", url, headers={})
    assert caught.value.host == "registry.invalid"
    assert "secret" not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
