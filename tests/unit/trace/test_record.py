"""The record of a build as JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.cachekey.key import Part
from lamina.trace import events
from lamina.trace.record import BuildRecord, DamagedRecord, decode_record, encode_record
from lamina.trace.verdict import Hit, NeverBuilt


def record(**fields: object) -> BuildRecord:
    values: dict[str, object] = {
        "version": 1,
        "lamina": "0",
        "build": "b",
        "started": 1.0,
        "context": "/app",
        **fields,
    }
    return BuildRecord(**values)  # type: ignore[arg-type]


@given(st.text(), st.binary())
def test_a_record_is_read_as_it_was_written(text: str, data: bytes) -> None:
    """Whatever texts it holds; bytes that are not UTF-8 become U+FFFD."""
    wild = text + data.decode("utf-8", "surrogateescape")
    if "://" in wild:
        return
    found = decode_record(encode_record(record(text=wild)), name="x")
    assert found.text == wild.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def test_events_and_verdicts_keep_their_types() -> None:
    """Every kind of event comes back as it was."""
    happened = (
        events.BuildStarted(time=0.0, build="b", started=1.0),
        events.StepStarted(time=0.1, step=1, name="[1/1] RUN x", inputs=((), (2, 3))),
        events.StepDecided(
            time=0.2, step=1, verdict=NeverBuilt(asked=("c",)), key="k", parts=(Part("a", "b"),)
        ),
        events.StepDecided(time=0.2, step=1, verdict=Hit(record="r")),
        events.StepFinished(time=0.3, step=1, seconds=0.1, cached=True),
        events.Warned(time=0.4, message="m"),
        events.BuildFinished(time=0.5, seconds=0.5, cached=1, ran=0),
    )
    found = decode_record(encode_record(record(events=happened)), name="x")
    assert found.events == happened
    assert found.outcome == "succeeded"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("https://me:pa55@host/x", "https://xxxxx@host/x"),
        ("see https://token@host", "see https://xxxxx@host"),
        ("docker-image://alpine@sha256:00", "docker-image://alpine@sha256:00"),
        ("me@host https://host/a@b", "me@host https://host/a@b"),
    ],
)
def test_urls_lose_their_credentials(written: str, kept: str) -> None:
    """Wherever in the record they stand."""
    found = decode_record(encode_record(record(text=written, request={"a": written})), name="x")
    assert (found.text, found.request["a"]) == (kept, kept)


NESTED = b'{"version":1,"request":' + b'{"a":' * 100_000


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"[]", b"{}", b'{"version":1}', b"\xff", NESTED),
        encode_record(record(started=1e300)),
        encode_record(record(started=-1.0)),
    ],
    ids=str,
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    """In a sentence that names it."""
    with pytest.raises(DamagedRecord, match="THE NAME"):
        decode_record(data, name="THE NAME")


def test_a_later_version_is_refused() -> None:
    """Its meaning is not known."""
    with pytest.raises(DamagedRecord, match="version 2"):
        decode_record(encode_record(record(version=2)), name="x")
