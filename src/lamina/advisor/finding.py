"""What a rule finds, and the edits that mend it."""

from __future__ import annotations

import enum

import msgspec

from lamina.source import SourceFile, Span


class Impact(enum.StrEnum):
    """How much a finding costs those who build, in the words of the rules' front matter."""

    LOW = "LOW"
    LOW_MEDIUM = "LOW-MEDIUM"
    MEDIUM = "MEDIUM"
    MEDIUM_HIGH = "MEDIUM-HIGH"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class Edit(msgspec.Struct, frozen=True):
    """Puts `text` in the place of what `span` holds; an empty span is a place between letters."""

    span: Span
    text: str


class NewFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is to be made: an ignore file, by its path in the context."""

    path: str
    text: str


class Fix(msgspec.Struct, frozen=True, kw_only=True):
    """What mends a finding, all of it or nothing.

    `safe`: the image comes out the same but for caches and times. `title` says what it does, in
    the imperative, as an editor's menu shows it.
    """

    title: str
    edits: tuple[Edit, ...] = ()
    files: tuple[NewFile, ...] = ()
    safe: bool = True


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One place where a rule is broken.

    `message` is one sentence about this place; `reason` what it costs, where the rule's own words
    do not say it. `span` may lie in any file of the project. `judge` is the instruction whose
    comments may skip it, where that is another one.
    """

    rule: str
    span: Span
    message: str
    reason: str = ""
    fix: Fix | None = None
    judge: Span | None = None


def changed(source: SourceFile, edits: tuple[Edit, ...]) -> SourceFile:
    """The file with the edits made. They lie in `source` and do not overlap; those at one place are
    made in their order.
    """
    text, end, pieces = source.text, 0, []
    for edit in sorted(edits, key=lambda edit: (edit.span.start, edit.span.end)):
        pieces += [text[end : edit.span.start], edit.text]
        end = edit.span.end
    return SourceFile(source.name, "".join((*pieces, text[end:])))
