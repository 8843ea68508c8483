"""What all instructions of a build are lowered with, and how their words are expanded and named."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from lamina.dockerfile.environment import Variables
from lamina.dockerfile.epoch import timestamp
from lamina.dockerfile.expansion import Lexer
from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.request import LoweringRequest
from lamina.dockerfile.stages import StageState, StageTable
from lamina.errors import UserError
from lamina.graph.vertex import Vertex
from lamina.oci.platform import Platform, normalized, parse_platform


class Scope(msgspec.Struct):
    """Everything that is the same for all stages of one lowering."""

    request: LoweringRequest
    lexer: Lexer
    global_arguments: dict[str, str]
    epoch: int | None
    proxies: tuple[tuple[str, str], ...]
    context: Vertex
    table: StageTable

    @property
    def created(self) -> str | None:
        """The date of history lines, where the build has one."""
        return None if self.epoch is None else timestamp(self.epoch)

    def expand(self, state: StageState, command: c.Command) -> c.Command:
        """The command with its variables in place. ARG expands its own, by other rules."""
        return expand_command(command, self.lexer, state.variables)

    def displayed(self, text: str, variables: Mapping[str, str], *, shell: bool = False) -> str:
        """An instruction as steps show it: expanded, its keyword in upper case.

        `shell`: the text is a shell's, so quotes stay, and variables that only the shell knows.
        """
        lexer = self.lexer
        if shell:
            lexer = Lexer(escape=lexer.escape, raw_quotes=True, skip_unset=True)
        with contextlib.suppress(UserError):
            text = lexer.word(text, variables)
        keyword, blank, rest = text.partition(" ")
        return f"{keyword.upper()}{blank}{rest}"

    def step_name(self, state: StageState, text: str, *, trigger: bool = False) -> str:
        """`[linux/amd64 stage-0 2/5] RUN …`; counts the stage's steps."""
        if not state.total:
            return text
        parts = []
        if self.request.multi_platform:
            platform = state.platform or self.request.build_platform
            parts.append(f"{platform}{_cross(platform, state.variables)}")
        if state.label:
            parts.append(state.label)
        state.position += 1
        width = int(1 + math.log10(state.total))
        parts.append(f"{state.position:{width}}/{state.total}")
        return f"[{' '.join(parts)}] {'ONBUILD ' if trigger else ''}{text}"

    def locus(self, state: StageState, keyword: str) -> str:
        """Which step this is, whatever it contains (see graph.vertex)."""
        platform = state.platform or self.request.build_platform
        return f"{self.request.locus}:{platform}:{state.label}:{state.position}:{keyword}"


def expand_command(command: c.Command, lexer: Lexer, variables: Mapping[str, str]) -> c.Command:
    """The command with its variables in place, all but those of ARG. Raises UserError."""

    def word(text: str) -> str:
        return lexer.word(text, variables)

    match command:
        case c.ExposeCommand():
            return command.expand_words(lambda text: lexer.words(text, variables))
        case c.AddCommand() | c.CopyCommand():
            # Contents of heredocs keep their quotes, and their escape letter is always "\".
            raw = replace(lexer, escape="\\", skip_quotes=True)
            return command.expand(word).expand_contents(lambda text: raw.word(text, variables))
        case (
            c.EnvCommand()
            | c.LabelCommand()
            | c.RunCommand()
            | c.UserCommand()
            | c.VolumeCommand()
            | c.WorkdirCommand()
            | c.StopSignalCommand()
        ):
            return command.expand(word)
        case _:
            return command


def _cross(platform: Platform, variables: Variables) -> str:
    """`->arm64` where a stage compiles for another platform than it runs on."""
    target = variables.get("TARGETPLATFORM")
    if target is None:
        os, architecture = variables.get("TARGETOS"), variables.get("TARGETARCH")
        if not (os or architecture):
            return ""
        target = "/".join(
            filter(
                None,
                (
                    os or platform.os,
                    architecture or platform.architecture,
                    variables.get("TARGETVARIANT"),
                ),
            )
        )
    try:
        wanted = normalized(parse_platform(target, host=platform))
    except UserError:
        return ""
    if wanted.os != platform.os:
        return f"->{wanted}"
    if wanted.architecture == platform.architecture:
        return ""
    return "->" + "/".join(filter(None, (wanted.architecture, wanted.variant)))
