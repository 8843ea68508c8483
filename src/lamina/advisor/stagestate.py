"""What a command of a stage finds set: variables, user, home, directory, shell, base image.

A fold over the commands of every stage. What the file does not say is None ("not known"), and no
rule guesses it. An ARG has its default; one without has no known value.

    for place in walk(project):
        match place.command:
            case RunCommand() if place.state.posix: ...  place.state.home, .cwd, .variable("GOPATH")
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from lamina.advisor.bases import Account, Base, Family, known_base
from lamina.advisor.project import Project
from lamina.advisor.runs import Run, read_run
from lamina.advisor.shell.script import Invocation
from lamina.dockerfile.expansion import Lexer
from lamina.dockerfile.instructions.commands import (
    ArgCommand,
    Command,
    EnvCommand,
    RunCommand,
    ShellCommand,
    Stage,
    UserCommand,
    WorkdirCommand,
)
from lamina.errors import LaminaError

_POSIX = frozenset(("sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"))
_PLAIN = re.compile(r"[\w./:=,@%+-]*", re.ASCII)
_ROOT = frozenset(("root", "0"))
_MAKES_USERS = re.compile(r"\b(?:useradd|adduser)\b")
_PLATFORM = ("TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT", "BUILDPLATFORM")


class StageState(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage has set.

    `variables` are those of ENV and ARG that a RUN sees: a value of None is one that is not known,
    a name that is not there is not set. `user` is as USER says, without the group.
    """

    base: Base
    variables: Mapping[str, str | None]
    user: str | None
    accounts: Mapping[str, Account]
    cwd: str | None = "/"
    shell: tuple[str, ...] = ("/bin/sh", "-c")

    @property
    def family(self) -> Family | None:
        return self.base.family

    @property
    def posix(self) -> bool:
        """Whether the shell form is given to a shell of the POSIX kind."""
        if self.family is Family.WINDOWS or not self.shell:
            return False
        return posixpath.basename(self.shell[0]) in _POSIX

    @property
    def root(self) -> bool | None:
        """Whether commands run as root; None where that is not known."""
        return None if self.user is None else self.user in _ROOT

    @property
    def account(self) -> Account:
        """The user that commands run as."""
        if self.root:
            return Account(home="/root", uid=0, gid=0)
        known = self.accounts.get(self.user or "")
        if known is None and self.user is not None and self.user.isdecimal():
            same = [one for one in self.accounts.values() if one.uid == int(self.user)]
            known = same[0] if same else Account(uid=int(self.user))
        return known or Account()

    @property
    def home(self) -> str | None:
        """HOME as commands see it."""
        return self.variables.get("HOME", self.account.home)

    def path(self, text: str) -> str | None:
        """An absolute path for one that is written relative to WORKDIR, without `/` at its end."""
        if text.startswith("/"):
            return posixpath.normpath(text)
        return None if self.cwd is None else posixpath.normpath(posixpath.join(self.cwd, text))

    def expand(self, text: str) -> str | None:
        """The text with variables in place; None where one is not known or not set."""
        if _PLAIN.fullmatch(text):
            return text
        known = {name: value for name, value in self.variables.items() if value is not None}
        try:
            expansion = Lexer().expand(text, known)
        except LaminaError:
            return None
        return None if expansion.unmatched else expansion.text


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A command, and what it finds: `state` is that before it. `index` counts commands of the
    stage, `number` stages of the file. `run` is the script of a RUN.
    """

    stage: Stage
    number: int
    index: int
    command: Command
    state: StageState
    run: Run | None = None


class _Same:
    """A project as itself: every rule walks the same one."""

    __slots__ = ("project",)

    def __init__(self, project: Project) -> None:
        self.project = project

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.project is other.project

    def __hash__(self) -> int:
        return id(self.project)


def walk(project: Project) -> tuple[Place, ...]:
    """Every command of every stage, in the order of the file."""
    return _walk(_Same(project))


@lru_cache(maxsize=2)
def _walk(same: _Same) -> tuple[Place, ...]:
    project = same.project
    dockerfile = project.dockerfile
    arguments = dict(_global_arguments(project))
    ends: dict[str, StageState] = {}
    places: list[Place] = []
    for number, stage in enumerate(dockerfile.stages):
        state = _start(project, stage, arguments, ends)
        for index, command in enumerate(stage.commands):
            run = read_run(dockerfile, command) if isinstance(command, RunCommand) else None
            places.append(
                Place(
                    stage=stage, number=number, index=index, command=command, state=state, run=run
                )
            )
            state = _after(state, command, run, arguments)
        ends[str(number)] = state
        if stage.name:
            ends[stage.name.lower()] = state
    return tuple(places)


def lineage(project: Project, number: int) -> tuple[int, ...]:
    """The numbers of the stages that a stage stands on: its base, the base of that … and itself."""
    names: dict[str, int] = {}
    for index, stage in enumerate(project.dockerfile.stages[:number]):
        if stage.name:
            names[stage.name.lower()] = index
    stage = project.dockerfile.stages[number]
    below = names.get(stage.base_name.lower())
    return (number,) if below is None else (*lineage(project, below), number)


def _global_arguments(project: Project) -> Iterator[tuple[str, str | None]]:
    known: dict[str, str] = {}
    for command in project.dockerfile.arguments:
        for argument in command.args:
            value = _expanded(argument.value, known) if argument.value is not None else None
            if value is not None:
                known[argument.key] = value
            yield argument.key, value


def _expanded(text: str, known: Mapping[str, str]) -> str | None:
    try:
        expansion = Lexer().expand(text, known)
    except LaminaError:
        return None
    return None if expansion.unmatched else expansion.text


def _start(
    project: Project,
    stage: Stage,
    arguments: Mapping[str, str | None],
    ends: Mapping[str, StageState],
) -> StageState:
    known = {name: value for name, value in arguments.items() if value is not None}
    name = _expanded(stage.base_name, known)
    if name is not None and name.lower() in ends and not name.isdecimal():
        return ends[name.lower()]
    base = known_base(name) if name is not None else Base(name="", user="root")
    state = StageState(
        base=base,
        variables=dict(base.variables),
        user=base.user,
        accounts=base.accounts,
    )
    config = project.bases.get(name or "")
    if config is None:
        return state
    pairs = dict(pair.partition("=")[::2] for pair in config.config.env or ())
    return replace(
        state,
        base=replace(base, known=True),
        variables=pairs,
        user=config.config.user.partition(":")[0] or "root",
        cwd=config.config.working_dir or "/",
        shell=config.config.shell or state.shell,
    )


def _after(
    state: StageState, command: Command, run: Run | None, arguments: Mapping[str, str | None]
) -> StageState:
    match command:
        case EnvCommand():
            new = {pair.key: state.expand(pair.value) for pair in command.env}
            return replace(state, variables={**state.variables, **new})
        case ArgCommand():
            return replace(state, variables={**_declared(state, command, arguments)})
        case UserCommand():
            user = state.expand(command.user)
            return replace(state, user=user.partition(":")[0] if user is not None else None)
        case WorkdirCommand():
            path = state.expand(command.path)
            return replace(state, cwd=state.path(path) if path is not None else None)
        case ShellCommand():
            return replace(state, shell=command.shell)
        case RunCommand() if run is not None and _MAKES_USERS.search(run.text):
            return replace(state, accounts={**state.accounts, **dict(_accounts(run))})
    return state


def _declared(
    state: StageState, command: ArgCommand, arguments: Mapping[str, str | None]
) -> dict[str, str | None]:
    variables = dict(state.variables)
    for argument in command.args:
        if argument.key in _PLATFORM:
            variables[argument.key] = None
        elif argument.key not in variables:
            default = state.expand(argument.value) if argument.value is not None else None
            inherited = argument.value is None
            variables[argument.key] = arguments.get(argument.key) if inherited else default
    return variables


def _accounts(run: Run) -> Iterator[tuple[str, Account]]:
    for invocation in run.invocations():
        if invocation.name in ("useradd", "adduser") and invocation.arguments:
            found = _account(invocation)
            if found is not None:
                yield found


_HOME = ("-d", "-h", "--home", "--home-dir")
_UID, _GID = ("-u", "--uid"), ("-g", "--gid")
_OTHERS = ("-s", "--shell", "-c", "--comment", "--gecos", "-G", "--groups", "--ingroup", "-k", "-b")
_OTHERS_TOO = ("--base-dir", "-K", "-p", "--password", "-e", "-f")


def _account(invocation: Invocation) -> tuple[str, Account] | None:
    """`useradd -m -u 1000 app`, `adduser -D app`: the name and what is said of it."""
    words = [word.value for word in invocation.arguments]
    names: list[str] = []
    said: dict[str, str | None] = {}
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word is None:
            return None
        option, equals, value = word.partition("=")
        if not option.startswith("-"):
            names.append(word)
        elif equals:
            said[option] = value
        elif option in (*_HOME, *_UID, *_GID, *_OTHERS, *_OTHERS_TOO) and at < len(words):
            said[option] = words[at]
            at += 1
        else:
            said[option] = ""
            clustered = re.fullmatch(r"-[A-Za-z]+([ugdscGkKbpef])", option)
            if clustered and at < len(words):
                said["-" + clustered[1]] = words[at]
                at += 1
    if not names:
        return None
    name = names[0]
    system = invocation.name == "adduser" and "--system" in said
    homes = [said[option] for option in _HOME if option in said]
    return name, Account(
        home=homes[0] if homes else None if system else f"/home/{name}",
        uid=_number(said, _UID),
        gid=_number(said, _GID),
    )


def _number(said: Mapping[str, str | None], options: tuple[str, ...]) -> int | None:
    values = [said[option] or "" for option in options if option in said]
    return int(values[0]) if values and values[0].isdecimal() else None
