"""Lowering: a Dockerfile becomes a graph of operations and an image configuration.

    parse ──▶ stages, with their bases expanded ──▶ who copies from whom ──▶ bases resolved (and
    their ONBUILD triggers, which may need stages again) ──▶ the commands of every needed stage, in
    order

Only the target's stage and what it needs are resolved and lowered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from lamina.dockerfile import lower_copy, lower_run, metadata
from lamina.dockerfile.base import Base, Bases
from lamina.dockerfile.draft import ConfigDraft, empty_image
from lamina.dockerfile.environment import (
    DEFAULT_PATH,
    global_arguments,
    platform_arguments,
    proxy_variables,
)
from lamina.dockerfile.epoch import VARIABLE, resolve_epoch
from lamina.dockerfile.expansion import Expansion, Lexer
from lamina.dockerfile.frontend import check_frontend
from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.instructions.parse import parse, parse_trigger
from lamina.dockerfile.local import as_layers
from lamina.dockerfile.parser import parse_syntax
from lamina.dockerfile.platforms import platform_of, stated
from lamina.dockerfile.request import Lowered, LoweringRequest
from lamina.dockerfile.scope import Scope
from lamina.dockerfile.stages import SCRATCH, StageState, StageTable, StepCommand
from lamina.errors import LaminaError, UserError
from lamina.graph.ops import LocalOp, ScratchOp
from lamina.graph.vertex import Vertex
from lamina.notation.gostrings import quote
from lamina.notation.suggest import did_you_mean, nearest
from lamina.oci.config import ImageConfig
from lamina.oci.platform import Platform, normalized, parse_platform
from lamina.oci.reference import Reference, parse_reference

_STEPS = (c.AddCommand, c.CopyCommand, c.RunCommand, c.WorkdirCommand)
_COMMON_IMAGES = ("alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora")


def lower(request: LoweringRequest, bases: Bases) -> Lowered:
    """Raises UserError for what is wrong in the Dockerfile, and what `bases` raises."""
    return _Lowering(request, bases).run()


class _Lowering:
    """One run of `lower`."""

    def __init__(self, request: LoweringRequest, bases: Bases) -> None:
        check_frontend(request)
        syntax = parse_syntax(request.dockerfile)
        self.request = request
        self.bases = bases
        self.stages, meta_args = parse(syntax)
        if not self.stages:
            raise UserError("dockerfile contains no stages to build")
        self.lexer = Lexer(escape=syntax.escape)
        self.platform = request.platform or request.build_platform
        target = request.target or self.stages[-1].name
        arguments = global_arguments(
            meta_args,
            predefined=platform_arguments(request.build_platform, self.platform, target),
            build_args=request.build_args,
            lexer=self.lexer,
        )
        self.epoch = resolve_epoch(request, arguments, self.stages, lexer=self.lexer, bases=bases)
        arguments = self._with_epoch(arguments)
        request = replace(request, build_args=self._with_epoch(request.build_args))
        self.request = request
        self.table = StageTable()
        self.scope = Scope(
            request=request,
            lexer=self.lexer,
            global_arguments=arguments,
            epoch=self.epoch,
            proxies=proxy_variables(request.build_args),
            context=Vertex(op=LocalOp(name="context"), name="[internal] load build context"),
            table=self.table,
        )

    def _with_epoch(self, arguments: Mapping[str, str]) -> dict[str, str]:
        """The arguments with the time itself, where a name of something stood for it."""
        found = {**arguments}
        if VARIABLE in found and self.epoch is None:
            del found[VARIABLE]
        elif VARIABLE in found:
            found[VARIABLE] = str(self.epoch)
        return found

    def run(self) -> Lowered:
        for index, stage in enumerate(self.stages):
            self._register(index, stage)
        target = self.table.target(self.request.target)
        for state in tuple(self.table.states):
            state.commands = [
                self.table.step(command, self.lexer) for command in state.stage.commands
            ]
        self.table.check_circles()
        if len(self.table.states) == 1:
            self.table.states[0].label = ""
        for state in self.table.states:
            if state.base is None and state.base_name != SCRATCH:
                _reference(state)  # also of stages that nothing needs
        needed = self._resolve(target)
        for state in tuple(self.table.states):
            if state in needed and not state.lowered:
                self._lower_stage(state)
        return self._finish(target)

    def _register(self, index: int, stage: c.Stage) -> None:
        arguments = self.scope.global_arguments
        name = self._expand_base(stage.base_name, stage).text
        if not name:
            raise UserError(f"base name ({stage.base_name}) should not be blank", span=stage.span)
        state = StageState(stage=stage, label=stage.name or f"stage-{index}", base_name=name)
        if stage.platform:
            state.platform = self._stage_platform(stage, arguments)
        if stage.name and stage.name != SCRATCH:
            state.named = self.bases.has_context(stage.name, state.platform or self.platform)
        self.table.add(state)
        if state.base is None and name != SCRATCH:
            state.total = 1
        state.total += sum(isinstance(command, _STEPS) for command in stage.commands)
        if self.request.no_cache:
            state.forced = "--no-cache"
        elif stage.name and stage.name.lower() in map(str.lower, self.request.no_cache_stages):
            state.forced = "--no-cache-filter"

    def _expand_base(self, word: str, stage: c.Stage) -> Expansion:
        try:
            return self.lexer.expand(word, self.scope.global_arguments)
        except LaminaError as error:
            error.span = error.span or stage.span
            raise

    def _stage_platform(self, stage: c.Stage, arguments: dict[str, str]) -> Platform:
        expansion = self._expand_base(stage.platform, stage)
        try:
            if not expansion.text:
                raise UserError(f"empty platform value from expression {stage.platform}")
            return parse_platform(expansion.text, host=self.request.build_platform)
        except UserError as error:
            error.span = stage.span
            for unknown in sorted(expansion.unmatched):
                message = did_you_mean(error.message, unknown, arguments)
                if message != error.message:
                    raise UserError(message, span=stage.span) from None
            raise

    def _resolve(self, target: StageState) -> set[StageState]:
        """Resolve the bases of all needed stages; their triggers may make more of them needed."""
        while True:
            needed = self.table.reachable(target)
            for state in [s for s in self.table.states if s in needed]:
                if state.base is None and not state.lowered and not state.resolved:
                    state.resolved = True
                    self._resolve_base(state)
            added = [self._add_triggers(s) for s in self.table.states if s in needed]
            if not any(added):
                return needed

    def _resolve_base(self, state: StageState) -> None:
        platform = state.platform or self.platform
        if state.named:
            self._resolve_named(state, platform)
        elif state.base_name == SCRATCH:
            state.vertex = Vertex(op=ScratchOp())
            state.draft = ConfigDraft.of(empty_image(self.platform))
            state.platform = self.platform
        else:
            try:
                base = self._find_base(state, platform)
            except LaminaError as error:
                error.place(state.stage.span)
                raise
            self._stand_on(state, base, platform)
        if not state.registered:
            state.lowered = True

    def _resolve_named(self, state: StageState, platform: Platform) -> None:
        """A context of the stage's name takes the place of the stage."""
        base = self.bases.named_context(state.stage.name, platform)
        assert base is not None
        self._stand_on(state, base, platform)
        if base.config is not None and base.config.os and base.config.architecture:
            state.platform = platform_of(base.config)
        state.lowered = True

    def _find_base(self, state: StageState, platform: Platform) -> Base:
        reference = _reference(state)
        name = f"FROM {reference}"
        if state.registered:
            name = self.scope.step_name(state, name)
        named = self.bases.named_context(str(reference), platform)
        if named is not None:
            return named
        try:
            return self.bases.image(reference, platform, name=name)
        except LaminaError as error:
            failed = f"{state.base_name}: failed to resolve source metadata for {reference}"
            known = [*self.table.names(), *_COMMON_IMAGES]
            error.message = did_you_mean(
                f"{failed}: {error.message}", state.base_name, known, ignore_case=True
            )
            error.word = state.base_name
            error.hint = error.hint or _how_else(state, self.table.names())
            raise

    def _stand_on(self, state: StageState, base: Base, platform: Platform) -> None:
        config = base.config or empty_image(platform)
        state.base_image = base.config
        state.vertex = base.vertex
        if state.registered and not state.named:
            state.vertex = _in_layers(base.vertex)
        state.draft = ConfigDraft.of(replace(config, created=None))
        if state.platform is None or state.named:
            state.platform = self._platform_of(config, platform)

    def _platform_of(self, config: ImageConfig, wanted: Platform) -> Platform:
        """Without --platform a stage takes its base image's platform, if the machine can run it."""
        if self.request.platform is None and (config.os, config.architecture) != (
            wanted.os,
            wanted.architecture,
        ):
            build = self.request.build_platform
            if (config.os, config.architecture) == (build.os, build.architecture):
                return build
        return wanted

    def _add_triggers(self, state: StageState) -> bool:
        """Put the ONBUILD triggers of the base in front of the commands, once."""
        if state.triggers_added or (state.base is None and state.draft is None):
            return False
        state.triggers_added = True
        if state.base is not None:
            expressions = [
                step.command.expression
                for step in state.base.commands
                if isinstance(step.command, c.OnbuildCommand)
            ]
        else:
            assert state.draft is not None
            expressions = list(state.draft.onbuild)
            state.draft.onbuild = ()
        if not expressions or not state.registered or state.named:
            return False
        steps = [self._trigger(expression, state.stage) for expression in expressions]
        state.commands[:0] = steps
        state.total += len(steps)
        return any(step.sources for step in steps)

    def _trigger(self, expression: str, stage: c.Stage) -> StepCommand:
        command = parse_trigger(expression, image=stage.base_name)
        return self.table.step(replace(command, span=stage.span), self.lexer, from_trigger=True)

    def _lower_stage(self, state: StageState) -> None:
        if state.base is not None:
            self._inherit(state, state.base)
        assert state.draft is not None
        state.lowered = True
        if state.platform is None:
            state.platform = self.platform
        draft = state.draft
        if "PATH" not in draft.env and state.platform.os != "windows":
            draft.env["PATH"] = DEFAULT_PATH
        for name, value in draft.env.items():
            state.variables.set(name, value)
        if draft.working_dir:
            metadata.set_workdir(state, draft.working_dir)
        state.user = draft.user
        for step in state.commands:
            try:
                self._lower_command(state, step)
            except LaminaError as error:
                error.span = error.span or step.command.span
                raise

    def _inherit(self, state: StageState, base: StageState) -> None:
        assert base.draft is not None
        assert base.vertex is not None
        state.vertex = _in_layers(base.vertex)
        state.platform = base.platform
        state.draft = base.draft.inherit()
        state.base_image = base.base_image
        state.arguments = [*base.arguments]
        state.variables = base.variables.copy()

    def _lower_command(self, state: StageState, step: StepCommand) -> None:
        command = self.scope.expand(state, step.command)
        if isinstance(command, c.RunCommand):
            lower_run.lower_run(self.scope, state, command, step)
        elif isinstance(command, c.AddCommand | c.CopyCommand):
            lower_copy.lower_copy(self.scope, state, command, step)
        elif isinstance(command, c.WorkdirCommand):
            lower_copy.lower_workdir(self.scope, state, command, step)
        else:
            metadata.apply(self.scope, state, command)

    def _finish(self, target: StageState) -> Lowered:
        draft, vertex = target.draft, target.vertex
        assert draft is not None
        assert vertex is not None
        vertex = _in_layers(vertex)
        if self.request.labels:
            draft.labels = {**(draft.labels or {}), **self.request.labels}
        config = draft.freeze()
        platform = platform_of(config)
        if self.request.platform is not None:
            platform = stated(self.request.platform, platform)
        platform = normalized(platform)
        config = replace(
            config,
            os=platform.os,
            architecture=platform.architecture,
            variant=platform.variant,
            os_version=platform.os_version,
            os_features=platform.os_features,
        )
        return Lowered(
            vertex=vertex,
            config=config,
            platform=platform,
            epoch=self.epoch,
            base_history=len(target.base_image.history or ()) if target.base_image else 0,
        )


def _reference(state: StageState) -> Reference:
    """The image that a stage stands on. Raises UserError."""
    try:
        return parse_reference(state.base_name).with_default_tag()
    except UserError as error:
        error.message = f"failed to parse stage name {quote(state.base_name)}: {error.message}"
        error.word = state.base_name
        error.place(state.stage.span)
        raise


def _in_layers(vertex: Vertex) -> Vertex:
    """A directory of the machine has to be copied before something can be put upon it."""
    return as_layers(vertex) if isinstance(vertex.op, LocalOp) else vertex


def _how_else(state: StageState, stages: Sequence[str]) -> str:
    """What to do about an image that is not there."""
    meant = nearest(state.base_name, stages, ignore_case=True)
    if meant is not None:
        return f"no stage is called {state.base_name}: did you mean the stage {meant}?"
    if "@" in state.base_name:
        return "is it the right digest?"
    return (
        "an image need not come from a registry: --build-context "
        f"{state.base_name}=oci-layout://PATH, or lamina import ARCHIVE {state.base_name}"
    )
