"""Certificates of single registries."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from lamina.errors import UserError
from lamina.registry.certificates import certificate_folder, ssl_context


def test_the_first_folder_counts(tmp_path: Path) -> None:
    """The user's before the system's, the containers tools' before Docker's; a port is part of the
    name."""
    home, system = tmp_path / "home", tmp_path / "etc"
    environ = {"HOME": str(home)}

    def found(authority: str) -> str | None:
        return certificate_folder(authority, environ, system=str(system))

    assert found("reg.example:5000") is None
    for parent in (
        system / "docker",
        home / ".config" / "docker",
        system / "containers",
        home / ".config" / "containers",
    ):
        folder = parent / "certs.d" / "reg.example:5000"
        folder.mkdir(parents=True)
        assert found("reg.example:5000") == str(folder)
    assert found("reg.example") is None


def test_a_certificate_without_its_key(tmp_path: Path) -> None:
    """The likely mistake is named: an authority's file ends in .crt."""
    (tmp_path / "ca.cert").write_text("x")
    with pytest.raises(UserError, match="no key beside this certificate") as caught:
        ssl_context({}, folder=str(tmp_path))
    assert ".crt is an authority" in (caught.value.hint or "")


@pytest.mark.parametrize("names", [("ca.crt",), ("me.cert", "me.key")])
def test_what_is_no_certificate_is_named(tmp_path: Path, names: tuple[str, ...]) -> None:
    """With the file's path, and nothing of what is in it."""
    for name in names:
        (tmp_path / name).write_text("hunter2")
    with pytest.raises(UserError, match=rf"{names[0]} cannot be read") as caught:
        ssl_context({}, folder=str(tmp_path))
    assert "hunter2" not in caught.value.message


def test_insecure_means_anybody() -> None:
    """And only where it is asked for."""
    assert ssl_context({}, insecure=True).verify_mode is ssl.CERT_NONE
    assert ssl_context({}).verify_mode is ssl.CERT_REQUIRED
