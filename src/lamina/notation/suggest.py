"""Which known word a mistyped one was meant to be."""

from __future__ import annotations

from collections.abc import Iterable

_TOO_FAR = 3


def nearest(
    word: str, known: Iterable[str], *, ignore_case: bool = False, in_order: bool = False
) -> str | None:
    """The known word that is nearest to `word` and at most two edits away, in the case of `word`.

    None if there is no such word, or if `word` is itself known. The first of equally near words
    in sorted order wins; with `in_order`, the first as they come.
    """
    wanted = word.lower() if ignore_case else word
    best, distance = None, _TOO_FAR
    for candidate in known if in_order else sorted(known):
        other = candidate.lower() if ignore_case else candidate
        if other == wanted:
            return None
        if abs(len(other) - len(wanted)) < distance:
            edits = _edits(wanted, other)
            if edits < distance:
                best, distance = other, edits
    if best is not None and ignore_case and word == word.upper() and word != word.lower():
        return best.upper()
    return best


def did_you_mean(
    message: str, word: str, known: Iterable[str], *, ignore_case: bool = False
) -> str:
    """The message, with the nearest known word behind it if there is one."""
    match = nearest(word, known, ignore_case=ignore_case)
    return message if match is None else f"{message} (did you mean {match}?)"


def _edits(left: str, right: str) -> int:
    """The Levenshtein distance."""
    row = list(range(len(right) + 1))
    for i, letter in enumerate(left, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(right, 1):
            substitution = diagonal + (letter != other)
            diagonal = row[j]
            row[j] = min(substitution, row[j] + 1, row[j - 1] + 1)
    return row[-1]
