"""The variables that instructions can see, and the rules of ARG (Dockerfile reference, "ARG").

build arguments of the command line
   │   override
global ARGs (above the first FROM) ── seen by FROM, and by a stage that declares the name again
   │
a stage: its base's ENV and ARGs, then what its own ENV and ARG instructions add; ENV wins
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lamina.dockerfile.expansion import Lexer
from lamina.dockerfile.instructions.commands import ArgCommand
from lamina.errors import LaminaError
from lamina.graph.ops import EnvVar
from lamina.oci.platform import Platform

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

PROXIES = frozenset(("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"))


class Variables(Mapping[str, str]):
    """The variables of a stage, in the order in which they were set last."""

    def __init__(self, variables: Mapping[str, EnvVar] | None = None) -> None:
        self._variables = dict(variables or {})

    def __getitem__(self, name: str) -> str:
        return self._variables[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def set(self, name: str, value: str, *, argument: bool = False) -> None:
        """ENV (or an image) sets a variable; with `argument`, an ARG does."""
        self._variables.pop(name, None)
        self._variables[name] = EnvVar(name=name, value=value, argument=argument)

    def copy(self) -> Variables:
        return Variables(self._variables)

    def as_tuple(self) -> tuple[EnvVar, ...]:
        return tuple(self._variables.values())


def platform_arguments(build: Platform, target: Platform, stage: str) -> dict[str, str]:
    """The predefined ARGs of the global scope."""
    return {
        "BUILDPLATFORM": str(replace_version(build)),
        "BUILDOS": build.os,
        "BUILDOSVERSION": build.os_version,
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": str(target),
        "TARGETOS": target.os,
        "TARGETOSVERSION": target.os_version,
        "TARGETARCH": target.architecture,
        "TARGETVARIANT": target.variant,
        "TARGETSTAGE": stage or "default",
    }


def replace_version(platform: Platform) -> Platform:
    """The platform without the version of its operating system."""
    return Platform(os=platform.os, architecture=platform.architecture, variant=platform.variant)


def global_arguments(
    commands: tuple[ArgCommand, ...],
    *,
    predefined: Mapping[str, str],
    build_args: Mapping[str, str],
    lexer: Lexer,
) -> dict[str, str]:
    """The ARGs above the first FROM, with the predefined ones."""
    scope = {name: build_args.get(name, value) for name, value in predefined.items()}
    for command in commands:
        for arg in command.args:
            value = build_args.get(arg.key)
            if value is None and arg.value is not None:
                try:
                    value = lexer.word(arg.value, scope)
                except LaminaError as error:
                    error.span = error.span or command.span
                    raise
            if value is not None:
                scope.pop(arg.key, None)
                scope[arg.key] = value
    return scope


def proxy_variables(build_args: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Proxy settings that were given as build arguments: for the processes, not for the keys.

    A step sees them in lower and in upper case, whichever was given.
    """
    found = {
        name.lower(): value for name, value in sorted(build_args.items()) if name.lower() in PROXIES
    }
    both = [
        pair for name, value in found.items() for pair in ((name, value), (name.upper(), value))
    ]
    return tuple(sorted(both))
