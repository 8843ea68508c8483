"""The trend of a report: the last builds of the same Dockerfile."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from lamina.control.history import History
from lamina.control.report import trend
from lamina.trace.events import BuildFinished
from lamina.trace.record import FORMAT_VERSION, BuildRecord, encode_record


def record(number: int, *, context: str = "/app", ended: bool = True) -> BuildRecord:
    """A build that took as many seconds as its number says."""
    end = BuildFinished(time=1.0, seconds=float(number), cached=number, ran=2)
    return BuildRecord(
        version=FORMAT_VERSION,
        lamina="0",
        build=f"{number:026x}",
        started=1000.0 + number,
        context=context,
        dockerfile="Dockerfile",
        events=(end,) if ended else (),
    )


def history(folder: Path, *records: BuildRecord) -> History:
    for each in records:
        (folder / "history" / each.build).mkdir(parents=True)
        (folder / "history" / each.build / "record.json").write_bytes(encode_record(each))
    return History.of(str(folder))


def test_builds_of_the_same_dockerfile_up_to_this_one(tmp_path: Path) -> None:
    """Oldest first; none of another folder or target, none that came later."""
    asked = record(5)
    others = (
        record(1),
        record(2, context="/other"),
        replace(record(3), target="test"),
        record(4, ended=False),
        record(6),
    )
    found = trend(history(tmp_path, asked, *others), asked)
    assert [point.build for point in found] == [record(n).build for n in (1, 4, 5)]
    assert [point.seconds for point in found] == [1.0, None, 5.0]
    assert [point.outcome for point in found] == ["succeeded", "unfinished", "succeeded"]
    assert [point.hit_rate for point in found] == [1 / 3, None, 5 / 7]


def test_no_more_than_twenty(tmp_path: Path) -> None:
    """The newest ones; a record that is damaged is passed over."""
    records = [record(number) for number in range(1, 31)]
    known = history(tmp_path, *records)
    (tmp_path / "history" / records[20].build / "record.json").write_text("{")
    found = trend(known, records[-1])
    assert [int(point.build, 16) for point in found] == [*range(10, 21), *range(22, 31)]
