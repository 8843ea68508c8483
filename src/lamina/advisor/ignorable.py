"""What could be kept out of a build context, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from lamina.context.survey import Kept, Survey, Use, parents
from lamina.layer.entry import Kind

_KNOWN: tuple[tuple[str, str], ...] = (
    (r"\.git", "history: every commit changes it"),
    (r"\.(hg|svn)", "history: every commit changes it"),
    (r"node_modules", "made by npm, for this machine"),
    (r"__pycache__", "made by Python"),
    (r"\.?venv", "a virtual environment of this machine"),
    (r"\.(mypy|pytest|ruff|hypothesis)_cache|\.(tox|nox)", "a cache of a Python tool"),
    (r"\.(gradle|terraform|next|nuxt|parcel-cache|turbo)", "a cache or output of a build tool"),
    (r"\.(idea|vscode)", "an editor's settings"),
    (r"\.DS_Store|Thumbs\.db", "made by the desktop"),
    (r"\.env(\..+)?|.+\.(pem|key|p12|pfx)|id_(rsa|ed25519|ecdsa)|\.netrc|\.npmrc|\.pypirc",
     "may hold a secret"),
)  # fmt: skip
_SAMPLE = re.compile(r"\.env\.(example|sample|template|dist)")
_NAMES = tuple((re.compile(pattern), why) for pattern, why in _KNOWN)


class Ignorable(msgspec.Struct, frozen=True, kw_only=True):
    """A line for the ignore file. `size` in bytes, of `count` files."""

    pattern: str
    why: str
    size: int
    count: int


def ignorable(survey: Survey) -> tuple[Ignorable, ...]:
    """The largest first. Nothing that an instruction names, or takes by a pattern of its own.

    Names that stand in several places become one pattern (`**/__pycache__`).
    """
    narrow = [use for use in survey.uses if not _takes_all(use, survey)]
    named = {part for use in narrow for path in use.paths for part in (path, *parents(path))}
    found: dict[bytes, str] = {}
    for one in survey.kept:
        if one.path in named or any(folder in found for folder in parents(one.path)):
            continue
        why = _why(one)
        if why:
            found[one.path] = why
    return tuple(sorted(_lines(found, survey), key=lambda line: (-line.size, line.pattern)))


def _takes_all(use: Use, survey: Survey) -> bool:
    """Whether it takes whatever is at the top of the context, as `COPY . .` does."""
    tops = [one.path for one in survey.kept if b"/" not in one.path]
    return all(path in use.paths for path in tops)


def _why(one: Kept) -> str:
    name = one.path.rpartition(b"/")[2].decode("utf-8", "surrogateescape")
    if _SAMPLE.fullmatch(name):
        return ""
    return next((why for pattern, why in _NAMES if pattern.fullmatch(name)), "")


def _lines(found: dict[bytes, str], survey: Survey) -> Iterator[Ignorable]:
    sizes, counts = dict.fromkeys(found, 0), dict.fromkeys(found, 0)
    for one in survey.kept:
        if one.kind is not Kind.DIRECTORY:
            for place in (one.path, *parents(one.path)):
                if place in found:
                    sizes[place] += one.size
                    counts[place] += 1
    by_name: dict[bytes, list[bytes]] = {}
    for path in found:
        by_name.setdefault(path.rpartition(b"/")[2], []).append(path)
    for name, paths in by_name.items():
        pattern = b"**/" + name if len(paths) > 1 else paths[0]
        yield Ignorable(
            pattern=pattern.decode("utf-8", "surrogateescape"),
            why=found[paths[0]],
            size=sum(sizes[path] for path in paths),
            count=sum(counts[path] for path in paths),
        )
