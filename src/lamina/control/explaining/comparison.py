"""The key of a step against that of an earlier one: part by part, and file by file."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lamina.cache.index import Index
from lamina.cachekey.difference import (
    Change,
    FileGroup,
    compare_listings,
    compare_parts,
    group_files,
)
from lamina.cachekey.key import ListedFile
from lamina.control.history import History
from lamina.oci.digest import parse_digest
from lamina.trace.record import BuildRecord
from lamina.trace.steps import RecordedStep
from lamina.trace.verdict import KeyChanged

_FILES = ("file", "mode", "owner")


class Difference(msgspec.Struct, frozen=True):
    """`changes` are those of parts, files left out; `files` are all of those, and `listed` the
    first of them one by one. `names` are all the parts that differ.
    """

    changes: tuple[Change, ...]
    files: tuple[FileGroup, ...]
    listed: tuple[Change, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(
            [*(change.part for change in self.changes), *(group.within for group in self.files)]
        )


def of_verdict(verdict: KeyChanged) -> Difference:
    """What was found when the step was looked up."""
    return Difference(
        tuple(change for change in verdict.changes if not _of_file(change)),
        verdict.files(),
        tuple(filter(_of_file, verdict.changes)),
    )


class Comparer(msgspec.Struct, frozen=True):
    """Compares steps of two records. Listings come from the index, or with an imported record."""

    index: Index
    history: History

    def compare(
        self, before: tuple[BuildRecord, RecordedStep], after: tuple[BuildRecord, RecordedStep]
    ) -> Difference:
        """What differs between the keys of two steps."""
        changes: list[Change] = []
        listed: list[Change] = []
        for change in compare_parts(before[1].parts, after[1].parts):
            files: tuple[Change, ...] = ()
            if change.part.startswith("files:") and change.before and change.after:
                old = self._listing(before[0], change.before)
                new = self._listing(after[0], change.after)
                if old is not None and new is not None:
                    files = compare_listings(old, new, within=change.part)
            if files:
                listed += files
            else:
                changes.append(change)
        return Difference(tuple(changes), group_files(listed), tuple(listed))

    def _listing(self, record: BuildRecord, digest: str) -> tuple[ListedFile, ...] | None:
        if record.imported:
            return self.history.listing(record.build, digest)
        return self.index.listing(parse_digest(digest))


def _of_file(change: Change) -> bool:
    return bool(change.within) or change.part.partition(":")[0] in _FILES


def parts_of(step: RecordedStep) -> Mapping[str, str]:
    """The parts of a step's key by name."""
    return {part.name: part.value for part in step.parts}
