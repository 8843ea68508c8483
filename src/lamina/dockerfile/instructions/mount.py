"""`RUN --mount=…` and `RUN --device=…`: comma-separated options to values.

Shape of a mount: `type=cache,target=/root/.npm,sharing=locked`. The syntax is one line of CSV.
Source: the Dockerfile reference, "RUN --mount" and "RUN --device".
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from lamina.dockerfile.problems import MountError
from lamina.graph.mounts import Sharing
from lamina.notation.boolean import parse_bool
from lamina.notation.csv_line import CsvLineError, parse_csv_line
from lamina.notation.gostrings import quote
from lamina.notation.sizes import parse_size
from lamina.notation.suggest import did_you_mean
from lamina.source import Span


class MountType(StrEnum):
    """What `type=` names; the default is `bind`."""

    BIND = "bind"
    CACHE = "cache"
    TMPFS = "tmpfs"
    SECRET = "secret"
    SSH = "ssh"


class MountFlag(msgspec.Struct, frozen=True, kw_only=True):
    """One `--mount` of a RUN, as it is written; lowering makes a `graph.mounts.Mount` of it.

    `size` is in bytes, 0 means unlimited; `sharing` is None when the Dockerfile does not say;
    `env` is the name of a secret's variable, "" for the default one; `mode` is a number of
    permission bits.
    """

    type: MountType = MountType.BIND
    from_: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = True
    size: int = 0
    id: str = ""
    sharing: Sharing | None = None
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device that a RUN asks for, by its CDI name."""

    name: str = ""
    required: bool = False


Expander = Callable[[str], str]

_KEYS = (
    *("type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode"),
    *("uid", "gid", "src", "dst", "destination", "ro", "rw", "readwrite", "env"),
)
_MAX_UINT32 = 2**32 - 1
_MAX_DIGITS = 11  # of 2**32 in octal
_Choice = TypeVar("_Choice", bound=StrEnum)


def parse_mount(option: str, expander: Expander | None, *, span: Span | None = None) -> MountFlag:
    """One value of `--mount`. Raises MountError, and what `expander` raises.

    Without an expander only `from` is read, which takes no variables: every other value may
    still hold one.
    """
    try:
        fields = parse_csv_line(option)
    except CsvLineError as error:
        raise MountError(f"failed to parse csv mounts: {error}", span=span) from None
    try:
        if expander is None:
            return MountFlag(from_=_unexpanded_from(fields))
        return _parse_fields(fields, expander)
    except _Wrong as wrong:
        raise MountError(str(wrong), span=span) from None


class _Wrong(Exception):
    """A sentence about a wrong option, which does not yet know its place."""


def _unexpanded_from(fields: tuple[str, ...]) -> str:
    name = ""
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals or key.lower() != "from":
            continue
        if "$" in value[:-1]:
            raise _Wrong(
                f"'{key.lower()}' doesn't support variable expansion, define alias stage instead"
            )
        name = value
    return name


def _parse_fields(fields: tuple[str, ...], expander: Expander) -> MountFlag:
    mount = MountFlag()
    read_only: bool | None = None
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.lower()
        value = expander(value) if equals else ""
        match key:
            case "readonly" | "ro":
                read_only = _flag(key, value) if equals else True
            case "readwrite" | "rw":
                read_only = not _flag(key, value) if equals else False
            case "required" if mount.type not in (MountType.SECRET, MountType.SSH):
                raise _unexpected(key, mount.type)
            case "required":
                mount = replace(mount, required=_flag(key, value) if equals else True)
            case _ if not equals:
                raise _Wrong(f"invalid field '{field}' must be a key=value pair")
            case _:
                mount = _set(mount, key, value, field)
    if read_only is None:
        read_only = mount.type not in (MountType.CACHE, MountType.TMPFS)
    mount = replace(mount, read_only=read_only)
    _check(mount)
    return mount


