"""Values of flags that are made of keys and values: `K=V`, and `k=v,k=v` in one line of CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lamina.errors import UsageError
from lamina.notation.boolean import parse_bool
from lamina.notation.csv_line import CsvLineError, parse_csv_line
from lamina.notation.suggest import nearest


def parse_fields(flag: str, text: str) -> tuple[str, ...]:
    """The fields of one line of CSV, quoted as Docker does. Raises UsageError."""
    try:
        return parse_csv_line(text)
    except CsvLineError as problem:
        raise UsageError(f"invalid value {text!r} for {flag}: {problem}") from None


def parse_options(flag: str, text: str) -> Iterator[tuple[str, str | None]]:
    """Keys in lower case with their values (None where there is no `=`), in order."""
    for item in parse_fields(flag, text):
        key, equals, value = item.partition("=")
        yield key.strip().lower(), value if equals else None


def parse_pairs(flag: str, texts: Iterable[str]) -> dict[str, str]:
    """`K=V`, or `K` for an empty value; the last of one name counts."""
    return {name: value or "" for name, value in _pairs(flag, texts)}


def parse_environment_pairs(
    flag: str, texts: Iterable[str], environ: Mapping[str, str]
) -> dict[str, str]:
    """`K=V`, or `K` for the value that the environment has; nothing where it has none."""
    found: dict[str, str] = {}
    for name, value in _pairs(flag, texts):
        if value is not None:
            found[name] = value
        elif name in environ:
            found[name] = environ[name]
    return found


def _pairs(flag: str, texts: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(
                f"invalid value {text!r} for {flag}: the name is missing", hint=f"{flag} NAME=VALUE"
            )
        yield name, value if equals else None


def parse_switch(flag: str, text: str) -> bool:
    """`true`, `1`, `false` … Raises UsageError."""
    value = parse_bool(text)
    if value is None:
        raise UsageError(f"invalid value {text!r} for {flag}: write true or false")
    return value


def choose(flag: str, text: str, known: Iterable[str], *, what: str = "value") -> str:
    """The text itself where it is one of the known ones; else UsageError with the nearest."""
    names = tuple(known)
    if text in names:
        return text
    near = nearest(text, names, ignore_case=True)
    meant = f"did you mean {near}?" if near else f"it is one of {', '.join(names)}"
    raise UsageError(f"unknown {what} {text!r} for {flag}", hint=meant)
