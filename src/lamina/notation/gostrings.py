"""The few text rules of the reference implementation that Python's own methods do not share.

Which letters are spaces, how a text is quoted in a message, how long it is.
"""

from __future__ import annotations

# Unicode's White_Space. str.strip() would also take the separators U+001C to U+001F.
SPACES = (
    "\t\n\v\f\r \u0085\u00a0\u1680"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + ("\u2028\u2029\u202f\u205f\u3000")
)
_SPACE_SET = frozenset(SPACES)

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}


def is_space(letter: str) -> bool:
    """Whether a single letter is one of `SPACES`."""
    return letter in _SPACE_SET


def quote(text: str) -> str:
    """The text in double quotes, what cannot be printed escaped."""
    return '"' + "".join(map(_quote_letter, text)) + '"'


def _quote_letter(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isprintable():
        return letter
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def byte_length(text: str) -> int:
    """How many bytes the text has in the file."""
    return len(text.encode("utf-8", "surrogateescape"))
