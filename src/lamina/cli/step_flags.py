"""Flags about the steps themselves: their limits, and what happens when one fails."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

from lamina.cli.flag_values import parse_bytes
from lamina.cli.key_values import choose, parse_options, parse_switch
from lamina.cli.values import Values
from lamina.control.request import OnError
from lamina.errors import UsageError
from lamina.executor.spec import NO_LIMITS, Resources

OF_DOCKER = (
    *("memory", "memory-swap", "cpu-shares", "cpu-period", "cpu-quota"),
    *("cpuset-cpus", "cpuset-mems"),
)
"""Keys of `--resource`, and flags of `docker build`: `--memory 2g` is `--resource memory=2g`."""

ACTIONS = ("shell", "keep", "export")

_SET = r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*"


def parse_resources(values: Values) -> Resources:
    """`--resource KEY=VALUE[,KEY=VALUE…]`, and the flags that `docker build` had for them. The last
    of one key counts. Raises UsageError.
    """
    found: dict[str, int | str] = {}
    for key, value in _given(values):
        found[key.replace("-", "_")] = _PARSERS[key](f"--resource {key}", value)
    if not found:
        return NO_LIMITS
    from msgspec import convert

    from lamina.executor.limits import check

    resources = convert(found, Resources)
    check(resources)
    return resources


def _given(values: Values) -> Iterator[tuple[str, str]]:
    for key in OF_DOCKER:
        value = values.given(key.replace("-", "_"))
        if value is not None:
            yield key, value
    for text in values.texts("resource"):
        last = ""
        for key, value in parse_options("--resource", text):
            if value is None and last.startswith("cpuset") and re.fullmatch(_SET, key):
                raise UsageError(
                    f"invalid value {text!r} for --resource: a list needs quotes",
                    hint=f"""--resource '"{last}=0,1"'""",
                )
            last = choose("--resource", key, OF_DOCKER, what="key")
            if not value:
                raise UsageError(f"invalid value {text!r} for --resource: {key} has no value")
            yield key, value


def _size(flag: str, text: str) -> int:
    size = parse_bytes(flag, text)
    if not size:
        raise UsageError(f"invalid value {text!r} for {flag}: it must be more than 0")
    return size


def _swap(flag: str, text: str) -> int:
    return -1 if text == "-1" else _size(flag, text)


def _number(flag: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) < 1 << 63:
        raise UsageError(f"invalid value {text!r} for {flag}: it must be a number above 0")
    return int(text)


def _set(flag: str, text: str) -> str:
    if not re.fullmatch(_SET, text):
        raise UsageError(f"invalid value {text!r} for {flag}", hint="write 0-3 or 0,2")
    return text


_PARSERS: dict[str, Callable[[str, str], int | str]] = {
    "memory": _size,
    "memory-swap": _swap,
    "cpu-shares": _number,
    "cpu-period": _number,
    "cpu-quota": _number,
    "cpuset-cpus": _set,
    "cpuset-mems": _set,
}


def parse_on_error(text: str | None) -> OnError | None:
    """`shell`, `keep`, or `export=DIR[,whole=true]`. Raises UsageError."""
    if text is None:
        return None
    flag = "--on-error"
    options = list(parse_options(flag, text)) or [("", None)]
    (action, dest), *rest = options
    choose(flag, action, ACTIONS, what="action")
    if (action == "export") != bool(dest):
        hint = "--on-error export=DIR, --on-error shell or --on-error keep"
        raise UsageError(f"invalid value {text!r} for {flag}", hint=hint)
    whole = False
    for key, value in rest:
        choose(flag, key, ("whole",) if action == "export" else (), what="key")
        whole = parse_switch(f"{flag} whole", value or "true")
    return OnError(action=action, dest=dest or "", whole=whole)


def check_on_error(on_error: OnError | None, *, terminal: bool) -> None:
    """What would keep it from working is better said before the build. Raises UsageError."""
    if on_error is None:
        return
    if on_error.action == "shell" and not terminal:
        raise UsageError(
            "--on-error=shell needs a terminal: standard input and output must be one",
            hint="without a terminal: --on-error=keep, or --on-error=export=DIR",
        )
    if on_error.action != "export":
        return
    dest = on_error.dest
    try:
        if os.listdir(dest):
            raise UsageError(
                f"--on-error: the folder {dest} is not empty", hint="name a new one, or empty it"
            )
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(os.path.abspath(dest))):
            raise UsageError(f"--on-error: there is no folder to make {dest} in") from None
    except OSError as error:
        raise UsageError(f"--on-error: cannot use {dest}: {error.strerror}") from None
