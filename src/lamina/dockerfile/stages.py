"""The stages of a Dockerfile while they are lowered: names, dependencies, reachability.

A stage is *registered* when a FROM makes it. An image or context that is named only by a `--from`
or a mount gets a stage of its own, unregistered, which has no commands.
"""

from __future__ import annotations

import msgspec

from lamina.dockerfile.draft import ConfigDraft
from lamina.dockerfile.environment import Variables
from lamina.dockerfile.expansion import Lexer
from lamina.dockerfile.instructions.commands import (
    Command,
    CopyCommand,
    KeyValueOptional,
    RunCommand,
    Stage,
)
from lamina.errors import UserError
from lamina.graph.vertex import Vertex
from lamina.notation.suggest import did_you_mean
from lamina.oci.config import ImageConfig
from lamina.oci.platform import Platform
from lamina.source import Span

SCRATCH = "scratch"


class CircularDependency(UserError):
    """Stages copy from each other in a circle."""


class UnknownStage(UserError):
    """No stage has the name that --target or a --from says."""


class StepCommand(msgspec.Struct, eq=False):
    """A command of a stage, and the stages that it copies or mounts from (None: no stage)."""

    command: Command
    sources: tuple[StageState | None, ...] = ()
    from_trigger: bool = False


class StageState(msgspec.Struct, eq=False):
    """A stage on its way from syntax to graph.

    `vertex`, `draft` and `variables` are what the stage's commands have made so far. `label` is the
    name in steps, "" where the only stage has none. `lowered` is true once `vertex` is final.
    """

    stage: Stage
    label: str = ""
    base_name: str = ""
    base: StageState | None = None
    named: bool = False
    registered: bool = True
    platform: Platform | None = None
    commands: list[StepCommand] = msgspec.field(default_factory=list)
    vertex: Vertex | None = None
    draft: ConfigDraft | None = None
    base_image: ImageConfig | None = None
    variables: Variables = msgspec.field(default_factory=Variables)
    arguments: list[KeyValueOptional] = msgspec.field(default_factory=list)
    cwd: str = "/"
    user: str = ""
    forced: str = ""
    total: int = 0
    position: int = 0
    resolved: bool = False
    triggers_added: bool = False
    lowered: bool = False

    @property
    def dependencies(self) -> list[StageState]:
        if self.named:
            return []
        return [s for step in self.commands for s in step.sources if s is not None]


class StageTable:
    """All stages, in the order of the file; those of a --from alone come after them."""

    def __init__(self) -> None:
        self.states: list[StageState] = []
        self._by_name: dict[str, StageState] = {}

    def add(self, state: StageState) -> None:
        """Add a stage; it is built on an earlier one if its base is the name of that."""
        self.states.append(state)
        if not state.named:
            state.base = self._by_name.get(state.base_name)
        if state.stage.name:
            self._by_name[state.stage.name.lower()] = state

    def find(self, name: str) -> StageState | None:
        return self._by_name.get(name.lower())

    def at(self, index: int) -> StageState:
        if not 0 <= index < len(self.states):
            raise UnknownStage(f"invalid stage index {index}")
        return self.states[index]

    def names(self) -> list[str]:
        return [state.label for state in self.states if state.label]

    def target(self, name: str) -> StageState:
        """The stage that --target names; the last one without a name."""
        if not name:
            return self.states[-1]
        found = self.find(name)
        if found is None and name.isdigit() and int(name) < len(self.states):
            found = self.states[int(name)]
        if found is None:
            message = f'target stage "{name}" could not be found'
            raise UnknownStage(did_you_mean(message, name, self.names(), ignore_case=True))
        return found

    def step(self, command: Command, lexer: Lexer, *, from_trigger: bool = False) -> StepCommand:
        """The command with the stages it needs; those that no FROM made are added."""
        sources: tuple[StageState | None, ...] = ()
        match command:
            case CopyCommand() if command.from_:
                sources = (self._copied_from(command, lexer),)
            case RunCommand():
                sources = tuple(
                    self._source(mount.from_, command.span) if mount.from_ else None
                    for mount in command.mounts
                )
        for source in sources:
            if source is not None and not source.registered and source not in self.states:
                self.add(source)
        return StepCommand(command=command, sources=sources, from_trigger=from_trigger)

    def _copied_from(self, command: CopyCommand, lexer: Lexer) -> StageState:
        name = command.from_
        if lexer.word(name, {}) != name:
            raise UserError(
                "variable expansion is not supported for --from, define a new stage with FROM "
                "using ARG from global scope as a workaround",
                span=command.span,
            )
        if name.lstrip("+-").isdecimal():
            return self.at(int(name))
        return self._source(name, command.span)

    def _source(self, name: str, span: Span) -> StageState:
        if (known := self.find(name)) is not None:
            return known
        for state in self.states:
            if not state.registered and state.base_name == name:
                return state
        stage = Stage(span=span, original="", keyword="FROM", base_name=name)
        return StageState(stage=stage, base_name=name, registered=False)

    def check_circles(self) -> None:
        """Raises CircularDependency."""
        visited: set[StageState] = set()

        def circle(state: StageState, path: tuple[StageState, ...]) -> Span | None:
            if state in visited:
                return None
            visited.add(state)
            for step in state.commands:
                for source in step.sources:
                    if source is None:
                        continue
                    if source is state or source in path or circle(source, (*path, state)):
                        return step.command.span
            return None

        for state in self.states:
            if (span := circle(state, ())) is not None:
                raise CircularDependency(
                    f"circular dependency detected on stage: {state.label}", span=span
                )

    def reachable(self, target: StageState) -> set[StageState]:
        """What the target needs, itself included."""
        found: set[StageState] = set()
        left = [target]
        while left:
            state = left.pop()
            if state not in found:
                found.add(state)
                left += state.dependencies
                left += [state.base] if state.base is not None else []
        return found
