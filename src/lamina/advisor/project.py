"""What rules look at: a project as values. They read nothing themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from lamina.context.survey import Survey
from lamina.dockerfile.instructions.commands import ArgCommand, Command, Stage
from lamina.dockerfile.syntax import Instruction, Syntax
from lamina.errors import LaminaError, UserError
from lamina.oci.config import ImageConfig
from lamina.oci.platform import Platform
from lamina.oci.reference import parse_reference
from lamina.source import SourceFile

if TYPE_CHECKING:
    from lamina.advisor.evaluation import Evaluation


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


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """The texts of a project, which fixes change. `ignore` is its ignore file, None where there is
    none; `workflows` are files that call builders: of continuous integration, compose and bake.
    """

    dockerfile: SourceFile
    ignore: SourceFile | None = None
    workflows: tuple[SourceFile, ...] = ()

    def all(self) -> tuple[SourceFile, ...]:
        """Every file there is."""
        return (self.dockerfile, *self.workflows, *((self.ignore,) if self.ignore else ()))


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The build that a project is looked at for.

    `all_stages`: every stage counts, and not only the target and what it needs. `platform` is None
    where the build does not say one. `contexts` are the names that --build-context gives.
    """

    build_platform: Platform
    platform: Platform | None = None
    target: str = ""
    build_args: Mapping[str, str] = msgspec.field(default_factory=dict)
    contexts: frozenset[str] = frozenset()
    all_stages: bool = True


def _unknown(path: bytes) -> str | None:
    """Of a project without files nothing is known."""


class Project(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A Dockerfile and what is known around it; what is None is not known, and no rule guesses.

    `sources` holds the Dockerfile's text, too. `bases` are configurations of base images that are
    at hand, by their names. `asked` is None where no certain build is meant. `text` gives what
    stands in a small file of the context, None where that is not known.
    """

    dockerfile: Dockerfile
    sources: Sources
    context: Survey | None = None
    bases: Mapping[str, ImageConfig] = msgspec.field(default_factory=dict)
    asked: Asked | None = None
    text: Callable[[bytes], str | None] = _unknown

    def base(self, name: str) -> ImageConfig | None:
        """The configuration of a base image by any of its names."""
        if name in self.bases:
            return self.bases[name]
        try:
            return self.bases.get(str(parse_reference(name).with_default_tag()))
        except UserError:
            return None

    @cached_property
    def evaluation(self) -> Evaluation:
        """What its words come to; worked out once for all rules."""
        from lamina.advisor.evaluation import evaluate

        return evaluate(self)


Read = Callable[[Sources], Project]
"""Looks at a project anew, with texts that need not be on disk."""
