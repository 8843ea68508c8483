"""`lamina history`: the records of builds that lie in the store."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property

import msgspec

from lamina.cachekey.key import ListedFile
from lamina.control.recording.chronicle import RUNNING
from lamina.control.recording.retention import RECORD
from lamina.errors import HostError, UserError
from lamina.fs.remove import remove_tree
from lamina.notation.suggest import nearest
from lamina.oci.digest import encoded, parse_digest
from lamina.oci.reference import parse_reference
from lamina.trace.record import BuildRecord, DamagedRecord, Output, decode_record
from lamina.trace.steps import RecordedStep, steps_of

BUILD_ID = re.compile(r"[0-9a-f]{26}")
_BEFORE = re.compile(r"(?:latest)?\^(?P<count>\d*)")
_PREFIX = re.compile(r"[0-9a-f]{1,26}")
SHORT = 12  # letters of an id that are shown


class UnknownBuild(UserError):
    """No record of a build is called so."""


class UnknownStep(UserError):
    """The build has no step that is called so."""


class _Head(msgspec.Struct):
    """What is read of every record to find one."""

    build: str
    started: float
    context: str
    dockerfile: str = ""
    target: str = ""
    platforms: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    imported: bool = False


_HEAD = msgspec.json.Decoder(_Head)
_FILES = msgspec.msgpack.Decoder(tuple[ListedFile, ...])


class History(msgspec.Struct, dict=True):
    """The records below a store. What is read once is kept; nothing is read before it is needed."""

    folder: str
    _read: dict[str, bytes] = msgspec.field(default_factory=dict)

    @classmethod
    def of(cls, root: str) -> History:
        return cls(os.path.join(os.path.abspath(root), "history"))

    @cached_property
    def heads(self) -> tuple[_Head, ...]:
        """The builds, newest first. Records that cannot be read are passed over."""
        try:
            names = [name for name in os.listdir(self.folder) if BUILD_ID.fullmatch(name)]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise HostError(f"cannot read {self.folder}: {error.strerror}") from None
        heads = []
        for name in names:
            try:
                heads.append(_HEAD.decode(self.data(name)))
            except (msgspec.DecodeError, UnknownBuild):
                continue
        return tuple(sorted(heads, key=lambda head: -head.started))

    def data(self, build: str) -> bytes:
        """The record as it lies there; that of a build which has not ended as far as it is."""
        if build in self._read:
            return self._read[build]
        for name in (RECORD, RUNNING):
            try:
                with open(self.path(build, name), "rb") as file:
                    self._read[build] = file.read()
                return self._read[build]
            except FileNotFoundError:
                continue
            except OSError as error:
                raise HostError(f"cannot read {self.path(build, name)}: {error.strerror}") from None
        raise UnknownBuild(f"there is no record of build {build}")

    def path(self, build: str, name: str = "") -> str:
        """Where a build's files are."""
        return os.path.join(self.folder, build, name) if name else os.path.join(self.folder, build)

    def record(self, build: str) -> BuildRecord:
        """Raises DamagedRecord."""
        name = f"the record of build {build[:SHORT]} ({self.path(build, RECORD)})"
        return decode_record(self.data(build), name=name)

    def records(self) -> Iterator[BuildRecord]:
        """All that can be read, newest first."""
        for head in self.heads:
            try:
                yield self.record(head.build)
            except DamagedRecord:
                continue

    def find(self, text: str) -> BuildRecord:
        """The build that `text` names: `latest`, `^1` (the one before), the beginning of an id, the
        name or the digest of an image. Raises UnknownBuild.
        """
        own = [head.build for head in self.heads if not head.imported]
        if not self.heads:
            raise UnknownBuild(
                f"no build is recorded in {self.folder}", hint="run lamina build, then ask again"
            )
        back = _BEFORE.fullmatch(text)
        if text in ("", "latest") or back:
            count = int(back["count"] or 1) if back else 0
            if count >= len(own):
                raise UnknownBuild(
                    f"no build is {count} before the latest: there are {len(own)}"
                    if own
                    else "only imported builds are recorded",
                    hint="lamina history ls",
                )
            return self.record(own[count])
        return self.record(self._named(text))

    def _named(self, text: str) -> str:
        if _PREFIX.fullmatch(text):
            found = [head.build for head in self.heads if head.build.startswith(text)]
            if len(found) == 1:
                return found[0]
            if found:
                listed = ", ".join(build[:SHORT] for build in found[:5])
                raise UnknownBuild(f"several builds begin with {text}: {listed}")
        name = _familiar(text)
        for head in self.heads:
            made = {digest for output in head.outputs for digest in (output.digest, output.image)}
            hexes = {digest.removeprefix("sha256:") for digest in made if digest}
            if name in head.tags or any(
                len(text) >= 8 and digest.startswith(text.removeprefix("sha256:"))
                for digest in hexes
            ):
                return head.build
        raise UnknownBuild(f"no build is called {text}", hint=self._hint(text))

    def _hint(self, text: str) -> str:
        tags = dict.fromkeys(tag for head in self.heads for tag in head.tags)
        ids = [head.build[: max(len(text), 6)] for head in self.heads]
        short = {tag.removesuffix(":latest"): tag for tag in tags}
        near = nearest(text, [*tags, *short, *ids, "latest"])
        return f"did you mean {near}?" if near else "lamina history ls shows them"

    def earlier(self, record: BuildRecord) -> BuildRecord | None:
        """The build to compare with: of the same Dockerfile, context, target and platforms, or of
        as much of that as there is; one that succeeded, if any did.
        """

        def alike(head: _Head) -> bool:
            return (
                not head.imported
                and head.build != record.build
                and head.started < record.started
                and (head.context, head.dockerfile) == (record.context, record.dockerfile)
            )

        fallback = None
        heads = [head for head in self.heads if alike(head)]
        same = (record.target, record.platforms)
        heads.sort(key=lambda head: (head.target, head.platforms) != same)
        for head in heads:
            try:
                found = self.record(head.build)
            except DamagedRecord:
                continue
            if found.outcome == "succeeded":
                return found
            fallback = fallback or found
        return fallback

    def holding(self, text: str, *, before: float) -> Iterator[BuildRecord]:
        """Records of earlier builds of this store with `text` in them, newest first."""
        needle = text.encode()
        for head in self.heads:
            if head.imported or head.started >= before or needle not in self.data(head.build):
                continue
            try:
                yield self.record(head.build)
            except DamagedRecord:
                continue

    def listing(self, build: str, digest: str) -> tuple[ListedFile, ...] | None:
        """A listing that came with an imported build."""
        import zlib

        path = self.path(build, f"listings/{encoded(parse_digest(digest))}")
        try:
            with open(path, "rb") as file:
                return _FILES.decode(zlib.decompress(file.read()))
        except (OSError, zlib.error, msgspec.DecodeError):
            return None

    def remove(self, builds: Sequence[str]) -> None:
        """Raises HostError."""
        for build in builds:
            remove_tree(self.path(build))


