"""A build that is killed at any moment leaves nothing behind that the next one stumbles over."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.images import read_image
from tests.support.lamina import Lamina

pytestmark = pytest.mark.root

MOMENTS = 50
FILES = 200
PATIENCE = 60.0  # seconds for a build that takes one; past that it waits for a lock
DOCKERFILE = """\
FROM busybox AS maker
COPY stamp /stamp
RUN --mount=type=cache,target=/cache,sharing=locked \\
    cat /stamp >>/cache/seen && sha256sum /stamp >/sum && for i in 1 2 3; do cp /stamp /$i; done
FROM busybox
COPY files /files
RUN rm -r /var/www && mkdir /made && cp -r /files /made
COPY --from=maker /sum /sum
"""


def test_killed_at_any_moment(lamina: Lamina, tmp_path: Path) -> None:
    """After kill -9: no mount, no process, no lock is left, and the next build is right."""
    context = tmp_path / "context"
    (context / "files").mkdir(parents=True)
    (context / "Dockerfile").write_text(DOCKERFILE)
    for number in range(FILES):
        (context / "files" / f"f{number}").write_text(f"file {number}\n")
    seconds = build_and_check(lamina, context, tmp_path / "image.tar", "first")
    moments = random.Random(20240101)
    for number in range(MOMENTS):
        (context / "stamp").write_text(f"killed {number}\n")
        after = moments.uniform(0, seconds)
        kill_a_build(lamina, context, tmp_path / "image.tar", after=after, group=number % 2 == 0)
        assert left_behind(lamina.store) == [], f"left after a kill at {after:.3f} s"
        build_and_check(lamina, context, tmp_path / "image.tar", f"rebuilt {number}")


def build_and_check(lamina: Lamina, context: Path, archive: Path, stamp: str) -> float:
    """Build to the end, and look at the image; returns the seconds that the build took."""
    (context / "stamp").write_text(f"{stamp}\n")
    started = time.monotonic()
    built = lamina.build(context, f"--output=type=oci,dest={archive}", timeout=PATIENCE)
    built.must_succeed()
    seconds = time.monotonic() - started
    image = read_image(archive)
    tree = image.tree()
    expected = {f"files/f{number}" for number in range(FILES)}
    assert expected | {f"made/{path}" for path in expected} <= tree.keys()
    for path in expected:
        number = path.removeprefix("files/f")
        assert tree[path].content == hashlib.sha256(f"file {number}\n".encode()).hexdigest()
        assert tree[f"made/{path}"].facts() == tree[path].facts()
    assert "var/www" not in tree
    assert (
        image.file("sum").decode().split()[0] == hashlib.sha256(f"{stamp}\n".encode()).hexdigest()
    )
    return seconds


def kill_a_build(
    lamina: Lamina, context: Path, archive: Path, *, after: float, group: bool
) -> None:
    """Start a build and kill it, alone or with all its children, after some seconds."""
    command = lamina.build_command(context, f"--output=type=oci,dest={archive}")
    process = lamina.start(command)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=after)
    if process.poll() is None:
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.communicate()


def left_behind(store: Path) -> list[str]:
    """Processes that still see a mount of the store, after a moment's grace to die."""
    deadline = time.monotonic() + 5
    while (found := mounts_of(store)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def mounts_of(store: Path) -> list[str]:
    found = []
    for mounts in Path("/proc").glob("[0-9]*/mounts"):
        with contextlib.suppress(OSError):
            if f"{store}/" in mounts.read_text(errors="replace"):
                found.append(
                    f"{mounts.parent.name}: {(mounts.parent / 'comm').read_text().strip()}"
                )
    return found
