"""Ctrl-C, SIGTERM and a failing sibling: everything stops at once, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.aftermath import left_behind
from tests.support.images import read_image
from tests.support.lamina import Lamina

pytestmark = pytest.mark.root

PATIENCE = 30.0  # seconds for a step to begin
AT_ONCE = 10.0  # seconds within which a build must end
F = "FROM busybox\n"
MARK = "sleep 4321"


class Running:
    """A build whose output is read while it runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.said = b""
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while data := os.read(self.process.stdout.fileno(), 65536):
            with self._grown:
                self.said += data
                self._grown.notify_all()

    def await_text(self, text: str) -> None:
        with self._grown:
            there = self._grown.wait_for(lambda: text.encode() in self.said, PATIENCE)
        assert there, f"{text!r} did not come:\n{self.said.decode(errors='replace')}"

    def end(self, *, within: float = AT_ONCE) -> tuple[int, str]:
        """The exit code, and all it said."""
        try:
            code = self.process.wait(within)
        finally:
            self.process.kill()
            self._reader.join()
        return code, self.said.decode(errors="replace")


def start(lamina: Lamina, context: Path, dockerfile: str, *options: str) -> Running:
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(dockerfile)
    command = lamina.build_command(context, "--output=type=cacheonly", *options)
    return Running(lamina.start(command))


def to_process(running: Running, number: int) -> None:
    running.process.send_signal(number)


def to_group(running: Running, number: int) -> None:
    """As a terminal does it."""
    os.killpg(running.process.pid, number)


SIGNALS = pytest.mark.parametrize(
    ("send", "number", "code"),
    [
        (to_process, signal.SIGINT, 130),
        (to_group, signal.SIGINT, 130),
        (to_process, signal.SIGTERM, 143),
        (to_group, signal.SIGTERM, 143),
    ],
    ids=["Ctrl-C", "Ctrl-C for the group", "SIGTERM", "SIGTERM for the group"],
)


@pytest.mark.parametrize("text", ["load build definition", "[2/2] RUN", "why: "])
def test_as_soon_as_a_step_is_seen(lamina: Lamina, tmp_path: Path, text: str) -> None:
    """Whatever the build is at: it ends at once, and says so."""
    running = start(lamina, tmp_path / "context", F + f"RUN {MARK}\n")
    running.await_text(text)
    running.process.send_signal(signal.SIGINT)
    ended, said = running.end()
    assert ended == 130, said
    assert "CANCELED" in said or "RUN" not in said
    assert "Traceback" not in said
    assert left_behind(lamina.store, MARK) == []
    build_well(lamina, tmp_path)


@SIGNALS
def test_during_run(
    lamina: Lamina,
    tmp_path: Path,
    send: Callable[[Running, int], None],
    number: int,
    code: int,
) -> None:
    """The whole process tree of the step ends, also what has left its session."""
    step = f"RUN (setsid {MARK} &) ; trap '' INT TERM; echo beg''an; {MARK}; echo over\n"
    running = start(lamina, tmp_path / "context", F + step)
    running.await_text(" began\n")
    send(running, number)
    ended, said = running.end()
    assert ended == code, said
    assert "CANCELED" in said
    assert said.count("ERROR: interrupted") == 1
    assert "Traceback" not in said
    assert left_behind(lamina.store, MARK) == []
    build_well(lamina, tmp_path)


