"""What `lamina build --call` does in the place of a build: nothing runs, and nothing is written but
what is resolved of base images.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import msgspec

from lamina.advisor.checking import Report
from lamina.advisor.reading import read_dockerfile
from lamina.advisor.rule import Rule
from lamina.control.building.checks import check_instead
from lamina.control.building.session import BuildSession
from lamina.control.privileges import become_root
from lamina.control.recording.chronicle import Chronicle
from lamina.control.recording.retention import Keep
from lamina.control.request import BuildRequest
from lamina.control.store import open_store
from lamina.dockerfile.instructions.commands import Stage
from lamina.errors import LaminaError
from lamina.source import SourceFile
from lamina.trace.recorder import Recorder, Watcher


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules say; the report's error is also what a build would fail with."""

    dockerfile: SourceFile
    report: Report
    rules: tuple[Rule, ...]


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """The stages of a Dockerfile, which are what --target can name."""

    dockerfile: SourceFile
    stages: tuple[Stage, ...]


def call_check(
    request: BuildRequest,
    *,
    docker_only: bool,
    root: str,
    watchers: tuple[Watcher, ...],
    environ: Mapping[str, str],
    stdin: BinaryIO,
) -> Checked:
    """Checks a build: all rules, or Docker's own. Raises LaminaError where there is no
    Dockerfile.
    """
    with _session(request, root, watchers, environ, stdin) as build:
        problem: LaminaError | None = None
        try:
            build.lowered_first()
        except LaminaError as error:
            problem = error
        report, rules = check_instead(build.checks(), docker_only=docker_only)
        return Checked(
            dockerfile=build.inputs.dockerfile,
            report=msgspec.structs.replace(report, error=report.error or problem),
            rules=rules,
        )


def call_targets(
    request: BuildRequest,
    *,
    root: str,
    watchers: tuple[Watcher, ...],
    environ: Mapping[str, str],
    stdin: BinaryIO,
) -> Targets:
    """Lists the stages. Raises LaminaError, also for what is wrong with the Dockerfile."""
    with _session(request, root, watchers, environ, stdin) as build:
        read = read_dockerfile(build.inputs.dockerfile)
        if read.error is not None:
            raise read.error
        return Targets(dockerfile=build.inputs.dockerfile, stages=read.stages)


@contextlib.contextmanager
def _session(
    request: BuildRequest,
    root: str,
    watchers: tuple[Watcher, ...],
    environ: Mapping[str, str],
    stdin: BinaryIO,
) -> Iterator[BuildSession]:
    """The inputs of a build; of no use for later ones, so no record of it is kept."""
    limit = become_root()
    store = open_store(root)
    name = os.urandom(13).hex()
    recorder = Recorder(watchers)
    recorder.build_started(name)
    if limit:
        recorder.warn(limit)
    chronicle = Chronicle(
        folder=os.path.join(store.folder("history"), name), build=name, request=request, keep=Keep()
    )
    with BuildSession.open(request, store, recorder, chronicle, None, environ, stdin) as build:
        yield build
