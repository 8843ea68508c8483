"""The attributes of `--cache-from` and `--cache-to` that all places have, checked before anything
is built. A place adds its own keys (`ref`, `dest` …) when it has them checked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

import msgspec

from lamina.content.compression import Compression
from lamina.errors import UsageError
from lamina.notation.boolean import parse_bool
from lamina.notation.sizes import parse_duration
from lamina.notation.suggest import nearest

_READ_KEYS = frozenset(
    ("base", "layout", "mounts", "read-only", "scope", "timeout", "verify"),
)
_WRITE_KEYS = frozenset(
    (
        *("background", "base", "compression", "compression-level", "force-compression"),
        *("ignore-error", "layout", "min-cost", "mode", "mounts", "scope", "sign", "timeout"),
        "verify",
    )
)
ALL_MOUNTS = "all"


class Mode(Enum):
    """Of which steps the layers are sent: those of the final images, or all."""

    MIN = "min"
    MAX = "max"


class Layout(Enum):
    """One document that the last writer replaces, or immutable entries that readers merge."""

    SINGLE = "single"
    RECORDS = "records"


class CacheForm(msgspec.Struct, frozen=True, kw_only=True):
    """How layers are compressed. `level` None is the compression's own default; `force` also
    compresses those anew that came from another cache.
    """

    compression: Compression = Compression.GZIP
    level: int | None = None
    force: bool = False


class CacheOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the common attributes say.

    `min_cost` and `timeout` are in seconds (`timeout` None: no limit). `scope` and `base` are those
    of `layout=records`. `mounts` are ids of cache mounts, `all`, or nothing. `sign` and `verify`
    are paths of key files, "" for none. `read_only` forbids this build to write to that place.
    """

    mode: Mode = Mode.MIN
    form: CacheForm = CacheForm()
    ignore_error: bool = True
    layout: Layout = Layout.SINGLE
    scope: str = ""
    base: str = ""
    min_cost: float = 0.0
    timeout: float | None = None
    background: bool = False
    read_only: bool = False
    sign: str = ""
    verify: str = ""
    mounts: tuple[str, ...] = ()


def parse_cache_options(
    attributes: Mapping[str, str], *, kind: str, writes: bool, more: Iterable[str]
) -> CacheOptions:
    """The common attributes of a place of type `kind`; `more` are its own keys, left to it.

    Raises UsageError for an unknown attribute, naming the nearest, and for a bad value.
    """
    flag = "--cache-to" if writes else "--cache-from"
    known = (_WRITE_KEYS if writes else _READ_KEYS) | frozenset(more)
    for key in attributes:
        _check_known(key, known, other=_READ_KEYS | _WRITE_KEYS, kind=kind, flag=flag)
    layout = Layout(_word(attributes, "layout", "single", [each.value for each in Layout]))
    own_scope = "scope" in more  # gha has scopes of its own
    for key in ("scope", "base"):
        if key in attributes and layout is not Layout.RECORDS and not own_scope:
            raise UsageError(f"{flag}: {key}= belongs to layout=records", hint="add layout=records")
    return CacheOptions(
        mode=Mode(_word(attributes, "mode", "min", [each.value for each in Mode])),
        form=_form(attributes),
        ignore_error=boolean(attributes, "ignore-error", default=True),
        layout=layout,
        scope=attributes.get("scope", ""),
        base=attributes.get("base", ""),
        min_cost=_seconds(attributes, "min-cost") or 0.0,
        timeout=_seconds(attributes, "timeout"),
        background=boolean(attributes, "background", default=False),
        read_only=boolean(attributes, "read-only", default=False),
        sign=attributes.get("sign", ""),
        verify=attributes.get("verify", ""),
        mounts=tuple(
            each for each in attributes.get("mounts", "").replace(",", ";").split(";") if each
        ),
    )


def required(attributes: Mapping[str, str], key: str, *, kind: str, writes: bool) -> str:
    """The value of an attribute that must be there. Raises UsageError."""
    value = attributes.get(key, "")
    if not value:
        flag = "--cache-to" if writes else "--cache-from"
        raise UsageError(f"{flag} type={kind}: {key} is required", hint=f"add {key}=…")
    return value


def boolean(attributes: Mapping[str, str], key: str, *, default: bool) -> bool:
    """The value of a switch; without a value it is on. Raises UsageError."""
    text = attributes.get(key)
    if text is None:
        return default
    value = parse_bool(text or "true")
    if value is None:
        raise UsageError(f"{key}={text}: write true or false")
    return value


def _check_known(
    key: str, known: frozenset[str], *, other: frozenset[str], kind: str, flag: str
) -> None:
    if key in known:
        return
    if key in other:
        against = "--cache-from" if flag == "--cache-to" else "--cache-to"
        raise UsageError(f"{flag} type={kind}: {key} is an attribute of {against}")
    near = nearest(key, known)
    raise UsageError(
        f"{flag}: type={kind} has no attribute {key!r}"
        + (f" (did you mean {near}?)" if near else ""),
        hint=f"it has {', '.join(sorted(known))}",
    )


def _word(attributes: Mapping[str, str], key: str, default: str, known: list[str]) -> str:
    text = attributes.get(key, default)
    if text in known:
        return text
    near = nearest(text, known)
    raise UsageError(
        f"{key}={text}: there is no such {key}" + (f" (did you mean {near}?)" if near else ""),
        hint=f"there are {', '.join(known)}",
    )


def _form(attributes: Mapping[str, str]) -> CacheForm:
    if attributes.get("compression") == "estargz":
        raise UsageError(
            "compression=estargz is not supported: layers are fetched whole, and only those that"
            " a step needs",
            hint="write gzip or zstd",
        )
    known = [kind.value for kind in Compression]
    level = attributes.get("compression-level")
    if level is not None and not level.lstrip("-").isdigit():
        raise UsageError(f"compression-level={level}: it is not a number")
    return CacheForm(
        compression=Compression(_word(attributes, "compression", "gzip", known)),
        level=int(level) if level is not None else None,
        force=boolean(attributes, "force-compression", default=False),
    )


def _seconds(attributes: Mapping[str, str], key: str) -> float | None:
    """Seconds as a number, or with units (`90s`, `5m`)."""
    text = attributes.get(key)
    if text is None:
        return None
    try:
        value = float(text) if text.replace(".", "", 1).isdigit() else parse_duration(text) / 1e9
    except ValueError:
        raise UsageError(f"{key}={text}: it is not a time", hint=f"write {key}=30s") from None
    if value < 0:
        raise UsageError(f"{key}={text}: a time cannot be negative")
    return value
