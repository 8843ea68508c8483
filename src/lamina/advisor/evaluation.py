"""What the words of a Dockerfile come to: every FROM and every command as a build would see them.

A walk over the stages in their order, with the variables that a build has at each place. For a
certain build (`Project.asked`) it ends where that build would fail; for none, what cannot be told
is passed over, since somebody may give it as a build argument.

This is the half of the lowering (lamina.dockerfile.lower) that needs no base image. It is walked
again here because a lowering throws away what the rules ask for: which variables were not there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from lamina.advisor.project import Asked, Project
from lamina.dockerfile.draft import empty_image
from lamina.dockerfile.environment import (
    DEFAULT_PATH,
    Variables,
    global_arguments,
    platform_arguments,
)
from lamina.dockerfile.expansion import Expansion, Lexer
from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.instructions.parse import parse_trigger
from lamina.dockerfile.metadata import HIDDEN_ARGUMENTS
from lamina.dockerfile.scope import expand_command
from lamina.dockerfile.stages import SCRATCH, StageState, StageTable, StepCommand
from lamina.errors import LaminaError, UserError
from lamina.notation.suggest import nearest
from lamina.oci.config import ImageConfig
from lamina.oci.platform import Platform, parse_platform

_SOMEWHERE = Asked(build_platform=Platform(os="linux", architecture="amd64"))
_NOTHING = Expansion(text="", words=(), matched=frozenset(), unmatched=frozenset())


class From(msgspec.Struct, frozen=True, kw_only=True):
    """A FROM. `default` is its base with no build argument given, None where that cannot be told;
    `platform` is None without the flag. `names` are all arguments that it could use.
    """

    stage: c.Stage
    default: str | None
    base: Expansion
    platform: Expansion | None
    names: tuple[str, ...]
    variables: Mapping[str, str]
    config: ImageConfig | None = None
    wanted: Platform | None = None


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A variable that a word asks for and nobody set; `meant` is one with nearly its name."""

    name: str
    meant: str | None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A command with its words expanded, and what it finds.

    `written` is the command as it stands in the file; one that came with the base image stands
    where its FROM does (`trigger`). `base` is the name of the image at the bottom; `known` says
    whether all variables of that are known. `workdir`: a WORKDIR stands above; `shell`: a SHELL
    does, or the base has one. `config` is the base's configuration, None where it is not known.
    """

    stage: c.Stage
    written: c.Command
    command: c.Command
    unknown: tuple[Unknown, ...]
    base: str
    known: bool
    config: ImageConfig | None
    os: str
    workdir: bool
    shell: bool
    trigger: bool


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything there is to see above `error`."""

    froms: tuple[From, ...] = ()
    steps: tuple[Step, ...] = ()
    error: LaminaError | None = None


def evaluate(project: Project) -> Evaluation:
    """Of a file with an error there is nothing: no build gets beyond its syntax."""
    dockerfile = project.dockerfile
    if dockerfile.error is not None or not dockerfile.stages:
        return Evaluation()
    walk = _Walk(project)
    error: LaminaError | None = None
    try:
        walk.run()
    except LaminaError as problem:
        error = problem
    return Evaluation(froms=tuple(walk.froms), steps=tuple(walk.steps), error=error)


class _Listening(Lexer, frozen=True, kw_only=True):
    """A lexer that remembers every word it expanded."""

    heard: list[Expansion]

    def expand(self, source: str, env: Mapping[str, str]) -> Expansion:
        expansion = super().expand(source, env)
        self.heard.append(expansion)
        return expansion


class _State(msgspec.Struct, kw_only=True):
    """A stage while it is walked."""

    base: str
    config: ImageConfig | None
    known: bool
    os: str
    variables: Variables
    declared: frozenset[str] = frozenset()
    workdir: bool = False
    shell: bool = False

    def inherited(self) -> _State:
        return replace(self, variables=self.variables.copy())


