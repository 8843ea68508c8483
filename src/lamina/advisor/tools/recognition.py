"""Calls of tools in the scripts of RUN, and the folders that these very calls use."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from lamina.advisor.runs import Run
from lamina.advisor.shell.script import Invocation, Word
from lamina.advisor.stagestate import StageState
from lamina.advisor.tools.tool import Cache, Tool

_PYTHON = re.compile(r"python\d*(?:\.\d+)?")
_VERSIONED_PIP = re.compile(r"pip\d(?:\.\d+)?")
_WRAPPERS = frozenset(("sudo", "env", "exec", "command", "nice", "time", "corepack"))
_PLAIN_OPTIONS = frozenset(("-E", "-H", "-n", "--", "--preserve-env"))
_PARTS = re.compile(r"\$(\w+)|^~")
_UNKNOWABLE = re.compile(r"\$\(|`|<\(|\$\{?[@*#?!\d]")
_ASSIGNMENT = re.compile(r"\w+=.*", re.DOTALL)
_TRUE = frozenset(("1", "true", "yes", "on", "y", "t"))


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A command that runs a program: its words behind wrappers, and the variables it sees.

    `elevated`: by sudo, so that HOME and USER are another's.
    """

    invocation: Invocation
    words: tuple[Word, ...]
    variables: Mapping[str, str | None]
    elevated: bool = False

    @property
    def program(self) -> str:
        return (self.words[0].value or "").rpartition("/")[2] if self.words else ""

    def arguments(self, valued: Iterable[str] = ()) -> tuple[str, ...]:
        """The known words that are no options and no values of those that take one."""
        found: list[str] = []
        options = frozenset(valued)
        before = ""
        for word in self.words[1:]:
            value = word.value
            if value is not None and before not in options and value[:1] not in ("-", "+"):
                found.append(value)
            before = value or ""
        return tuple(found)

    def has(self, flags: Iterable[str]) -> Word | None:
        """The first word that is one of the flags, with or without a value behind `=`."""
        wanted = frozenset(flags)
        for word in self.words[1:]:
            if word.value is not None and {word.value, word.value.partition("=")[0]} & wanted:
                return word
        return None


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a tool that fills its caches. `verb` are the words that say so."""

    tool: Tool
    verb: tuple[str, ...]
    call: Call


def calls(run: Run, state: StageState) -> Iterator[Call]:
    """Every command of a RUN, unwrapped, with variables that the script sets before it."""
    if run.script is not None and not state.posix:
        return
    seen: dict[str, str | None] = dict(state.variables)
    for invocation in run.invocations():
        own = {name: _plain(value) for name, value in invocation.variables}
        if not invocation.words:
            seen |= own
            continue
        if invocation.name in ("export", "readonly", "declare"):
            seen |= own | dict(_assigned(invocation))
            continue
        call = _unwrapped(invocation, {**seen, **own})
        if call is not None:
            yield call


def uses(run: Run, state: StageState, tools: Iterable[Tool]) -> Iterator[Use]:
    """The calls of these tools that fill their caches, over the network."""
    if "none" in run.command.network:
        return
    known = tuple(tools)
    for call in calls(run, state):
        program = call.program
        for tool in known:
            verb = _verb(call, tool) if _is(program, tool) else None
            if verb is not None and call.has(tool.offline) is None:
                yield Use(tool=tool, verb=verb, call=call)


def cleans(call: Call, tool: Tool) -> bool:
    """Whether a command does nothing but empty the tool's caches."""
    words = (call.program, *call.arguments(tool.valued))
    flags = {word.value for word in call.words[1:]}
    for each in tool.cleaning:
        plain = tuple(word for word in each if not word.startswith("-"))
        if words[: len(plain)] == plain and flags.issuperset(each[len(plain) :]):
            return True
    return False


def folder(cache: Cache, call: Call, state: StageState) -> str | None:
    """The folder that a call really uses, absolute; None where that is not known."""
    flag = call.has(cache.flags)
    if flag is not None:
        named = _value_of(flag, call)
        return state.path(named) if named is not None else None
    for template in cache.folders:
        variables = _PARTS.findall(template)
        names = [name for name in variables if name]
        if any(name not in call.variables or call.variables[name] == "" for name in names):
            continue
        home = state.home if not call.elevated or state.root else None
        return filled(template, call.variables, _home(cache, call, state, home))
    return None