def test_twice(lamina: Lamina, tmp_path: Path) -> None:
    """A second Ctrl-C, while the first is dealt with, does no harm."""
    running = start(lamina, tmp_path / "context", F + f"RUN echo beg''an; {MARK}\n")
    running.await_text(" began\n")
    for _ in range(3):
        to_group(running, signal.SIGINT)
        time.sleep(0.01)
    ended, said = running.end()
    assert ended == 130, said
    assert "Traceback" not in said
    assert left_behind(lamina.store, MARK) == []
    build_well(lamina, tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_during_copy(lamina: Lamina, tmp_path: Path, number: int, code: int) -> None:
    """A copy of many files stops in the middle; the layer is not there."""
    context = tmp_path / "context"
    (context / "files").mkdir(parents=True)
    for name in range(3000):
        (context / "files" / str(name)).write_text(f"{name}")
    with (context / "files" / "large").open("wb") as file:
        for _ in range(300):
            file.write(os.urandom(1_000_000))
    running = start(lamina, context, F + "COPY files /files\n")
    running.await_text("[2/2] COPY files /files")
    time.sleep(0.2)
    running.process.send_signal(number)
    ended, said = running.end()
    assert ended == code, said
    assert "CANCELED" in said
    assert "Traceback" not in said
    assert left_behind(lamina.store) == []
    assert not any((lamina.store / "making").glob("[0-9]*")), "a work directory is left"
    build_well(lamina, tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_while_it_waits_for_a_cache_mount(
    lamina: Lamina, tmp_path: Path, number: int, code: int
) -> None:
    """Who waits for a lock gives up at once; who holds it goes on."""
    mount = "--mount=type=cache,target=/c,id=one,sharing=locked"
    hold = f"RUN {mount} echo ho''lds; while [ ! -e /c/go ]; do sleep 0.05; done; echo done >/c/x\n"
    holder = start(lamina, tmp_path / "holder", F + hold)
    holder.await_text(" holds\n")
    waiter = start(lamina, tmp_path / "waiter", F + f"RUN {mount} echo waited; cat /c/x\n")
    waiter.await_text("waiting for the lock of cache mount one")
    waiter.process.send_signal(number)
    ended, said = waiter.end()
    assert ended == code, said
    assert "CANCELED" in said
    [home] = (lamina.store / "mounts").iterdir()
    (home / "0" / "data" / "go").touch()
    ended, said = holder.end()
    assert ended == 0, said
    assert left_behind(lamina.store) == []
    lamina.build(tmp_path / "waiter", "--output=type=cacheonly").must_succeed()


def test_while_it_waits_for_another_build(lamina: Lamina, tmp_path: Path) -> None:
    """Who waits for a step that another build runs gives up at once; the other goes on."""
    dockerfile = F + "RUN --mount=type=cache,target=/c echo began >>/c/log; sleep 3\n"
    first = start(lamina, tmp_path / "context", dockerfile)
    first.await_text("[2/2] RUN")
    [log] = await_files(lamina.store / "mounts", "*/0/data/log")
    second = start(lamina, tmp_path / "context", dockerfile)
    second.await_text("another build runs this step")
    second.process.send_signal(signal.SIGINT)
    ended, said = second.end(within=2.0)
    assert ended == 130, said
    assert first.end()[0] == 0
    assert log.read_text() == "began\n"
    assert left_behind(lamina.store) == []


def await_files(folder: Path, pattern: str) -> list[Path]:
    deadline = time.monotonic() + PATIENCE
    while not (found := list(folder.glob(pattern))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_a_failing_sibling(lamina: Lamina, tmp_path: Path) -> None:
    """When a stage fails, the others stop; the error is that of the stage that failed."""
    dockerfile = (
        f"FROM busybox AS slow\nRUN --mount=type=cache,target=/c touch /c/go; {MARK}\n"
        "FROM busybox AS bad\n"
        "RUN --mount=type=cache,target=/c while [ ! -e /c/go ]; do sleep 0.05; done; exit 9\n"
        "FROM busybox\nCOPY --from=slow / /slow\nCOPY --from=bad / /bad\n"
    )
    running = start(lamina, tmp_path / "context", dockerfile)
    ended, said = running.end(within=PATIENCE)
    assert ended == 3, said
    assert "exit code: 9" in said.rpartition("\nERROR: ")[2]
    assert "Dockerfile:4" in said
    assert said.count("CANCELED") == 1
    assert left_behind(lamina.store, MARK) == []
    build_well(lamina, tmp_path)


def build_well(lamina: Lamina, folder: Path) -> None:
    """The next build with this store gives the right image."""
    context = folder / "good"
    context.mkdir(exist_ok=True)
    (context / "a").write_text("good\n")
    (context / "Dockerfile").write_text(F + "COPY a /a\nRUN cat /a >/b\n")
    archive = folder / "good.tar"
    lamina.build(context, f"--output=type=oci,dest={archive}", timeout=PATIENCE).must_succeed()
    assert read_image(archive).file("b") == b"good\n"
