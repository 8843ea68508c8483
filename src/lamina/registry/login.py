"""Logging in and out: Docker's config.json is written, so that every tool that reads it knows.

`credHelpers` of the registry, else `credsStore`, keep the password if config.json names one;
without them it lies in the file itself, in base64, readable for the user alone, as `docker login`
does it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from lamina.errors import HostError, UserError
from lamina.fs.publish import publish_file
from lamina.oci.reference import Reference
from lamina.registry.client import RegistryClient
from lamina.registry.credential_helper import call_helper
from lamina.registry.credentials import Found, Login, docker_config
from lamina.registry.errors import Unauthorized
from lamina.registry.hosts import credential_keys
from lamina.registry.message import Request


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Where a password lies: in the file itself, or with a credential helper that it names."""

    file: str
    helper: str | None = None


def check_login(
    domain: str,
    username: str,
    password: str,
    environ: Mapping[str, str],
    *,
    insecure: bool = False,
) -> None:
    """Asks the registry whether the login is right, by `GET /v2/`.

    Raises Unauthorized if it is not, Unreachable, TooManyRequests, ServerFailed, and UserError for
    a registry that registries.conf blocks.
    """
    login = Login(username=username, password=password)
    client = RegistryClient(
        environ=environ,
        find=lambda *_: Found(credential=login),
        insecure=(domain,) if insecure else (),
    )
    place = replace(client.place(Reference(domain=domain, path="any")), domain=domain, path="")
    try:
        client.insist(Request(place=place, tail="", name=domain, actions=())).close()
    except Unauthorized:
        raise Unauthorized(
            f"{domain} does not accept this user and password",
            registry=domain,
            hint="many registries want a token in the place of the password",
        ) from None


def store_login(domain: str, username: str, password: str, environ: Mapping[str, str]) -> Kept:
    """Keeps a login. Raises UserError for a config.json that is not right, HostError for one that
    cannot be written, HelperFailed."""
    path, config = _load(environ)
    key = credential_keys(domain)[0]
    helper = _helper(config, domain)
    if helper is not None:
        question = {"ServerURL": key, "Username": username, "Secret": password}
        call_helper(helper, "store", json.dumps(question).encode(), environ)
        entry = {}
    else:
        entry = {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}
    # An entry without anything in it is how Docker notes that a helper knows more.
    _section(config, "auths", path)[key] = entry
    _save(path, config)
    return Kept(file=path, helper=helper)


def remove_login(domain: str, environ: Mapping[str, str]) -> bool:
    """Forgets a login, under every name that the registry goes by; whether there was one.

    Raises as `store_login`.
    """
    path, config = _load(environ)
    known = False
    if helper := _helper(config, domain):
        kept = call_helper(helper, "get", credential_keys(domain)[0].encode(), environ)
        if kept is not None:
            call_helper(helper, "erase", credential_keys(domain)[0].encode(), environ)
            known = True
    auths = _section(config, "auths", path)
    found = [
        f"{key}{end}"
        for key in credential_keys(domain)
        for end in ("", "/", "/v1/", "/v2/")
        if f"{key}{end}" in auths
    ]
    for key in found:
        known = known or bool(auths[key])
        del auths[key]
    if found:
        _save(path, config)
    return known


def _load(environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    path = docker_config(environ)
    if path is None:
        raise UserError(
            "there is no place for credentials: neither DOCKER_CONFIG nor HOME is set",
            hint="set DOCKER_CONFIG to a folder",
        )
    # A link stays one: the file that it points to is replaced.
    path = os.path.realpath(path)
    try:
        with open(path, "rb") as file:
            config = json.loads(file.read() or b"{}")
    except FileNotFoundError:
        return path, {}
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise UserError(
            f"{path} is not a valid config.json", hint="put it right, or move it out of the way"
        )
    return path, config


def _section(config: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    found = config.get(name)
    if found is None:
        found = config[name] = {}
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a valid config.json: {name} is not an object")
    return found


def _helper(config: Mapping[str, Any], domain: str) -> str | None:
    helpers = config.get("credHelpers")
    if isinstance(helpers, dict):
        for key in credential_keys(domain):
            if isinstance(helpers.get(key), str):
                return str(helpers[key])
    store = config.get("credsStore")
    return store if isinstance(store, str) and store else None


def _save(path: str, config: Mapping[str, Any]) -> None:
    text = json.dumps(config, indent="\t", ensure_ascii=False)
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        publish_file(path, text.encode(errors="surrogatepass"), mode=0o600, durable=True)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error
