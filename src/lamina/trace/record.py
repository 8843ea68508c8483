"""The record of a build: what was asked for, all that happened, and what came of it.

One JSON object a build (docs/history.md). Output of steps is not in it: their logs lie beside it.
No URL in a record has a user or a password, and no record has the value of a secret.
"""

from __future__ import annotations

from typing import Any

import msgspec

from lamina.errors import HostError
from lamina.notation.masking import without_credentials
from lamina.trace.events import BuildFinished, Event

FORMAT_VERSION = 1

_LATEST = 253_402_300_800.0  # the year 10000, in seconds since 1970: calendars end there


class DamagedRecord(HostError):
    """The record of a build cannot be read."""


class Output(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an output of the build became. `digest` is that of a manifest or index, `image` that of
    a single configuration; both are "" for outputs that are no image.
    """

    type: str
    digest: str = ""
    image: str = ""
    names: tuple[str, ...] = ()


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`started` in seconds since 1970. `context` is the path or URL, made absolute; `dockerfile` is
    its name and `text` what it held. `request` are the arguments of the build as they were
    understood. `sizes` are the bytes of files that a step which ran has added, by its key.
    `imported`: it came from a file.
    """

    version: int
    lamina: str
    build: str
    started: float
    context: str
    dockerfile: str = ""
    text: str = ""
    target: str = ""
    platforms: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    request: dict[str, Any] = msgspec.field(default_factory=dict)
    outputs: tuple[Output, ...] = ()
    sizes: dict[str, int] = msgspec.field(default_factory=dict)
    imported: bool = False
    events: tuple[Event, ...] = ()

    @property
    def finished(self) -> BuildFinished | None:
        """The end of the build; None while it runs, and for one that was killed."""
        return next((e for e in reversed(self.events) if isinstance(e, BuildFinished)), None)

    @property
    def outcome(self) -> str:
        """`succeeded`, `failed`, `interrupted` or `unfinished`."""
        end = self.finished
        if end is None:
            return "unfinished"
        if not end.error:
            return "succeeded"
        return "interrupted" if end.error == "interrupted" else "failed"


class _Versioned(msgspec.Struct):
    version: int


_RECORD = msgspec.json.Decoder(BuildRecord)
_VERSIONED = msgspec.json.Decoder(_Versioned)


def encode_record(record: BuildRecord) -> bytes:
    """The record as JSON, without credentials in URLs."""
    try:
        data = msgspec.json.encode(record)
    except UnicodeEncodeError:
        data = msgspec.json.encode(unicode_only(msgspec.to_builtins(record)))
    return without_credentials(data.decode()).encode() if b"://" in data else data


def decode_record(data: bytes, *, name: str) -> BuildRecord:
    """Raises DamagedRecord, also for a record of a later version. `name` is what to call it."""
    try:
        found = _VERSIONED.decode(data).version
        if found > FORMAT_VERSION:
            raise DamagedRecord(
                f"{name} has version {found} of the record's format, this Lamina knows "
                f"{FORMAT_VERSION}",
                hint="use a newer Lamina",
            )
        record = _RECORD.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise DamagedRecord(f"{name} is no record of a build: {error}") from None
    if not 0 <= record.started < _LATEST:
        raise DamagedRecord(f"{name} is no record of a build: it began at no time of a calendar")
    return record


def unicode_only(value: object) -> object:
    """The value with every byte that was no UTF-8 (a lone surrogate) replaced."""
    match value:
        case str():
            return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        case dict():
            return {unicode_only(key): unicode_only(item) for key, item in value.items()}
        case list() | tuple():
            return [unicode_only(item) for item in value]
        case _:
            return value
