"""Credentials from the files of other tools."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from lamina.registry.credentials import (
    Credential,
    IdentityToken,
    Login,
    RegistryToken,
    find_credential,
)

ALICE = Login(username="alice", password="a:b c")


def encoded(login: Login) -> dict[str, str]:
    pair = f"{login.username}:{login.password}".encode()
    return {"auth": base64.b64encode(pair).decode()}


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def find(
    environ: dict[str, str], domain: str = "reg.example", path: str = "team/app"
) -> Credential | None:
    return find_credential(domain, path, environ=environ).credential


def helper(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_nothing_is_no_credential(tmp_path: Path) -> None:
    """Neither an empty home nor no home at all is a problem."""
    assert find({}) is None
    found = find_credential("a.b", "c", environ={"HOME": str(tmp_path)})
    assert found.credential is None
    assert found.problems == ()


@pytest.mark.parametrize(
    ("entry", "credential"),
    [
        (encoded(ALICE), ALICE),
        ({"username": "alice", "password": "a:b c"}, ALICE),
        ({"identitytoken": "t", **encoded(ALICE)}, IdentityToken(token="t")),
        ({"registrytoken": "r"}, RegistryToken(token="r")),
        ({}, None),
        ({"auth": "not base64!"}, None),
        ({"auth": base64.b64encode(b"no colon").decode()}, None),
    ],
)
def test_forms_of_an_entry(
    tmp_path: Path, entry: dict[str, str], credential: Credential | None
) -> None:
    """Docker writes passwords, identity tokens and registry tokens; nonsense is nothing."""
    write(tmp_path / "config.json", {"auths": {"reg.example": entry}})
    assert find({"DOCKER_CONFIG": str(tmp_path)}) == credential


@pytest.mark.parametrize(
    ("key", "domain", "known"),
    [
        ("reg.example", "reg.example", True),
        ("https://reg.example", "reg.example", True),
        ("https://reg.example/v1/", "reg.example", True),
        ("reg.example:5000", "reg.example", False),
        ("localhost:5000", "localhost:5000", True),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("docker.io", "docker.io", True),
        ("reg.example/team", "reg.example", True),
        ("reg.example/team/app", "reg.example", True),
        ("reg.example/other", "reg.example", False),
        ("evil.reg.example", "reg.example", False),
    ],
)
def test_keys(tmp_path: Path, key: str, domain: str, known: bool) -> None:
    """A registry goes by several names, and a namespace may have its own login."""
    write(tmp_path / "config.json", {"auths": {key: encoded(ALICE)}})
    assert (find({"DOCKER_CONFIG": str(tmp_path)}, domain) is not None) is known


def test_the_nearest_namespace_wins(tmp_path: Path) -> None:
    """The longest key that fits is used."""
    bob = Login(username="bob", password="b")
    auths = {"reg.example": encoded(ALICE), "reg.example/team": encoded(bob)}
    write(tmp_path / "config.json", {"auths": auths})
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    assert find(environ) == bob
    assert find(environ, path="other/app") == ALICE


def test_files_in_order(tmp_path: Path) -> None:
    """Docker's file is asked before those of the containers tools, each where it may be."""
    home = tmp_path / "home"
    containers = {"auths": {"reg.example": encoded(ALICE)}}
    write(home / ".config" / "containers" / "auth.json", containers)
    assert find({"HOME": str(home)}) == ALICE
    runtime = Login(username="runtime", password="r")
    write(
        tmp_path / "run" / "containers" / "auth.json", {"auths": {"reg.example": encoded(runtime)}}
    )
    environ = {"HOME": str(home), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    assert find(environ) == runtime
    file = Login(username="file", password="f")
    write(tmp_path / "my.json", {"auths": {"reg.example": encoded(file)}})
    environ["REGISTRY_AUTH_FILE"] = str(tmp_path / "my.json")
    assert find(environ) == file
    docker = Login(username="docker", password="d")
    write(home / ".docker" / "config.json", {"auths": {"reg.example": encoded(docker)}})
    assert find(environ) == docker
    write(tmp_path / "d" / "config.json", {"auths": {"else.example": encoded(docker)}})
    assert find({**environ, "DOCKER_CONFIG": str(tmp_path / "d")}) == file


def test_helpers_are_asked(tmp_path: Path) -> None:
    """By the protocol: `get`, the address on standard input, JSON on standard output."""
    helper(
        tmp_path / "bin",
        "vault",
        """read -r address
        [ "$1 $address" = "get reg.example" ] && echo '{"Username": "alice", "Secret": "a:b c"}' ||
        echo "credentials not found in native keychain; exit 1" """,
    )
    environ = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    for config in ({"credsStore": "vault"}, {"credHelpers": {"reg.example": "vault"}}):
        write(tmp_path / "config.json", config)
        assert find(environ) == ALICE
    write(tmp_path / "config.json", {"credHelpers": {"else.example": "vault"}})
    assert find(environ) is None


def test_a_helper_may_give_an_identity_token(tmp_path: Path) -> None:
    """The user name `<token>` says so."""
    helper(tmp_path / "bin", "v", """echo '{"Username": "<token>", "Secret": "t"}'""")
    write(tmp_path / "config.json", {"credsStore": "v"})
    environ = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    assert find(environ) == IdentityToken(token="t")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 3", "failed with exit code 3"),
        ("echo nonsense", "did not answer with the expected JSON"),
        (None, "No such file"),
    ],
)
def test_a_broken_helper_is_a_problem_and_no_error(
    tmp_path: Path, script: str | None, problem: str
) -> None:
    """Public images need no helper; what went wrong is kept for the one who is refused."""
    if script:
        helper(tmp_path / "bin", "v", script)
    write(tmp_path / "config.json", {"credsStore": "v", "auths": {"reg.example": encoded(ALICE)}})
    environ = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    found = find_credential("reg.example", "app", environ=environ)
    assert found.credential == ALICE
    assert problem in found.problems[0]
    assert "docker-credential-v" in found.problems[0]


def test_a_helper_that_finds_nothing_is_no_problem(tmp_path: Path) -> None:
    """Docker Desktop's helper is asked for every registry."""
    helper(tmp_path / "bin", "v", "echo credentials not found in native keychain; exit 1")
    write(tmp_path / "config.json", {"credsStore": "v"})
    environ = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    found = find_credential("reg.example", "app", environ=environ)
    assert (found.credential, found.problems) == (None, ())


@pytest.mark.parametrize("name", ["../evil", "/bin/sh", "a/b", ".hidden"])
def test_helpers_are_names_not_paths(tmp_path: Path, name: str) -> None:
    """A configuration file cannot name any program."""
    write(tmp_path / "config.json", {"credsStore": name})
    found = find_credential("reg.example", "app", environ={"DOCKER_CONFIG": str(tmp_path)})
    assert found.credential is None
    assert "not the name of a credential helper" in found.problems[0]


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": 3}', "\0"])
def test_a_broken_file_is_a_problem_and_no_error(tmp_path: Path, text: str) -> None:
    """The problem names the file and quotes nothing of it."""
    (tmp_path / "config.json").write_text(text)
    found = find_credential("reg.example", "app", environ={"DOCKER_CONFIG": str(tmp_path)})
    assert found.credential is None
    assert found.problems == (f"{tmp_path}/config.json is not valid JSON of the expected form",)


def test_secrets_are_not_shown() -> None:
    """A `repr` in a log gives nothing away."""
    for credential in (
        Login(username="alice", password="hunter2"),
        IdentityToken(token="hunter2"),
        RegistryToken(token="hunter2"),
    ):
        assert "hunter2" not in repr(credential)
