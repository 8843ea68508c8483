"""One line of CSV (RFC 4180, strict about quotes), as the options of a flag are written."""

from __future__ import annotations


class CsvLineError(ValueError):
    """The line is empty, or a quote stands where none may."""


def parse_csv_line(line: str) -> tuple[str, ...]:
    """The fields of a line. Raises CsvLineError.

    A double quote may stand only around a whole field; inside such a field it is doubled.
    """
    if line.endswith("\n"):
        line = line.removesuffix("\n").removesuffix("\r")
    if not line:
        raise CsvLineError("EOF")
    fields: list[str] = []
    start = 0
    while True:
        if line.startswith('"', start):
            field, start = _quoted(line, start + 1)
        else:
            field, start = _bare(line, start)
        fields.append(field)
        if start > len(line):
            return tuple(fields)


def _bare(line: str, start: int) -> tuple[str, int]:
    """The unquoted field at `start`, and where the next one starts."""
    comma = line.find(",", start)
    end = len(line) if comma < 0 else comma
    quote = line.find('"', start, end)
    if quote >= 0:
        raise _misplaced(line, quote, 'bare " in non-quoted-field')
    return line[start:end], end + 1


def _quoted(line: str, start: int) -> tuple[str, int]:
    """The quoted field whose content is at `start`, and where the next one starts."""
    field = ""
    while True:
        quote = line.find('"', start)
        if quote < 0:
            raise _misplaced(line, start, 'extraneous or missing " in quoted-field')
        field += line[start:quote]
        start = quote + 1
        if start == len(line) or line[start] == ",":
            return field, start + 1
        if line[start] != '"':
            raise _misplaced(line, quote, 'extraneous or missing " in quoted-field')
        field += '"'
        start += 1


def _misplaced(line: str, index: int, problem: str) -> CsvLineError:
    column = len(line[:index].encode("utf-8", "surrogateescape")) + 1
    return CsvLineError(f"parse error on line 1, column {column}: {problem}")
