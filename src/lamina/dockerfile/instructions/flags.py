"""The `--name=value` flags between an instruction's keyword and its arguments."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

import msgspec

from lamina.dockerfile.problems import InstructionError, UnknownFlag
from lamina.notation.suggest import did_you_mean


class FlagKind(Enum):
    """A switch (`--link`, `--link=false`), one value, or a value each time it is given."""

    SWITCH = auto()
    VALUE = auto()
    VALUES = auto()


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The flags that were given, in the order of their first use."""

    given: dict[str, tuple[str, ...]]

    @property
    def used(self) -> tuple[str, ...]:
        return tuple(self.given)

    def value(self, name: str, default: str = "") -> str:
        return self.given.get(name, (default,))[-1]

    def values(self, name: str) -> tuple[str, ...]:
        return self.given.get(name, ())

    def switch(self, name: str) -> bool | None:
        """Whether the switch is on; None if it is not given."""
        return None if name not in self.given else self.value(name) == "true"


def parse_flags(
    words: Iterable[str],
    *,
    switch: tuple[str, ...] = (),
    value: tuple[str, ...] = (),
    values: tuple[str, ...] = (),
) -> Flags:
    """The flags of an instruction that knows the named ones. Raises InstructionError."""
    kinds = dict.fromkeys(switch, FlagKind.SWITCH)
    kinds |= dict.fromkeys(value, FlagKind.VALUE)
    kinds |= dict.fromkeys(values, FlagKind.VALUES)
    given: dict[str, tuple[str, ...]] = {}
    for word in words:
        if word == "--":
            break
        if not word.startswith("--"):
            raise InstructionError(f"arg should start with -- : {word}")
        flag, equals, text = word.partition("=")
        name = flag.removeprefix("--")
        kind = kinds.get(name)
        if kind is None:
            raise _at(UnknownFlag(did_you_mean(f"unknown flag: {flag}", name, kinds)), flag)
        if name in given and kind is not FlagKind.VALUES:
            raise InstructionError(f"duplicate flag specified: {flag}")
        if kind is FlagKind.SWITCH:
            text = _switch(flag, text, has_value=bool(equals))
        elif not equals:
            raise _at(InstructionError(f"missing a value on flag: {flag}"), flag)
        given[name] = (*given.get(name, ()), text)
    return Flags(given=given)


def _switch(flag: str, text: str, *, has_value: bool) -> str:
    if has_value and not text:
        raise _at(InstructionError(f"missing a value on flag: {flag}"), flag)
    state = text.lower() or "true"
    if state not in ("true", "false"):
        problem = InstructionError(f"expecting boolean value for flag {flag}, not: {text}")
        raise _at(problem, text)
    return state


def _at(problem: InstructionError, word: str) -> InstructionError:
    problem.word = word
    return problem
