"""`lamina history`: every build leaves a record that can be listed, shown, compared and carried."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest

from tests.support.lamina import Lamina

pytestmark = pytest.mark.root


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "a").write_text("1")
    (folder / "Dockerfile").write_text("FROM busybox\nCOPY a /\nRUN echo hello; echo 1 > /x\n")
    return folder


def builds(lamina: Lamina) -> list[dict[str, object]]:
    """The builds, newest first."""
    lines = lamina.run("history", "ls", "--json").must_succeed().stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_every_build_is_listed(lamina: Lamina, context: Path) -> None:
    """Newest first, with what was cached, what ran, and how it ended."""
    lamina.build(context, "-t", "app:dev").must_succeed()
    lamina.build(context).must_succeed()
    (context / "Dockerfile").write_text("FROM busybox\nRUN false\n")
    lamina.build(context).must_fail()
    failed, cached, first = builds(lamina)
    assert (first["ran"], first["cached"], first["outcome"]) == (2, 0, "succeeded")
    assert (cached["ran"], cached["cached"]) == (0, 2)
    assert failed["outcome"] == "failed"
    assert "RUN" not in str(failed["context"])
    assert first["tags"] == ["app:dev"]
    text = lamina.run("history").must_succeed().stdout
    assert text.startswith("BUILD ")
    assert "app:dev from app" in text


def test_a_build_is_shown_with_its_steps_and_logs(lamina: Lamina, context: Path) -> None:
    """By name, by id, or as the one before; steps have times, sizes and reasons."""
    lamina.build(context, "-t", "app:dev", "--build-arg=X=1").must_succeed()
    build = str(builds(lamina)[0]["build"])
    for name in ("app:dev", build[:6], "latest"):
        shown = lamina.run("history", "show", name).must_succeed().stdout
        assert build in shown
    assert "X=1" in shown
    assert "never built here" in shown
    assert "0 cached, 2 ran" in shown
    assert lamina.run("history", "logs", "latest", "3/3").must_succeed().stdout == "hello\n"
    lamina.build(context).must_succeed()
    assert lamina.run("history", "logs", "^1", "echo hello").must_succeed().stdout == "hello\n"
    (context / "a").write_text("2")
    lamina.build(context).must_succeed()
    told = lamina.run("history", "diff").must_succeed().stdout
    assert "cached → ran" in told
    assert "file a changed" in told


def test_the_log_of_a_failed_step_is_where_the_hint_says(lamina: Lamina, context: Path) -> None:
    """One place for logs: the build's record."""
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo lost && false\n")
    outcome = lamina.build(context).must_fail()
    path = outcome.stderr.rpartition("its whole output is in ")[2].strip()
    assert Path(path).read_text() == "lost\n"
    assert lamina.run("history", "logs").must_succeed().stdout.endswith(" <==\nlost\n")


def test_unknown_names_get_a_hint(lamina: Lamina, context: Path) -> None:
    """An unknown build or step is one sentence, with the nearest name."""
    assert "no build is recorded" in lamina.run("history", "show").must_fail().stderr
    lamina.build(context, "-t", "app:dev").must_succeed()
    assert "did you mean app:dev?" in lamina.run("history", "show", "app:dve").must_fail().stderr
    assert "no build is 3 before" in lamina.run("explain", "^3").must_fail().stderr
    assert "no step" in lamina.run("history", "logs", "latest", "7/3").must_fail().stderr


def test_secrets_are_in_no_record(lamina: Lamina, context: Path, tmp_path: Path) -> None:
    """Values of secrets, and passwords within URLs."""
    (tmp_path / "secret").write_text("hunter2")
    (context / "Dockerfile").write_text(
        "FROM busybox\nARG URL\nRUN --mount=type=secret,id=s test -s /run/secrets/s\n"
    )
    options = (f"--secret=id=s,src={tmp_path}/secret", "--build-arg=URL=https://me:pa55@host/x")
    lamina.build(context, *options).must_succeed()
    (record,) = (lamina.store / "history").glob("*/record.json")
    assert b"hunter2" not in record.read_bytes()
    assert b"pa55" not in record.read_bytes()
    assert b"https://xxxxx@host/x" in record.read_bytes()


def test_the_history_has_a_bound(lamina: Lamina, context: Path) -> None:
    """`LAMINA_HISTORY_KEEP` says how many; the newest stay. A wrong value is told."""
    bounded = Lamina(
        store=lamina.store, bases=lamina.bases, environment={"LAMINA_HISTORY_KEEP": "2"}
    )
    for number in range(4):
        (context / "a").write_text(str(number))
        bounded.build(context, "-t", f"app:{number}").must_succeed()
    assert [build["tags"] for build in builds(bounded)] == [["app:3"], ["app:2"]]
    wrong = Lamina(
        store=lamina.store, bases=lamina.bases, environment={"LAMINA_HISTORY_KEEP": "many"}
    )
    outcome = wrong.build(context).must_fail()
    assert "LAMINA_HISTORY_KEEP" in outcome.stderr
    assert outcome.code == 2


