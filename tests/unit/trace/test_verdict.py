"""The one line that says why a step ran."""

from __future__ import annotations

import pytest

from lamina.cachekey.difference import Change
from lamina.trace.verdict import (
    Forced,
    Hit,
    KeyChanged,
    NeverBuilt,
    ResultGone,
    Verdict,
    key_changed,
    sentence,
)


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (NeverBuilt(), "never built here"),
        (Forced(flag="--no-cache"), "--no-cache demands it"),
        (NeverBuilt(asked=("r.example/a:c",)), "never built here and not in r.example/a:c"),
        (ResultGone(record="r"), "its earlier result was removed from the store"),
        (ResultGone(record="r", source="s3://b"), "its result cannot be had from s3://b"),
        (Hit(record="r", source="r.example/a:c"), "cached, from r.example/a:c"),
        (
            KeyChanged(changes=(Change(part="file:src/app.py", before="a", after="b"),)),
            "file src/app.py changed",
        ),
        (
            KeyChanged(changes=(Change(part="argument:VERSION", before="1", after="2"),)),
            "build argument VERSION 1 → 2",
        ),
        (KeyChanged(changes=(Change(part="base", before="x", after="y"),)), "base image moved"),
        (
            KeyChanged(changes=(Change(part="files:1:/src", before="a", after="b"),)),
            "the files of /src changed",
        ),
        (
            KeyChanged(changes=(Change(part="files:/mnt", before="a", after="b"),)),
            "the files of /mnt changed",
        ),
        (
            KeyChanged(changes=(Change(part="mode:run.sh", before="0644", after="0755"),)),
            "mode of run.sh 0644 → 0755",
        ),
    ],
)
def test_a_verdict_reads_like_a_sentence(verdict: Verdict, text: str) -> None:
    """In the words of the one who asks."""
    assert sentence(verdict) == text


def test_many_changes_are_counted_and_not_listed() -> None:
    """Three are named, the others counted."""
    changes = tuple(Change(part=f"file:{name}", after="x") for name in "abcde")
    assert sentence(KeyChanged(changes=changes)) == (
        "file a added, file b added, file c added and 2 more"
    )


def test_modes_that_changed_alike_are_one_thing() -> None:
    """Nobody wants to read a hundred names for one umask."""
    changes = tuple(
        Change(part=f"mode:{number}", before="0644", after="0664") for number in range(1500)
    )
    changed = Change(part="file:last", before="a", after="b")
    verdict = key_changed((*changes, changed), record="r")
    assert sentence(verdict) == "file last changed, mode 0644 → 0664 on 1500 files"
    assert len(verdict.changes) == 1000
    assert verdict.left_out == 501