def _set(mount: MountFlag, key: str, value: str, field: str) -> MountFlag:
    """The mount with one option more. Options of the wrong type of mount are found by `_check`."""
    match key:
        case "type":
            return replace(mount, type=_choice(MountType, "unsupported mount type", value))
        case "from":
            return replace(mount, from_=value)
        case "source" | "src":
            return replace(mount, source=value)
        case "target" | "dst" | "destination":
            return replace(mount, target=value)
        case "size":
            return _set_size(mount, value)
        case "id":
            return replace(mount, id=value)
        case "sharing":
            return replace(mount, sharing=_choice(Sharing, "unsupported sharing value", value))
        case "mode":
            return replace(mount, mode=_number(key, value, base=8))
        case "uid":
            return replace(mount, uid=_number(key, value, base=10))
        case "gid":
            return replace(mount, gid=_number(key, value, base=10))
        case "env":
            return replace(mount, env=value)
    raise _Wrong(did_you_mean(f"unexpected key '{key}' in '{field}'", key, _KEYS))


def _set_size(mount: MountFlag, value: str) -> MountFlag:
    if mount.type is not MountType.TMPFS:
        raise _unexpected("size", mount.type)
    try:
        return replace(mount, size=parse_size(value))
    except ValueError:
        raise _Wrong(f"invalid value for size: {value}") from None


def _unexpected(key: str, kind: MountType) -> _Wrong:
    return _Wrong(f"unexpected key '{key}' for mount type '{kind}'")


def _flag(key: str, value: str) -> bool:
    parsed = parse_bool(value)
    if parsed is None:
        raise _Wrong(f"invalid value for {key}: {value}")
    return parsed


def _choice(choices: type[_Choice], problem: str, value: str) -> _Choice:
    try:
        return choices(value.lower())
    except ValueError:
        sentence = f"{problem} {quote(value)}"
        raise _Wrong(did_you_mean(sentence, value, [str(known) for known in choices])) from None


def _number(key: str, value: str, *, base: int) -> int:
    digits = "01234567" if base == 8 else "0123456789"
    is_number = value and not value.strip(digits) and len(value.lstrip("0")) <= _MAX_DIGITS
    if is_number and (number := int(value.lstrip("0") or "0", base)) <= _MAX_UINT32:
        return number
    raise _Wrong(f"invalid value {value} for {key}")


def _check(mount: MountFlag) -> None:
    """What only makes sense for some types of mounts. Raises _Wrong."""
    if mount.type in (MountType.BIND, MountType.TMPFS):
        for name in ("mode", "uid", "gid"):
            if getattr(mount, name) is not None:
                raise _Wrong(f"{name} not allowed for {quote(mount.type)} type mounts")
    if mount.type is MountType.SECRET:
        if mount.from_:
            raise _Wrong("secret mount should not have a from")
        if mount.sharing is not None:
            raise _Wrong("secret mount should not define sharing")
        if not (mount.source or mount.target or mount.id):
            raise _Wrong("invalid secret mount. one of source, target required")
        if mount.source and mount.id:
            raise _Wrong("both source and id can't be set")
    if mount.sharing is not None and mount.type is not MountType.CACHE:
        raise _Wrong(f"invalid cache sharing set for {mount.type} mount")


def parse_device(option: str, *, span: Span | None = None) -> Device:
    """One value of `--device`: `[name=]NAME[,required[=BOOL]]`. Raises MountError."""
    try:
        fields = parse_csv_line(option)
    except CsvLineError as error:
        raise MountError(f"failed to parse csv devices: {error}", span=span) from None
    device = Device()
    try:
        for field in fields:
            device = _set_device(device, field)
    except _Wrong as wrong:
        raise MountError(str(wrong), span=span) from None
    return device


def _set_device(device: Device, field: str) -> Device:
    key, equals, value = field.partition("=")
    match key.lower():
        case "required":
            return replace(device, required=_flag("required", value) if equals else True)
        case "name" if equals and device.name:
            raise _Wrong(f"device name already set to {device.name}")
        case "name" if equals:
            return replace(device, name=value)
    if not device.name:
        return replace(device, name=field)
    if not equals:
        raise _Wrong(f"invalid field '{field}' must be a key=value pair")
    problem = f"unexpected key '{key.lower()}' in '{field}'"
    raise _Wrong(did_you_mean(problem, key.lower(), ("name", "required")))