def find_step(steps: dict[int, RecordedStep], text: str, *, build: str) -> RecordedStep:
    """The step that `text` names: `3/7`, `build 3/7`, its number in the trace, or part of what it
    says. Raises UnknownStep.
    """
    named = [step for step in steps.values() if not step.label.startswith("internal")]
    wanted = " ".join(text.split()).strip("[]")
    exact = [s for s in named if wanted in (s.label, s.position, s.text)]
    if not exact and wanted.isdecimal() and int(wanted) in steps:
        return steps[int(wanted)]
    if not exact and wanted and not wanted.isdecimal():
        exact = [s for s in named if s.line and wanted.lower() in s.text.lower()]
    if len(exact) == 1:
        return exact[0]
    if exact:
        listed = ", ".join(_called(step) for step in exact[:5])
        raise UnknownStep(f"several steps of build {build[:SHORT]} match {text!r}: {listed}")
    named = [step for step in named if step.line] or named
    names = [name for step in named for name in (step.label, step.text)]
    near = None if "/" in wanted else nearest(wanted, names, ignore_case=True)
    hint = f"did you mean {near}?" if near else "its steps: " + ", ".join(map(_called, named))
    raise UnknownStep(f"build {build[:SHORT]} has no step {text!r}", hint=hint[:400])


def _called(step: RecordedStep) -> str:
    text = step.text if len(step.text) <= 40 else step.text[:39] + "…"
    return f"[{step.label}] {text}" if step.label else text


def _familiar(text: str) -> str:
    try:
        return parse_reference(text).with_default_tag().familiar
    except UserError:
        return text


def recorded_steps(record: BuildRecord) -> dict[int, RecordedStep]:
    """The steps of a record by their number."""
    return steps_of(record.events)
