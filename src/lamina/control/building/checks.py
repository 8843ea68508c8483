"""Docker's build checks as part of a build, and in the place of one (`lamina build --check`).

An ordinary build looks at its target and what that needs, and says what it finds at its end. What
it found is remembered in the index under everything that it depends on, so that a cached build
imports no rule. With `# check=error=true` a finding fails the build before a step runs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from lamina import __version__
from lamina.errors import LaminaError, UserError
from lamina.source import SourceFile, Span

if TYPE_CHECKING:
    from lamina.advisor.checking import Report
    from lamina.advisor.project import Asked
    from lamina.advisor.rule import Rule
    from lamina.cache.index import Index
    from lamina.control.building.bases import ImageBases
    from lamina.control.building.inputs import Inputs
    from lamina.control.request import BuildRequest
    from lamina.oci.platform import Platform
    from lamina.trace.recorder import Recorder

_KIND = "checks"


class LintViolation(UserError):
    """The Dockerfile says `# check=error=true`, and there are findings."""


class BuildChecks(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks of a build depend on. `platform` is that of its first image, if it says one;
    `bases` knows the images that have been resolved by now.
    """

    request: BuildRequest
    inputs: Inputs
    bases: ImageBases
    host: Platform
    platform: Platform | None

    def asked(self, *, all_stages: bool) -> Asked:
        from lamina.advisor.project import Asked

        return Asked(
            build_platform=self.host,
            platform=self.platform,
            target=self.request.target,
            build_args=self.request.build_args,
            contexts=frozenset(name.partition("::")[0] for name in self.bases.contexts),
            all_stages=all_stages,
        )

    def key(self) -> bytes:
        """Everything that decides the answer."""
        request, inputs = self.request, self.inputs
        parts = (
            __version__,
            inputs.dockerfile.text.encode("utf-8", "surrogateescape"),
            inputs.ignore.text.encode("utf-8", "surrogateescape") if inputs.ignore else None,
            request.target,
            sorted(request.build_args.items()),
            sorted(request.named_contexts),
            str(self.host),
            str(self.platform),
            sorted(str(op.digest) for op in self.bases.origins),
        )
        return hashlib.sha256(msgspec.msgpack.encode(parts)).digest()


class _Found(msgspec.Struct, frozen=True, array_like=True):
    rule: str
    message: str
    start: int
    end: int


class _Answer(msgspec.Struct, frozen=True, array_like=True):
    found: tuple[_Found, ...]
    strict: bool


def check_build(checks: BuildChecks, *, index: Index, recorder: Recorder) -> None:
    """Warns of what Docker's rules find. Raises LintViolation, and UserError for wrong options."""
    key = checks.key()
    known = index.memo(_KIND, key)
    if known is not None:
        answer = msgspec.msgpack.decode(known, type=_Answer)
    else:
        answer = _answer(checks)
        index.add_memo(_KIND, key, msgspec.msgpack.encode(answer))
    source = checks.inputs.dockerfile
    _warn(answer.found, source, recorder)
    if answer.strict and answer.found:
        names = ", ".join(dict.fromkeys(one.rule for one in answer.found))
        first = answer.found[0]
        raise LintViolation(
            f"lint violation found for rules: {names}",
            span=Span(source, first.start, first.end),
            hint="the Dockerfile asks for this with check=error=true; lamina fix mends some",
        )


def warn_failed_build(checks: BuildChecks, *, recorder: Recorder) -> None:
    """What there is to say of a Dockerfile that cannot be built: often, why."""
    try:
        found = _answer(checks).found
    except LaminaError:
        return
    _warn(found, checks.inputs.dockerfile, recorder)


def check_instead(checks: BuildChecks, *, docker_only: bool) -> tuple[Report, tuple[Rule, ...]]:
    """What the rules say of every stage (or of the target), with the rules themselves."""
    from msgspec.structs import replace

    from lamina.advisor.checking import check_project
    from lamina.advisor.ruleset import all_rules, docker_rules
    from lamina.control.check import project_of

    rules = docker_rules() if docker_only else all_rules()
    directory = checks.request.context
    around = None if docker_only or not os.path.isdir(directory) else directory
    project = project_of(checks.inputs.dockerfile, checks.inputs.ignore, around)
    asked = checks.asked(all_stages=True)
    return check_project(replace(project, asked=asked, bases=checks.bases.configs), rules), rules


def _answer(checks: BuildChecks) -> _Answer:
    from lamina.advisor.checking import check_project
    from lamina.advisor.options import file_options
    from lamina.advisor.project import Project, Sources
    from lamina.advisor.reading import read_dockerfile
    from lamina.advisor.ruleset import docker_rules

    inputs = checks.inputs
    project = Project(
        dockerfile=read_dockerfile(inputs.dockerfile),
        sources=Sources(dockerfile=inputs.dockerfile, ignore=inputs.ignore),
        bases=checks.bases.configs,
        asked=checks.asked(all_stages=False),
    )
    file_options(project)  # wrong ones fail a build
    report = check_project(project, docker_rules())
    return _Answer(
        tuple(
            _Found(one.rule, one.message, one.span.start, one.span.end) for one in report.findings
        ),
        report.strict,
    )


def _warn(found: Iterable[_Found], source: SourceFile, recorder: Recorder) -> None:
    for one in found:
        line = Span(source, one.start, one.end).line
        recorder.warn(f"{one.rule}: {one.message}", file=source.name, line=line)