class _Walk:
    """One run of `evaluate`."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.asked = project.asked or _SOMEWHERE
        self.stages = project.dockerfile.stages
        self.lexer = Lexer(escape=project.dockerfile.syntax.escape)
        self.platform = self.asked.platform or self.asked.build_platform
        self.table = StageTable()
        self.froms: list[From] = []
        self.steps: list[Step] = []
        self.ends: dict[int, _State] = {}
        self.globals: dict[str, str] = {}

    def run(self) -> None:
        defaults = self._defaults()
        self.globals = self._arguments(self.asked.build_args)
        declared = {
            arg.key for command in self.project.dockerfile.arguments for arg in command.args
        }
        names = tuple(sorted({*self.globals, *declared}))
        states = [
            self._from(number, stage, defaults.get(number), names)
            for number, stage in enumerate(self.stages)
        ]
        needed = self._needed(states)
        for state in states:
            if state not in needed or state.named:
                continue
            with self._lenient():
                self._stage(state)

    def _lenient(self) -> contextlib.AbstractContextManager[object]:
        """Errors end the walk of a certain build only."""
        if self.project.asked is not None:
            return contextlib.nullcontext()
        return contextlib.suppress(LaminaError)

    def _arguments(self, build_args: Mapping[str, str]) -> dict[str, str]:
        target = self.asked.target or self.stages[-1].name
        predefined = platform_arguments(self.asked.build_platform, self.platform, target)
        overridden = {name: self.asked.build_args.get(name, v) for name, v in predefined.items()}
        with self._lenient():
            return global_arguments(
                self.project.dockerfile.arguments,
                predefined=overridden,
                build_args=build_args,
                lexer=self.lexer,
            )
        return overridden

    def _defaults(self) -> dict[int, str]:
        """The bases as they are without build arguments, up to the first that cannot be told."""
        found: dict[int, str] = {}
        with contextlib.suppress(LaminaError):
            arguments = self._arguments({})
            for number, stage in enumerate(self.stages):
                found[number] = self.lexer.word(stage.base_name, arguments)
        return found

    def _from(
        self, number: int, stage: c.Stage, default: str | None, names: tuple[str, ...]
    ) -> StageState:
        base = self._expanded(stage.base_name, stage)
        platform = self._expanded(stage.platform, stage) if stage.platform else None
        line = From(
            stage=stage,
            default=default,
            base=base,
            platform=platform,
            names=names,
            variables=self.globals,
        )
        self.froms.append(line)
        state = StageState(stage=stage, label=stage.name or f"stage-{number}", base_name=base.text)
        with self._lenient():
            if not base.text:
                raise UserError(
                    f"base name ({stage.base_name}) should not be blank", span=stage.span
                )
            if platform is not None:
                state.platform = self._platform(platform, stage)
        state.named = stage.name in self.asked.contexts and stage.name not in ("", SCRATCH)
        self.table.add(state)
        self.froms[-1] = replace(
            line,
            config=self._config(state) if state.base is None else None,
            wanted=state.platform or self.platform,
        )
        return state

    def _platform(self, expansion: Expansion, stage: c.Stage) -> Platform:
        if not expansion.text:
            message = f"empty platform value from expression {stage.platform}"
            raise UserError(message, span=stage.span)
        try:
            return parse_platform(expansion.text, host=self.asked.build_platform)
        except UserError as error:
            error.place(stage.span)
            raise

    def _expanded(self, word: str, stage: c.Stage) -> Expansion:
        with self._lenient():
            try:
                return self.lexer.expand(word, self.globals)
            except LaminaError as error:
                error.place(stage.span)
                raise
        return _NOTHING

    def _needed(self, states: list[StageState]) -> set[StageState]:
        """The stages that count, with the commands of all of them made ready."""
        for state in states:
            with self._lenient():
                state.commands = [
                    *(self.table.step(one, self.lexer) for one in state.stage.commands)
                ]
        for state in states:
            state.commands[:0] = self._triggers(state)
        if self.asked.all_stages and not self.asked.target:
            return set(states)
        return self.table.reachable(self.table.target(self.asked.target))

    def _triggers(self, state: StageState) -> list[StepCommand]:
        """The commands that the base left for those who build on it."""
        expressions: Iterable[str] = ()
        if state.base is not None:
            expressions = [
                step.command.expression
                for step in state.base.commands
                if isinstance(step.command, c.OnbuildCommand) and not step.from_trigger
            ]
        elif (config := self._config(state)) is not None:
            expressions = config.config.on_build or ()
        steps: list[StepCommand] = []
        with self._lenient():
            for expression in expressions:
                command = parse_trigger(expression, image=state.stage.base_name)
                placed = replace(command, span=state.stage.span, comments=())
                steps.append(self.table.step(placed, self.lexer, from_trigger=True))
        return steps

    def _config(self, state: StageState) -> ImageConfig | None:
        if state.named:
            return self.project.bases.get(state.stage.name)
        if state.base_name == SCRATCH:
            return empty_image(self.platform)
        return self.project.base(state.base_name)

    def _stage(self, state: StageState) -> None:
        found = self.ends.get(id(state.base))
        now = found.inherited() if found is not None else self._bottom(state)
        self.ends[id(state)] = now
        if "PATH" not in now.variables and now.os != "windows":
            now.variables.set("PATH", DEFAULT_PATH)
        for step in state.commands:
            with self._lenient():
                try:
                    self._command(state.stage, now, step)
                except LaminaError as error:
                    error.place(step.command.span)
                    raise

    def _bottom(self, state: StageState) -> _State:
        """What a stage on an image, or on a stage that something else replaces, starts with."""
        below = state.base if state.base is not None and state.base.named else state
        config = self._config(below)
        platform = state.platform or self.platform
        variables = Variables()
        settings = config.config if config is not None else None
        for pair in (settings.env if settings is not None else None) or ():
            name, _, value = pair.partition("=")
            variables.set(name, value)
        return _State(
            base=below.base_name,
            config=config,
            known=config is not None,
            os=(config.os if config is not None else "") or platform.os,
            variables=variables,
            shell=bool(settings is not None and settings.shell),
        )

    def _command(self, stage: c.Stage, now: _State, step: StepCommand) -> None:
        written = step.command
        heard: list[Expansion] = []
        lexer = _Listening(escape=self.lexer.escape, heard=heard)
        command = expand_command(written, lexer, now.variables)
        unknown: tuple[Unknown, ...] = ()
        if isinstance(written, c.ArgCommand):
            unknown = self._declare(now, written)
        elif not isinstance(written, c.ExposeCommand):  # where BuildKit does not look
            unknown = tuple(
                one for each in heard for one in _unknown(each, now.variables, now.declared)
            )
        self.steps.append(
            Step(
                stage=stage,
                written=written,
                command=command,
                unknown=unknown,
                base=now.base,
                known=now.known,
                config=now.config,
                os=now.os,
                workdir=now.workdir,
                shell=now.shell,
                trigger=step.from_trigger,
            )
        )
        match command:
            case c.EnvCommand():
                for pair in command.env:
                    now.variables.set(pair.key, pair.value)
            case c.WorkdirCommand():
                now.workdir = True
            case c.ShellCommand():
                now.shell = True

    def _declare(self, now: _State, command: c.ArgCommand) -> tuple[Unknown, ...]:
        unknown: list[Unknown] = []
        for arg in command.args:
            value = self.asked.build_args.get(arg.key)
            if value is None and arg.value is not None:
                expansion = self.lexer.expand(arg.value, now.variables)
                unknown += _unknown(expansion, now.variables, now.declared)
                value = expansion.text
            elif value is None:
                value = self.globals.get(arg.key)
            if value is not None and arg.key not in HIDDEN_ARGUMENTS:
                now.variables.set(arg.key, value, argument=True)
            now.declared |= {arg.key}
        return tuple(unknown)


def _unknown(
    expansion: Expansion, variables: Variables, declared: frozenset[str]
) -> tuple[Unknown, ...]:
    """What a word asked for in vain. An ARG may have no value and still be there."""
    return tuple(
        Unknown(name=name, meant=nearest(name, variables, in_order=True))
        for name in sorted(expansion.unmatched - declared - HIDDEN_ARGUMENTS)
    )
