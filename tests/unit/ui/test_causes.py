"""Causes in words."""

from __future__ import annotations

import pytest

from lamina.cachekey.difference import FileGroup, FileKind
from lamina.trace import explanation as e
from lamina.ui.causes import clause, render_files


def group(kind: FileKind, count: int, before: str = "", after: str = "") -> FileGroup:
    names = tuple(f"f{number}" for number in range(count))[:20]
    return FileGroup(kind=kind, before=before, after=after, count=count, paths=names)


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ([group("changed", 1)], "file f0 changed"),
        ([group("added", 2)], "2 files were added (f0, f1)"),
        ([group("removed", 5)], "5 files were removed (f0, f1, f2, …)"),
        ([group("changed", 1), group("added", 1)], "file f0 changed and file f0 was added"),
        ([group("owner", 1, "0:0", "1:1")], "the owner of f0 went 0:0 → 1:1"),
        ([group("owner", 2, "0:0", "1:1")], "owners 0:0 → 1:1 on 2 files (f0, f1)"),
        ([group("mode", 1, "0644", "0664")], "the mode of f0 went 0644 → 0664"),
        (
            [group("mode", 212, "0644", "0664")],
            "modes 0644 → 0664 on 212 files: a different umask (0022 → 0002)",
        ),
        (
            [group("mode", 9, "0644", "0600"), group("mode", 2, "0755", "0700")],
            (
                "modes 0644 → 0600 on 9 files and 0755 → 0700 on 2 files: "
                "a different umask (0022 → 0077)"
            ),
        ),
        (
            [group("mode", 9, "0644", "0755")],
            (
                "modes 0644 → 0755 on 9 files: "
                "a file system or checkout that does not keep the executable bit"
            ),
        ),
        ([group("mode", 9, "0644", "0444")], "modes 0644 → 0444 on 9 files"),
        (
            [group("mode", 9, "0644", "0664"), group("mode", 2, "0755", "0750")],
            "modes 0644 → 0664 on 9 files and 0755 → 0750 on 2 files",
        ),
    ],
)
def test_files(groups: list[FileGroup], text: str) -> None:
    """One file is named, many are counted; a cause of modes is told only where it is sure."""
    assert render_files(groups) == text


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (
            e.VariableChanged(name="V", argument=True, before=None, after="2", used=True),
            "build argument V was added (2)",
        ),
        (
            e.VariableChanged(name="V", argument=False, before="1", after=None, line=3),
            "variable V is gone (it was 1) (declared in line 3, the step does not name it)",
        ),
        (
            e.BaseMoved(name="x:1", before="sha256:" + "a" * 64, after="sha256:" + "b" * 64),
            "base image x:1 moved from sha256:aaaaaaaaaaaa to sha256:bbbbbbbbbbbb",
        ),
        (e.BaseMoved(name="x:2", was="x:1"), "the base image is x:2 instead of x:1"),
        (
            e.InstructionChanged(before="", after="RUN x"),
            "the instruction changed; it is now `RUN x`",
        ),
        (
            e.Removed(by="rm", at=40.0, built=10.0, build="b" * 26),
            "its result, made 1 minute ago in build bbbbbbbbbbbb, was removed by rm 30 seconds ago",
        ),
        (e.Removed(), "its result is gone from the store"),
        (e.Removed(source="C"), "C does not hold the layers of its result any more"),
        (
            e.MountChanged(target="/c", before=None, after="cache rw"),
            "the cache mount /c was added",
        ),
        (e.Follows(step=7), "follows from [1/2] RUN y"),
        (e.Follows(step=8), "follows from step 8"),
        (e.SettingChanged(name="user", before="", after="1"), 'the user went from "" to 1'),
        (e.SettingChanged(name="heredoc:conf", before="a", after="b"), "the heredoc conf changed"),
    ],
)
def test_clauses(cause: e.Cause, text: str) -> None:
    """Each can stand behind "because"."""
    assert clause(cause, now=70.0, steps={7: "[1/2] RUN y"}) == text
