"""Who the user is at a registry: Docker's config.json and the containers tools' auth.json.

Looked at in this order; the first that knows the registry wins:

    $DOCKER_CONFIG/config.json, else ~/.docker/config.json    (docker login)
    $REGISTRY_AUTH_FILE, else $XDG_RUNTIME_DIR/containers/auth.json,
    else ~/.config/containers/auth.json                       (podman login, skopeo login)

In each: `credHelpers` of the registry, then `credsStore`, then `auths`.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from lamina.registry.credential_helper import HelperFailed, call_helper
from lamina.registry.hosts import credential_keys

_MAX_FILE = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user and a password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityToken:
    """What a token server takes in place of a password (OAuth 2 refresh token)."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryToken:
    """A bearer token for the registry itself."""

    token: str = field(repr=False)


Credential = Login | IdentityToken | RegistryToken


class _Auth(msgspec.Struct, frozen=True):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identity_token: str | None = msgspec.field(default=None, name="identitytoken")
    registry_token: str | None = msgspec.field(default=None, name="registrytoken")


class _File(msgspec.Struct, frozen=True):
    auths: dict[str, _Auth] | None = None
    creds_store: str | None = msgspec.field(default=None, name="credsStore")
    cred_helpers: dict[str, str] | None = msgspec.field(default=None, name="credHelpers")


class _Answer(msgspec.Struct, frozen=True, rename="pascal"):
    """Of a credential helper."""

    username: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The credential, if there is one, and what went wrong while looking for it."""

    credential: Credential | None
    problems: tuple[str, ...] = ()


def find_credential(domain: str, path: str, *, environ: Mapping[str, str]) -> Found:
    """Looks for credentials for the repository `domain`/`path`.

    A file or a helper that is broken is a problem to tell of, not an error: most images can be
    had without a login.
    """
    problems: list[str] = []
    for file_path in _paths(environ):
        config = _load(file_path, problems)
        if config is None:
            continue
        credential = _from_helper(config, domain, environ, problems) or _from_auths(
            config, domain, path
        )
        if credential is not None:
            return Found(credential=credential, problems=tuple(problems))
    return Found(credential=None, problems=tuple(problems))


def docker_config(environ: Mapping[str, str]) -> str | None:
    """Where Docker keeps its configuration; None without a home."""
    if folder := environ.get("DOCKER_CONFIG"):
        return os.path.join(folder, "config.json")
    home = environ.get("HOME")
    return os.path.join(home, ".docker", "config.json") if home else None


def _paths(environ: Mapping[str, str]) -> Iterator[str]:
    home = environ.get("HOME", "")
    if docker := docker_config(environ):
        yield docker
    if file := environ.get("REGISTRY_AUTH_FILE"):
        yield file
        return
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield os.path.join(runtime, "containers", "auth.json")
    if config := environ.get("XDG_CONFIG_HOME") or (home and os.path.join(home, ".config")):
        yield os.path.join(config, "containers", "auth.json")


def _load(path: str, problems: list[str]) -> _File | None:
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(_MAX_FILE), type=_File)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        # The decoder's words could quote the file.
        problems.append(f"{path} is not valid JSON of the expected form")
    return None


def _from_auths(config: _File, domain: str, path: str) -> Credential | None:
    auths = config.auths or {}
    for key in (*_namespaces(domain, path), *credential_keys(domain)):
        found = auths.get(key) or auths.get(f"{key}/v1/") or auths.get(f"{key}/v2/")
        if found is not None and (credential := _credential(found)):
            return credential
    return None


def _namespaces(domain: str, path: str) -> Iterator[str]:
    """`quay.io/team/app`, `quay.io/team`: auth.json may know more than hosts."""
    parts = path.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join([domain, *parts[:count]])


def _credential(auth: _Auth) -> Credential | None:
    if auth.identity_token:
        return IdentityToken(token=auth.identity_token)
    if auth.registry_token:
        return RegistryToken(token=auth.registry_token)
    if auth.auth:
        try:
            pair = base64.b64decode(auth.auth, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        username, colon, password = pair.rstrip("\0").partition(":")
        return Login(username=username, password=password) if colon else None
    if auth.username and auth.password:
        return Login(username=auth.username, password=auth.password)
    return None


def _from_helper(
    config: _File, domain: str, environ: Mapping[str, str], problems: list[str]
) -> Credential | None:
    helpers = config.cred_helpers or {}
    keys = credential_keys(domain)
    own = next((helpers[key] for key in keys if key in helpers), None)
    name = own or config.creds_store
    if not name:
        return None
    try:
        data = call_helper(name, "get", keys[0].encode(), environ)
    except HelperFailed as error:
        problems.append(error.message)
        return None
    if data is None:
        return None
    try:
        answer = msgspec.json.decode(data, type=_Answer)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        problems.append(f"docker-credential-{name} did not answer with the expected JSON")
        return None
    if not answer.secret:
        return None
    if answer.username == "<token>":
        return IdentityToken(token=answer.secret)
    return Login(username=answer.username, password=answer.secret)