def test_removing(lamina: Lamina, context: Path) -> None:
    """A build, or all; the cache stays."""
    lamina.build(context).must_succeed()
    lamina.build(context).must_succeed()
    lamina.run("history", "rm", "latest").must_succeed()
    assert len(builds(lamina)) == 1
    lamina.run("history", "rm").must_fail()
    lamina.run("history", "rm", "--all").must_succeed()
    assert builds(lamina) == []
    lamina.build(context).must_succeed()
    assert builds(lamina)[0]["cached"] == 2


def test_a_record_survives_the_journey(lamina: Lamina, context: Path, tmp_path: Path) -> None:
    """What is exported can be shown elsewhere, logs included, and exported again."""
    lamina.build(context, "-t", "app:dev").must_succeed()
    file = tmp_path / "build.lamina"
    lamina.run("history", "export", "-o", file).must_succeed()
    there = Lamina(store=tmp_path / "there")
    there.run("history", "import", file).must_succeed()
    there.run("history", "import", file).must_succeed()
    (build,) = builds(there)
    assert build["imported"] is True
    assert there.run("history", "logs", "app:dev", "3/3").must_succeed().stdout == "hello\n"
    again = tmp_path / "again.lamina"
    there.run("history", "export", "-o", again, "app:dev").must_succeed()
    assert gzip.decompress(again.read_bytes()) == gzip.decompress(file.read_bytes())


def test_bad_files_are_refused_in_a_sentence(lamina: Lamina, context: Path, tmp_path: Path) -> None:
    """A cut file, a newer one, another kind of file, one that wants to be elsewhere."""
    lamina.build(context).must_succeed()
    file = tmp_path / "build.lamina"
    lamina.run("history", "export", "-o", file).must_succeed()
    whole = file.read_bytes()
    lines = gzip.decompress(whole).splitlines(keepends=True)
    identity = str(builds(lamina)[0]["build"]).encode()
    lamina.run("history", "rm", "--all").must_succeed()
    for data, said in (
        (whole[: len(whole) // 2], "cut short"),
        (gzip.compress(b"".join(lines[:-1])), "cut short"),
        (gzip.compress(b'{"format":"lamina build record","version":2}\n'), "use a newer Lamina"),
        (b"hello", "is no exported record"),
        (gzip.compress(lines[0] + b'{"record":' + b"[" * 200_000 + b"\n"), "is no exported record"),
        (gzip.compress(b"hello\n"), "is no exported record"),
        (gzip.compress(b"".join(lines).replace(identity, b"../../../escape")), "names no build"),
        (
            gzip.compress(
                b"".join(lines).replace(b'{"record":{"version":1', b'{"record":{"version":9')
            ),
            "use a newer Lamina",
        ),
    ):
        file.write_bytes(data)
        assert said in lamina.run("history", "import", file).must_fail().stderr
    assert builds(lamina) == []
    assert list((lamina.store / "history").iterdir()) == []
    assert lamina.run("history", "import", tmp_path / "none").must_fail().code == 5


def test_a_damaged_record_spoils_no_other(lamina: Lamina, context: Path) -> None:
    """It is passed over in lists, and named where it is asked for."""
    lamina.build(context).must_succeed()
    lamina.build(context).must_succeed()
    build = str(builds(lamina)[0]["build"])
    record = lamina.store / "history" / build / "record.json"
    record.write_bytes(record.read_bytes()[:-100])
    assert len(builds(lamina)) == 1
    lamina.build(context).must_succeed()
    lamina.run("explain").must_succeed()


def test_a_killed_build_is_in_the_history(lamina: Lamina, context: Path) -> None:
    """With what was asked for, and what its steps had printed."""
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo begun; sleep 60\n")
    process = lamina.start(lamina.build_command(context))
    try:
        deadline = time.monotonic() + 60
        while not any(path.read_bytes() for path in lamina.store.glob("history/*/*.log")):
            assert time.monotonic() < deadline, "the step has printed nothing"
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    (build,) = builds(lamina)
    assert build["outcome"] == "unfinished"
    assert "begun\n" in lamina.run("history", "logs").must_succeed().stdout
    assert "killed" in lamina.run("history", "show").must_succeed().stdout


def test_a_record_does_not_grow_with_the_context(lamina: Lamina, context: Path) -> None:
    """Files are in it by the digest of their list; of many changes the first and the counts."""
    (context / "src").mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY src /src\n")
    sizes = []
    for text in ("1", "2"):
        for number in range(3000):
            (context / "src" / f"{number}").write_text(text)
        lamina.build(context).must_succeed()
        build = str(builds(lamina)[0]["build"])
        sizes.append((lamina.store / "history" / build / "record.json").stat().st_size)
    assert sizes[0] < 10_000
    assert sizes[1] < 300_000
    told = lamina.run("explain").must_succeed().stdout
    assert "because 3000 files changed (src/0, src/1, src/10, …)" in told
