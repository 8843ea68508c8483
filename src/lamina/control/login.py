"""`lamina login` and `lamina logout`: who the user is at a registry."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lamina.errors import UserError
from lamina.oci.reference import DOCKER_HUB, parse_reference
from lamina.registry.credentials import Login, find_credential
from lamina.registry.login import Kept, check_login, remove_login, store_login


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user and a password."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Account(username={self.username!r})"


def registry_domain(address: str) -> str:
    """The registry that an address means; "" is Docker Hub. A scheme and a path are dropped, as
    people paste them. Raises UserError.
    """
    domain = address.strip().partition("://")[2] or address.strip()
    domain = domain.partition("/")[0]
    if not domain:
        return DOCKER_HUB
    try:
        found = parse_reference(f"{domain}/name").domain
    except UserError:
        found = ""
    if not found or (found == DOCKER_HUB and domain not in (DOCKER_HUB, "index.docker.io")):
        raise UserError(
            f"{address!r} is not the address of a registry",
            hint="it is localhost, or has a dot or a port: registry.example:5000",
        )
    return found


def log_in(domain: str, account: Account, environ: Mapping[str, str]) -> Kept:
    """Keeps a login that the registry accepts. Raises Unauthorized, another RemoteError, UserError
    or HostError.
    """
    check_login(domain, account.username, account.password, environ)
    return store_login(domain, account.username, account.password, environ)


def known_account(domain: str, environ: Mapping[str, str]) -> Account | None:
    """The login that is kept for a registry."""
    found = find_credential(domain, "", environ=environ).credential
    if not isinstance(found, Login):
        return None
    return Account(username=found.username, password=found.password)


def check_account(domain: str, account: Account, environ: Mapping[str, str]) -> None:
    """Asks the registry whether it still accepts a login. Raises as `log_in`."""
    check_login(domain, account.username, account.password, environ)


def log_out(domain: str, environ: Mapping[str, str]) -> bool:
    """Whether there was a login to forget. Raises UserError or HostError."""
    return remove_login(domain, environ)
