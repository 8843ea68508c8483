"""What rules look at: a project as values. They read nothing themselves."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lamina.dockerfile.instructions.commands import ArgCommand, Command, Stage
from lamina.dockerfile.syntax import Instruction, Syntax
from lamina.errors import LaminaError
from lamina.oci.config import ImageConfig
from lamina.source import SourceFile


class Dockerfile(msgspec.Struct, frozen=True, kw_only=True):
    """A Dockerfile as far as it can be understood.

    `stages` and `arguments` are those above the first error, if there is one. `nodes` gives the
    syntax node of every command and stage by where it starts.
    """

    source: SourceFile
    syntax: Syntax
    stages: tuple[Stage, ...] = ()
    arguments: tuple[ArgCommand, ...] = ()
    nodes: Mapping[int, Instruction] = msgspec.field(default_factory=dict)
    error: LaminaError | None = None

    def node(self, command: Command | Stage) -> Instruction:
        """The syntax of a typed instruction, whose span holds whole lines."""
        return self.nodes[command.span.start]


class ContextFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the build context, or one that an ignore file keeps out of it.

    `path` is relative, with slashes; `size` in bytes. `ignored_by` is the rule that keeps it out.
    """

    path: str
    size: int
    ignored_by: str = ""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A build context. `ignore_file` is None where there is none. `complete` is false where it was
    too large to be listed whole.
    """

    files: tuple[ContextFile, ...]
    ignore_file: SourceFile | None = None
    ignore_name: str = ".dockerignore"
    complete: bool = True


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A Dockerfile and what is known around it; what is None is not known, and no rule guesses.

    `workflows` are files that call builders: of continuous integration, compose and bake. `bases`
    holds configurations of base images that are at hand, by their names.
    """

    dockerfile: Dockerfile
    context: Context | None = None
    workflows: tuple[SourceFile, ...] = ()
    bases: Mapping[str, ImageConfig] = msgspec.field(default_factory=dict)
