"""A list of ignore patterns against paths: the last pattern that matches decides.

A pattern also speaks for everything below what it matches. Two ways to ask:

- The reference's own questions about a single path (`matches…`), which differ in how they look
  at parents. They are needed where the reference uses them.
- A walk: a `Directory` knows what its own path has matched and which patterns can still match
  something below it, so that most names cost a dictionary lookup and one regular expression.
  Its answers are those of `matches_using_parent_results`, asked from the root downwards.

Paths are relative, with slashes. Source: the Dockerfile reference, ".dockerignore file"; where it
is silent, moby's patternmatcher.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from functools import cached_property

import msgspec

from lamina.dockerfile.ignore_pattern import IgnorePattern, clean_path, parse_ignore_pattern

Flags = tuple[bool, ...]


class Decision(msgspec.Struct, frozen=True):
    """Whether a path is ignored, and the line of the pattern that made it so, if one did."""

    ignored: bool
    line: int | None = None


class _Filter(msgspec.Struct, frozen=True):
    """A quick test that no path fails which one of some patterns matches."""

    suffixes: tuple[str, ...]
    regex: re.Pattern[str] | None

    @classmethod
    def of(cls, patterns: list[IgnorePattern]) -> _Filter:
        suffixes = tuple(p.suffix for p in patterns if p.suffix is not None)
        # A pattern that cannot be matched lets every path pass, and then is an error.
        regexes = [
            f"(?:{'' if p.regex is None else p.regex.pattern})"
            for p in patterns
            if p.suffix is None
        ]
        return cls(
            suffixes=suffixes,
            regex=re.compile("|".join(regexes)) if regexes else None,
        )

    def passes(self, path: str) -> bool:
        if self.regex is not None and self.regex.match(path) is not None:
            return True
        return bool(self.suffixes) and f"/{path}".endswith(self.suffixes)


class IgnoreMatcher(msgspec.Struct, frozen=True, dict=True):
    """Patterns in order."""

    patterns: tuple[IgnorePattern, ...] = ()

    @cached_property
    def _filters(self) -> dict[tuple[int, ...], _Filter]:
        return {}

    @classmethod
    def of(cls, patterns: Iterable[str]) -> IgnoreMatcher:
        """Raises IgnoreFileError."""
        parsed = (parse_ignore_pattern(pattern) for pattern in patterns)
        return cls(tuple(pattern for pattern in parsed if pattern is not None))

    @cached_property
    def has_exclusions(self) -> bool:
        return any(pattern.exclusion for pattern in self.patterns)

    def walk(self) -> Directory:
        """The root of a walk, which is itself never ignored."""
        everything = tuple(range(len(self.patterns)))
        return Directory(
            matcher=self,
            path="",
            decision=Decision(False),
            matched=(),
            filter=self.filter_of(everything),
            names=self.exact_names.get("", {}),
            open=everything,
        )

    def decide(self, path: bytes) -> Decision:
        """What a walk says about one path; the root is never ignored. For many paths, walk."""
        if path in (b"", b"."):
            return Decision(False)
        *parents, name = path.split(b"/")
        directory = self.walk()
        for parent in parents:
            directory = directory.enter(parent)
        return directory.decide(name)

    def matches(self, path: str) -> bool:
        """Of the parents only the one with as many parts as the pattern counts."""
        parents = _parents(path)

        def test(pattern: IgnorePattern) -> bool:
            parts = pattern.text.count("/") + 1
            return pattern.matches(path) or (
                parts <= len(parents) and pattern.matches(parents[parts - 1])
            )

        return self._last_word(test)

    def matches_or_parent_matches(self, path: str) -> bool:
        """Every parent counts."""
        paths = (path, *_parents(path))
        return self._last_word(lambda pattern: any(map(pattern.matches, paths)))

    def matches_using_parent_result(self, path: str, *, parent_matched: bool) -> bool:
        """The answer for the parent is where the path starts from."""
        return self._last_word(lambda pattern: pattern.matches(path), matched=parent_matched)

    def matches_using_parent_results(
        self, path: str, parent: Flags | None = None
    ) -> tuple[bool, Flags]:
        """Also which patterns matched: to be given back as `parent` for what is in the path.

        Without `parent`, every parent counts.
        """
        paths = (path, *(() if parent else _parents(path)))
        matched = False
        flags: list[bool] = []
        for index, pattern in enumerate(self.patterns):
            flag = bool(parent) and parent is not None and parent[index]
            if not flag and pattern.exclusion == matched:
                flag = any(map(pattern.matches, paths))
            if flag:
                matched = not pattern.exclusion
            flags.append(flag)
        return matched, tuple(flags)

    def _last_word(self, test: Callable[[IgnorePattern], bool], *, matched: bool = False) -> bool:
        for pattern in self.patterns:
            # A pattern that could change nothing is not asked.
            if pattern.exclusion == matched and test(pattern):
                matched = not pattern.exclusion
        return matched

    @cached_property
    def exact_names(self) -> dict[str, dict[str, list[int]]]:
        """Which patterns match exactly one name in a directory: directory to name to indexes."""
        found: dict[str, dict[str, list[int]]] = {}
        for index, pattern in enumerate(self.patterns):
            if pattern.exact is not None:
                parent, slash, name = pattern.exact.rpartition("/")
                found.setdefault(parent + slash, {}).setdefault(name, []).append(index)
        return found

    def filter_of(self, indexes: tuple[int, ...]) -> _Filter:
        """One filter serves all the directories in which the same patterns are open."""
        patterns = tuple(i for i in indexes if self.patterns[i].exact is None)
        if patterns not in self._filters:
            self._filters[patterns] = _Filter.of([self.patterns[i] for i in patterns])
        return self._filters[patterns]


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """Where a walk stands.

    `path` ends in a slash, that of the root is empty; `decision` is about the directory itself,
    and about whatever in it no further pattern matches. `matched` are the patterns that matched
    it or a parent, `open` those that did not but could match something below it.
    """

    matcher: IgnoreMatcher
    path: str
    decision: Decision
    matched: tuple[int, ...]
    open: tuple[int, ...]
    filter: _Filter
    names: dict[str, list[int]]

    def decide(self, name: bytes) -> Decision:
        """About an entry of the directory."""
        text = name.decode("utf-8", "surrogateescape")
        path = self.path + text
        if text not in self.names and not self.filter.passes(path):
            return self.decision
        return self._evaluate(path)[0]

    def enter(self, name: bytes) -> Directory:
        """The directory of that name in this one."""
        path = self.path + name.decode("utf-8", "surrogateescape")
        decision, matched = self._evaluate(path)
        path += "/"
        patterns = self.matcher.patterns
        remaining = tuple(
            index
            for index in self.open
            if index not in matched and patterns[index].may_match_below(path)
        )
        return Directory(
            matcher=self.matcher,
            path=path,
            decision=decision,
            matched=matched,
            open=remaining,
            filter=self.matcher.filter_of(remaining),
            names=self.matcher.exact_names.get(path, {}),
        )

    @property
    def may_reinclude(self) -> bool:
        """Whether something below an ignored directory may be taken back.

        If not, a walk need not look into it.
        """
        last = self.matched[-1] if self.matched else -1
        patterns = self.matcher.patterns
        return any(index > last and patterns[index].exclusion for index in self.open)

    def _evaluate(self, path: str) -> tuple[Decision, tuple[int, ...]]:
        """The decision about a path in the directory, and the patterns that matched it."""
        patterns = self.matcher.patterns
        ignored, line = False, None
        matched: list[int] = []
        for index in sorted(self.matched + self.open):
            pattern = patterns[index]
            if index not in self.matched and (
                pattern.exclusion != ignored or not pattern.matches(path)
            ):
                continue
            matched.append(index)
            if ignored == pattern.exclusion:
                ignored, line = not pattern.exclusion, pattern.line
        return Decision(ignored, line), tuple(matched)


def _parents(path: str) -> tuple[str, ...]:
    """The directories above a path, from the top."""
    parent = clean_path(posixpath.dirname(path))
    if parent == ".":
        return ()
    parts = parent.split("/")
    return tuple("/".join(parts[:end]) for end in range(1, len(parts) + 1))
