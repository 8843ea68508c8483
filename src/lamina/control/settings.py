"""The settings of a machine or user: one small file, and variables that go before it.

    $LAMINA_CONFIG, else $XDG_CONFIG_HOME/lamina/config.toml (~/.config/…), else
    /etc/lamina/config.toml

    [cache]
    max-size = "20GB"       # what the whole store may take on disk
    keep-days = 14          # what was not used for so long goes

    [mounts."npm*"]         # cache mounts by id; * and ? stand for letters
    max-size = "2GB"
    keep-days = 7

Read only where something is written to the store: a cached build does not look for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lamina.cache.eviction import Limits
from lamina.errors import UsageError
from lamina.notation.sizes import parse_size
from lamina.notation.suggest import nearest
from lamina.source import Span

VARIABLE: Final = "LAMINA_MAX_SIZE"
DAY: Final = 86400.0
_SYSTEM: Final = "/etc/lamina/config.toml"
_LARGEST: Final = 1 << 20


class WrongSettings(UsageError):
    """A setting, or a flag of the same meaning, is wrong."""

    def place(self, span: Span | None) -> None:
        """It stands in no Dockerfile."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`mounts` are limits by patterns of ids, in the order of the file."""

    cache: Limits = Limits()
    mounts: tuple[tuple[str, Limits], ...] = ()

    def mount(self, name: str) -> Limits:
        """The limits of a cache mount: what its very id says, else the first pattern that fits."""
        from fnmatch import fnmatchcase

        exact = (limits for pattern, limits in self.mounts if pattern == name)
        fitting = (limits for pattern, limits in self.mounts if fnmatchcase(name, pattern))
        return next(exact, None) or next(fitting, None) or Limits()


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Raises WrongSettings for a file that cannot be read, or does not say what it may."""
    path = _find(environ)
    settings = parse_settings(_read(path), path) if path else Settings()
    text = environ.get(VARIABLE, "").strip()
    if not text:
        return settings
    limits = msgspec.structs.replace(settings.cache, max_size=size_of(text, VARIABLE))
    return msgspec.structs.replace(settings, cache=limits)


def parse_settings(data: bytes, path: str) -> Settings:
    """The content of the file at `path` to settings. Raises WrongSettings."""
    import tomllib

    try:
        document = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WrongSettings(f"{path}: {error}", hint="it is written in TOML") from None
    _check_names(document, ("cache", "mounts"), path)
    mounts = _table(document.get("mounts", {}), f"{path}: mounts")
    return Settings(
        cache=_limits(document.get("cache", {}), f"{path}: [cache]"),
        mounts=tuple(
            (name, _limits(table, f'{path}: [mounts."{name}"]')) for name, table in mounts.items()
        ),
    )


def size_of(text: str, name: str) -> int:
    """`20GB` to bytes, for the value that is called `name`. Raises WrongSettings."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise WrongSettings(f"{name}: {error}", hint="a number with a unit: 20GB") from None


def seconds_of(days: object, name: str) -> float:
    """Days to seconds, for the value that is called `name`. Raises WrongSettings."""
    try:
        number = float(days) if isinstance(days, int | float | str) else -1.0
    except ValueError:
        number = -1.0
    if isinstance(days, bool) or not 0 <= number < 1e6:
        raise WrongSettings(f"{name}: {days!r} is not a number of days", hint="for example 14")
    return number * DAY


def _limits(value: object, where: str) -> Limits:
    table = _table(value, where)
    _check_names(table, ("max-size", "keep-days"), where)
    size, days = table.get("max-size"), table.get("keep-days")
    if size is not None and not isinstance(size, str | int):
        raise WrongSettings(f"{where} max-size: {size!r} is no size", hint='max-size = "20GB"')
    return Limits(
        max_size=None if size is None else size_of(str(size), f"{where} max-size"),
        keep_seconds=None if days is None else seconds_of(days, f"{where} keep-days"),
    )


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongSettings(f"{where} is not a table")
    return value


def _check_names(table: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    for name in table:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near}?" if near else f"known are {', '.join(known)}"
            raise WrongSettings(f"{where}: there is no setting {name!r}", hint=hint)


def _find(environ: Mapping[str, str]) -> str | None:
    """The file that counts. One that was named has to be there."""
    if named := environ.get("LAMINA_CONFIG"):
        return named
    home = environ.get("XDG_CONFIG_HOME", "")
    if not home.startswith("/"):  # a relative one is to be ignored, says the specification
        home = os.path.join(environ.get("HOME") or "/", ".config")
    own = os.path.join(home, "lamina", "config.toml")
    return next(filter(os.path.exists, (own, _SYSTEM)), None)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise WrongSettings(f"the settings {path} cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise WrongSettings(f"the settings {path} are larger than a megabyte")
    return data
