"""Contract of executors: how a step ends, and that nothing outlives it."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lamina.executor.spec import BindMount, ContainerSpec, OverlayMount, Process
from lamina.testing.executor_isolation import python
from lamina.testing.executors import Check, Rig, eventually

_DAEMON = "(setsid sh -c 'while :; do echo x >> /beat/file; sleep 0.05; done' & ) & "

_HOLD = """
import sys, threading
from pathlib import Path
from lamina.executor.spec import BindMount, ContainerSpec, OverlayMount, Process
from lamina.testing.executors import make_driver
driver, state, base, place = sys.argv[1:5]
args = ("/bin/sh", "-c", sys.argv[5])
root = OverlayMount(lower=(base,), upper=place + "/upper", work=place + "/work")
mounts = (BindMount(source=place, target="/beat", read_only=False),)
make_driver(driver, Path(state)).run(
    ContainerSpec(root=root, mounts=mounts, process=Process(args=args, env=(("PATH", "/bin"),))),
    output=lambda stream, data: None,
    cancelled=threading.Event(),
)
"""


def signals_become_exit_codes(rig: Rig) -> None:
    """A process that the kernel kills ends with 128 and the signal's number."""
    ran = python(rig, "import ctypes; ctypes.string_at(0)")
    assert ran.status.code == 128 + signal.SIGSEGV, ran
    if rig.name == "namespaces":
        assert ran.status.signal == signal.SIGSEGV


def background_processes_do_not_hang_the_build(rig: Rig) -> None:
    """A daemon that keeps the output open dies with the step's own process."""
    beat = rig.directory()
    start = time.monotonic()
    ran = rig.shell(_DAEMON + "sleep 0.2; echo done", _beat(beat))
    assert ran.succeeded() == b"done\n"
    assert time.monotonic() - start < 5
    assert _is_silent(beat)


def cancelled_steps_end_at_once(rig: Rig) -> None:
    """Cancelling kills the whole tree, daemons that have left their parents too."""
    beat = rig.directory()
    cancelled = threading.Event()
    spec = rig.spec("/bin/sh", "-c", _DAEMON + "trap '' TERM INT; sleep 60", mounts=(_beat(beat),))

    def cancel() -> None:
        _wait_for(beat)
        cancelled.set()

    threading.Thread(target=cancel).start()
    start = time.monotonic()
    ran = rig.run_spec(spec, cancelled)
    assert ran.status.code == 128 + signal.SIGKILL, ran
    assert time.monotonic() - start < 5
    assert _is_silent(beat)


def failing_sinks_end_the_step(rig: Rig) -> None:
    """When the caller's own code fails, the step does not go on without it."""
    beat = rig.directory()
    spec = rig.spec(
        "/bin/sh", "-c", _DAEMON + "sleep 0.3; echo go; sleep 60", mounts=(_beat(beat),)
    )

    def full(stream: int, data: bytes) -> None:
        raise OSError(28, "the disk is full")

    caught: OSError | None = None
    try:
        rig.driver.run(spec, output=full, cancelled=threading.Event())
    except OSError as error:
        caught = error
    assert caught is not None, "the error was swallowed"
    assert caught.errno == 28
    assert _is_silent(beat)


def killed_builders_take_their_steps_along(rig: Rig) -> None:
    """kill -9 of the builder ends every process of its steps."""
    place = rig.directory()
    for name in ("upper", "work"):
        (place / name).mkdir()
    source = str(Path(__file__).resolve().parents[2])
    words = [rig.name, str(place / "state"), str(rig.base), str(place), _DAEMON + "sleep 60"]
    builder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([source, *sys.path])},
    )
    _wait_for(place)
    assert builder.poll() is None
    builder.kill()
    builder.wait()
    assert eventually(lambda: _is_silent(place)), "the step goes on"
    marker = str(place / "state")
    assert eventually(lambda: not _mentions(marker)), "a process of the builder is left"
    assert marker not in Path("/proc/self/mountinfo").read_text()


def steps_run_at_the_same_time(rig: Rig) -> None:
    """Sixty-four steps from sixteen threads get their own output, status and changes."""

    def one(number: int) -> tuple[int, bytes, bytes, str]:
        ran = rig.shell(f"echo {number} | tee /mine; echo err{number} >&2; exit {number}")
        return ran.status.code, ran.out, ran.err, (ran.upper / "mine").read_text()

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(one, range(64)))
    assert results == [
        (number, b"%d\n" % number, b"err%d\n" % number, f"{number}\n") for number in range(64)
    ]


def nothing_is_left_behind(rig: Rig) -> None:
    """After a step the driver's directories are empty, and its writable directory can be mounted
    again at once."""
    before = set(os.listdir("/proc/self/fd"))
    first = rig.shell("echo one > /one")
    first.succeeded()
    root = OverlayMount(lower=(str(rig.base),), upper=str(first.upper), work=str(rig.directory()))
    again = ContainerSpec(root=root, process=Process(args=("/bin/cat", "/one")))
    assert rig.run_spec(again).succeeded() == b"one\n"
    state = Path(rig.work.parent / "state")
    assert not os.listdir(state / "root")
    assert not os.listdir(state / "scratch")
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 1
    assert str(state) not in Path("/proc/self/mountinfo").read_text()


def starting_is_fast(rig: Rig) -> None:
    """Not asserted, for machines differ: prints what a step costs."""
    times = []
    for _ in range(21):
        spec = rig.spec("/bin/true")
        start = time.perf_counter()
        rig.run_spec(spec)
        times.append((time.perf_counter() - start) * 1000)
    sys.stderr.write(f"{rig.name}: a step takes {statistics.median(times):.1f} ms (median)\n")


def _beat(directory: Path) -> BindMount:
    return BindMount(source=str(directory), target="/beat", read_only=False)


def _wait_for(directory: Path) -> None:
    assert eventually((directory / "file").exists), "the step did not start"


def _is_silent(directory: Path) -> bool:
    size = (directory / "file").stat().st_size
    time.sleep(0.3)
    return (directory / "file").stat().st_size == size


def _mentions(text: str) -> bool:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                if text in Path(f"/proc/{entry}/cmdline").read_text(errors="replace"):
                    return True
            except OSError:
                continue
    return False


CHECKS: tuple[Check, ...] = (
    signals_become_exit_codes,
    background_processes_do_not_hang_the_build,
    cancelled_steps_end_at_once,
    failing_sinks_end_the_step,
    killed_builders_take_their_steps_along,
    steps_run_at_the_same_time,
    nothing_is_left_behind,
    starting_is_fast,
)
