"""A list of ignore patterns against paths: the last pattern that matches decides.

A pattern also speaks for everything below what it matches. Two ways to ask:

- The reference's own three questions about a single path (`matches…`), which differ in how they
  look at parents. They are needed where the reference uses them, and for its tests.
- A walk (`walk`): a `Directory` knows what its own path has matched and which patterns can still
  match something in it, so that most names cost a dictionary lookup and one regular expression.
  Its answers are those of `matches_using_parent_results`.

Paths are relative, with slashes, `""` for the root. Source: the Dockerfile reference,
".dockerignore file"; where it is silent, moby's patternmatcher.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lamina.dockerfile.ignore_pattern import IgnorePattern, parse_ignore_pattern

Flags = tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a path is ignored, and the line of the pattern that made it so, if one did."""

    ignored: bool
    line: int | None = None


@dataclass(frozen=True, slots=True)
class IgnoreMatcher:
    patterns: tuple[IgnorePattern, ...] = ()
    _quick: dict[int, _Quick] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, patterns: Iterable[str]) -> IgnoreMatcher:
        """Raises IgnoreFileError."""
        parsed = (parse_ignore_pattern(pattern) for pattern in patterns)
        return cls(tuple(pattern for pattern in parsed if pattern is not None))

    @property
    def has_exclusions(self) -> bool:
        return any(pattern.exclusion for pattern in self.patterns)

    def walk(self) -> Directory:
        """The root of a walk, which is itself never ignored."""
        return Directory.at(self, path="", matched=0, decision=Decision(False))

    def decide(self, path: bytes) -> Decision:
        """What a walk says about one path. To ask for many, walk."""
        *parents, name = path.split(b"/")
        directory = self.walk()
        for parent in parents:
            directory = directory.enter(parent)
        return directory.decide(name)

    def matches(self, path: str) -> bool:
        """Of the parents only the one with as many parts as the pattern counts."""
        parents = _parents(path)
        return self._last_word(
            lambda pattern: pattern.matches(path)
            or (0 < (parts := pattern.text.count("/") + 1) <= len(parents))
            and pattern.matches(parents[parts - 1])
        )
