"""`lamina login`: the flags and their meaning are those of `docker login`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from lamina.cli.command import Command, Session
from lamina.cli.values import Values
from lamina.errors import UsageError

if TYPE_CHECKING:
    from lamina.control.login import Account


def command() -> click.Command:
    return Command(
        "login",
        params=[
            click.Option(["-u", "--username"], metavar="USER", help="Who logs in"),
            click.Option(
                ["-p", "--password"],
                metavar="PASSWORD",
                help="Password or token (visible to other users; --password-stdin is not)",
            ),
            click.Option(
                ["--password-stdin"], is_flag=True, help="Read the password from standard input"
            ),
            click.Argument(["registry"], nargs=-1, metavar="[REGISTRY]"),
        ],
        run=run,
        usage="[FLAGS] [REGISTRY]",
        epilog="Without REGISTRY it is Docker Hub. The login is kept in Docker's config.json, or"
        " by the credential helper that it names.",
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    addresses = values.texts("registry")
    if len(addresses) > 1:
        raise UsageError("one registry is needed", hint="lamina login -u USER REGISTRY")
    _check(values)
    from lamina.control import login

    domain = login.registry_domain(addresses[0] if addresses else "")
    username, password = values.text("username"), values.given("password")
    if password is not None:
        _warn(session, "Using --password via the CLI is insecure. Use --password-stdin.")
    if values.is_set("password_stdin"):
        password = _line(session.stdin.read())
    if not username and password is None:
        known = login.known_account(domain, session.environ)
        if known is not None:
            session.stdout.write(b"Authenticating with existing credentials...\n")
            login.check_account(domain, known, session.environ)
            session.stdout.write(b"Login Succeeded\n")
            return 0
    kept = login.log_in(domain, _asked(session, username, password), session.environ)
    if kept.helper is None:
        _warn(
            session,
            f"Your password will be stored unencrypted in {kept.file}.\n"
            "Configure a credential helper to remove this warning (credsStore in that file).",
        )
    session.stdout.write(b"Login Succeeded\n")
    return 0


def _check(values: Values) -> None:
    if not values.is_set("password_stdin"):
        return
    if values.given("password") is not None:
        raise UsageError("--password and --password-stdin are mutually exclusive")
    if not values.text("username"):
        raise UsageError("must provide --username with --password-stdin")


def _asked(session: Session, username: str, password: str | None) -> Account:
    """What was given, and what the user answers. Raises UsageError where there is no terminal."""
    from lamina.control.login import Account

    if not (username and password is not None) and not session.stdin.isatty():
        raise UsageError(
            "cannot perform an interactive login from a non TTY device",
            hint="lamina login -u USER --password-stdin REGISTRY < FILE",
        )
    if not username:
        session.stderr.write(b"Username: ")
        session.stderr.flush()
        username = _line(session.stdin.readline())
        if not username:
            raise UsageError("a user name is needed")
    if password is None:
        from getpass import getpass

        password = getpass("Password: ")
    if not password:
        raise UsageError("a password is needed")
    return Account(username=username, password=password)


def _line(data: bytes) -> str:
    """Text without the end of its line. Raises UsageError."""
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError("the password is not UTF-8") from None


def _warn(session: Session, text: str) -> None:
    session.stderr.write(f"WARNING! {text}\n".encode())
