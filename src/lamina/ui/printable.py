"""Text from outside, made safe to show: no control characters, no escape sequences.

What a step prints, what a Dockerfile holds and what a registry answers may contain sequences that
move the cursor, retitle the window or worse (ECMA-48, and xterm's control sequences).
"""

from __future__ import annotations

import re

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC: a string and its end
    r"|\x1b[ -/]*[0-~]?"  # the other, short ones
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def encode(text: str) -> bytes:
    """UTF-8 to write; bytes that were not UTF-8 when they were read are written as they were."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def escaped(text: str) -> str:
    """The text with control characters spelled out (`\\x1b`), but for line ends and tabs."""
    return _CONTROL.sub(lambda match: _spelled(match[0]), text)


def escaped_line(text: str) -> str:
    """The same on one line: nothing in it begins a line of its own."""
    return escaped(text.replace("\n", " "))


def _spelled(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def terminal_line(data: bytes) -> str:
    """One line of a step's output as a terminal would leave it, less colours: what follows the last
    carriage return, without escape sequences or control characters, tabs as spaces."""
    text = data.decode("utf-8", "replace")
    if "\x1b" in text:
        text = _SEQUENCE.sub("", text)
    text = text.rstrip("\r")
    text = text.rpartition("\r")[2]
    return one_line(text)


def one_line(text: str) -> str:
    """The text as one line without anything but printable characters."""
    text = _CONTROL.sub("", text.replace("\t", "    ").replace("\n", " "))
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
