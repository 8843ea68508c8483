"""Logins are kept where Docker keeps them."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from lamina.errors import HostError, UserError
from lamina.registry.credential_helper import HelperFailed
from lamina.registry.credentials import Login, find_credential
from lamina.registry.login import remove_login, store_login

VAULT = """#!/bin/sh
# keeps what it is given, one file an address
folder="${0%/*}/kept"; mkdir -p "$folder"
name() { printf %s "$1" | tr -c 'a-z0-9.\\n' _; }
case "$1" in
store) text="$(cat)"; url="${text#*ServerURL\\": \\"}"; url="${url%%\\"*}"
       printf %s "$text" | sed 's/"ServerURL": "[^"]*", //' > "$folder/$(name "$url")" ;;
get) url="$(cat)"; cat "$folder/$(name "$url")" 2>/dev/null ||
       { echo "credentials not found in native keychain"; exit 1; } ;;
erase) url="$(cat)"; rm "$folder/$(name "$url")" ;;
esac
"""


def environment(tmp_path: Path, config: object = None, helper: str = "") -> dict[str, str]:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    if helper:
        program = tmp_path / "docker-credential-vault"
        program.write_text(helper)
        program.chmod(0o755)
    return {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}


def known(domain: str, environ: dict[str, str]) -> Login | None:
    found = find_credential(domain, "any", environ=environ).credential
    assert found is None or isinstance(found, Login)
    return found


def content(tmp_path: Path) -> dict[str, object]:
    loaded = json.loads((tmp_path / "config.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize("domain", ["reg.example:5000", "docker.io"])
def test_a_login_is_found_again_and_forgotten(tmp_path: Path, domain: str) -> None:
    """In a file that only the user may read, in a folder that need not be there before."""
    folder = tmp_path / "new" / "docker"
    environ = {"DOCKER_CONFIG": str(folder)}
    kept = store_login(domain, "alice", "a:b ü", environ)
    assert (kept.file, kept.helper) == (str(folder / "config.json"), None)
    assert stat.S_IMODE((folder / "config.json").stat().st_mode) == 0o600
    assert known(domain, environ) == Login(username="alice", password="a:b ü")
    assert known("else.example", environ) is None
    assert remove_login(domain, environ)
    assert known(domain, environ) is None
    assert not remove_login(domain, environ)


def test_docker_hub_has_dockers_own_key(tmp_path: Path) -> None:
    """Docker finds what Lamina writes."""
    store_login("docker.io", "alice", "secret", environment(tmp_path))
    assert list(content(tmp_path)["auths"]) == ["https://index.docker.io/v1/"]  # type: ignore[call-overload]


def test_everything_else_in_the_file_stays(tmp_path: Path) -> None:
    """Other registries, and settings that nobody here knows; a readable file becomes private."""
    other = {"auth": base64.b64encode(b"bob:b").decode()}
    config = {"auths": {"else.example": other}, "psFormat": "table", "proxies": {"default": {}}}
    environ = environment(tmp_path, config)
    store_login("reg.example", "alice", "secret", environ)
    assert remove_login("reg.example", environ)
    assert content(tmp_path) == config
    assert stat.S_IMODE((tmp_path / "config.json").stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """People keep config.json with their other settings."""
    real = tmp_path / "settings.json"
    real.write_text('{"psFormat": "table"}')
    (tmp_path / "config.json").symlink_to(real)
    store_login("reg.example", "alice", "secret", environment(tmp_path))
    assert (tmp_path / "config.json").is_symlink()
    assert json.loads(real.read_text())["psFormat"] == "table"
    assert "auths" in json.loads(real.read_text())


@pytest.mark.parametrize(
    "config", [{"credsStore": "vault"}, {"credHelpers": {"reg.example": "vault"}}]
)
def test_a_helper_keeps_the_password(tmp_path: Path, config: dict[str, object]) -> None:
    """It is not in the file, and is found and forgotten through the helper."""
    environ = environment(tmp_path, config, VAULT)
    assert store_login("reg.example", "alice", "hunter2", environ).helper == "vault"
    assert "hunter2" not in (tmp_path / "config.json").read_text()
    assert "auth" not in json.dumps(content(tmp_path)["auths"]).replace("auths", "")
    assert known("reg.example", environ) == Login(username="alice", password="hunter2")
    assert remove_login("reg.example", environ)
    assert known("reg.example", environ) is None
    assert not remove_login("reg.example", environ)


def test_a_helper_that_fails(tmp_path: Path) -> None:
    """Its name is told, and nothing that it was told or says; the file is as before."""
    environ = environment(tmp_path, {"credsStore": "vault"}, "#!/bin/sh\ncat; exit 3\n")
    with pytest.raises(
        HelperFailed, match="docker-credential-vault failed with exit code 3"
    ) as caught:
        store_login("reg.example", "alice", "hunter2", environ)
    assert "hunter2" not in str(caught.value)
    assert content(tmp_path) == {"credsStore": "vault"}


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": 3}'])
def test_a_broken_file_is_not_replaced(tmp_path: Path, text: str) -> None:
    """What the user wrote there may be all they have."""
    (tmp_path / "config.json").write_text(text)
    for act in (
        lambda: store_login("reg.example", "alice", "x", environment(tmp_path)),
        lambda: remove_login("reg.example", environment(tmp_path)),
    ):
        with pytest.raises(UserError, match=r"config\.json is not a valid config\.json"):
            act()
    assert (tmp_path / "config.json").read_text() == text


def test_no_place_for_it(tmp_path: Path) -> None:
    """Neither a home nor a folder, or one that cannot be made."""
    with pytest.raises(UserError, match="no place for credentials"):
        store_login("reg.example", "alice", "x", {})
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="file"):
        store_login("reg.example", "alice", "x", {"DOCKER_CONFIG": str(tmp_path / "file")})
