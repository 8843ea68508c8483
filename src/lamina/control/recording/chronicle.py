"""Keeps the record of a running build, and the logs of its steps.

    ROOT/history/<build>/record.json    the record, once the build has ended
                        /running.json   the same so far: all there is of a build that was killed
                        /<step>.log     the whole output of a step
                        /listings/      files that key parts stand for, of imported builds

Workload: a cached build writes one small file at its end, and nothing before. A build in which a
step runs writes what was asked for once more, at that step. Rejected: appending every event to a
file as it comes (a write an event, for the sake of builds that are killed).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import msgspec

from lamina import __version__
from lamina.control.recording.retention import RECORD, Keep, trim
from lamina.control.request import BuildRequest
from lamina.dockerfile.environment import PROXIES
from lamina.exporter.port import ExportResult
from lamina.fs.publish import publish_file
from lamina.source import SourceFile
from lamina.trace import events
from lamina.trace.events import Event
from lamina.trace.record import FORMAT_VERSION, BuildRecord, Output, encode_record
from lamina.trace.verdict import Hit

RUNNING = "running.json"
_SECRET_NAMES = ("secret", "token", "password", "passwd", "access_key", "account_key")
_MASK = "xxxxx"
_PRIVATE = 0o600


class Chronicle(msgspec.Struct, kw_only=True):
    """A watcher of one build. `dockerfile` is set when it has been read."""

    folder: str
    build: str
    request: BuildRequest
    keep: Keep
    dockerfile: SourceFile | None = None
    started: float = 0.0
    _events: list[Event] = msgspec.field(default_factory=list)
    _ran: dict[str, int] = msgspec.field(default_factory=dict)
    _made: bool = False

    def __call__(self, event: Event) -> None:
        match event:
            case events.StepOutput():
                return
            case events.StepProgress(done=False):
                return
            case events.BuildStarted():
                self.started = event.started
            case events.StepDecided() if not isinstance(event.verdict, Hit):
                if not self._ran:
                    self._write_what_runs()
                self._ran[event.key] = event.step
            case _:
                pass
        self._events.append(event)

    def log(self, step: int) -> tuple[str, BinaryIO]:
        """The file that takes the output of a step, and its path. Raises OSError."""
        self._make_folder()
        path = f"{self.folder}/{step}.log"
        return path, open(path, "ab", buffering=0)

    def finish(
        self,
        kinds: Sequence[str],
        results: Sequence[ExportResult],
        size_of: Callable[[str], int | None],
    ) -> None:
        """Write the record, and drop old ones. `size_of` knows the bytes that a step, given by its
        key, has added. Raises OSError.
        """
        outputs = tuple(
            Output(
                type=kind,
                digest=result.digest or "",
                image=result.image_id or "",
                names=result.names,
            )
            for kind, result in zip(kinds, results, strict=False)
        )
        sizes = {key: size for key in self._ran if (size := size_of(key)) is not None}
        record = self._record(outputs=outputs, sizes=sizes)
        self._make_folder()
        publish_file(f"{self.folder}/{RECORD}", encode_record(record), mode=_PRIVATE)
        if self._ran:
            with contextlib.suppress(OSError):
                os.unlink(f"{self.folder}/{RUNNING}")
        history, name = os.path.split(self.folder)
        if not self.keep.builds and record.outcome == "succeeded":
            name = ""
        trim(history, self.keep, spare=name, weigh=bool(self._ran), now=time.time())

    def _record(
        self, *, outputs: tuple[Output, ...] = (), sizes: Mapping[str, int] | None = None
    ) -> BuildRecord:
        request = self.request
        return BuildRecord(
            version=FORMAT_VERSION,
            lamina=__version__,
            build=self.build,
            started=self.started,
            context=_place(request.context),
            dockerfile=self.dockerfile.name if self.dockerfile else request.dockerfile or "",
            text=self.dockerfile.text if self.dockerfile else "",
            target=request.target,
            platforms=request.platforms,
            tags=tuple(tag.familiar for tag in request.tags),
            request=masked(msgspec.to_builtins(request, enc_hook=str)),
            outputs=outputs,
            sizes=dict(sizes or {}),
            events=tuple(self._events),
        )

    def _write_what_runs(self) -> None:
        """Best effort: a build does not fail because nobody will be able to tell of it."""
        with contextlib.suppress(OSError):
            self._make_folder()
            publish_file(f"{self.folder}/{RUNNING}", encode_record(self._record()), mode=_PRIVATE)

    def _make_folder(self) -> None:
        if not self._made:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            self._made = True


def masked(request: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a build without those that are credentials (of caches and outputs), and
    without the addresses of proxies, which no key and no image knows either.

    Other build arguments and labels are what a Dockerfile makes of them, whatever they are called.
    """
    open_fields = {"build_args", "labels", "secrets"}
    kept: dict[str, Any] = {
        name: value if name in open_fields else _masked(value)
        for name, value in request.items()
        if value not in (None, "", False, 0, [], {}, ())
    }
    if "build_args" in kept:
        kept["build_args"] = {
            name: _MASK if name.lower() in PROXIES else value
            for name, value in kept["build_args"].items()
        }
    return kept


def _masked(value: object) -> object:
    match value:
        case dict():
            return {
                key: _MASK
                if isinstance(item, str) and any(word in key.lower() for word in _SECRET_NAMES)
                else _masked(item)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_masked(item) for item in value]
        case _:
            return value


def _place(context: str) -> str:
    return os.path.abspath(context) if context != "-" and "://" not in context else context