def filled(template: str, variables: Mapping[str, str | None], home: str | None) -> str | None:
    """A template as an absolute path; None where a variable of it, or HOME, is not known."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = variables.get(match[1]) if match[1] else home
        missing = missing or not found
        return (found or "").partition(":")[0]  # GOPATH may be several

    path = _PARTS.sub(value, template)
    return None if missing or not path.startswith("/") else posixpath.normpath(path)


def word_value(word: Word, state: StageState) -> str | None:
    """What a command gets, with `~` and variables of the stage in place; None if not known."""
    value = word.value
    if value is None:
        if _UNKNOWABLE.search(word.raw):
            return None
        raw = re.sub(r"\$HOME\b|\$\{HOME\}", state.home or "$HOME", word.raw)
        value = state.expand(raw)
    elif value.startswith("~/") and word.raw.startswith("~") and state.home is not None:
        value = state.home + value[1:]
    return value


def switched_off(tool: Tool, call: Call) -> str | None:
    """The variable that turns the tool's cache off, if one does."""
    for name in tool.disabling_variables:
        value = call.variables.get(name)
        if value is not None and value.lower() in _TRUE:
            return name
    return None


def _home(cache: Cache, call: Call, state: StageState, home: str | None) -> str | None:
    """HOME as the tool sees it: version 1 of yarn, run by root, looks elsewhere."""
    if "~/.cache/yarn" in cache.folders and state.root:
        return "/usr/local/share"
    return home


def _is(program: str, tool: Tool) -> bool:
    if program in tool.programs:
        return True
    return "pip" in tool.programs and _VERSIONED_PIP.fullmatch(program) is not None


def _verb(call: Call, tool: Tool) -> tuple[str, ...] | None:
    words = call.arguments(tool.valued)
    if not tool.uses:
        return words or None
    if not words:
        alone = all((word.value or "-").startswith("-") for word in call.words[1:])
        asked = call.has(("--version", "-v", "--help", "-h", "-V"))
        return () if () in tool.uses and alone and asked is None else None
    found = [verb for verb in tool.uses if verb and words[: len(verb)] == verb]
    return found[0] if found else None


def _unwrapped(invocation: Invocation, variables: Mapping[str, str | None]) -> Call | None:
    words = invocation.words
    seen, elevated = dict(variables), False
    while words and (words[0].value or "").rpartition("/")[2] in _WRAPPERS:
        wrapper, words = words[0].value, words[1:]
        elevated = elevated or (wrapper or "").endswith("sudo")
        while words and (value := words[0].value) is not None:
            if _ASSIGNMENT.fullmatch(value):
                name, _, set_to = value.partition("=")
                seen[name] = set_to
            elif value.startswith("-") and value not in _PLAIN_OPTIONS:
                return None
            elif not value.startswith("-"):
                break
            words = words[1:]
    values = [word.value for word in words[:3]]
    if (
        len(values) == 3
        and values[1] == "-m"
        and _PYTHON.fullmatch((values[0] or "").rpartition("/")[2])
    ):
        words = words[2:]
    if not words or words[0].value is None:
        return None
    return Call(invocation=invocation, words=words, variables=seen, elevated=elevated)


def _assigned(invocation: Invocation) -> Iterator[tuple[str, str | None]]:
    for word in invocation.arguments:
        name, equals, value = (word.value or word.raw).partition("=")
        if equals:
            yield name, value if word.value is not None else None


def _plain(value: str | None) -> str | None:
    """A value without variables of the shell in it."""
    return None if value is not None and "$" in value else value


def _value_of(flag: Word, call: Call) -> str | None:
    """The value of an option: behind its `=`, or the next word."""
    _, equals, value = (flag.value or "").partition("=")
    if equals:
        return value or None
    index = call.words.index(flag)
    return call.words[index + 1].value if index + 1 < len(call.words) else None
