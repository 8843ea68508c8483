"""Several builds at once in one store, and several steps at once in one build."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.aftermath import left_behind
from tests.support.commands import Outcome, run
from tests.support.images import read_image
from tests.support.lamina import Lamina

pytestmark = pytest.mark.root

PATIENCE = 60.0  # seconds
F = "FROM busybox\n"
LOG = "RUN --mount=type=cache,target=/log,id=log,sharing={sharing} "


def context_of(folder: Path, dockerfile: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "a").write_text("the same\n")
    return folder


def build_at_once(lamina: Lamina, contexts: Sequence[Path], folder: Path) -> list[Outcome]:
    """Start a build of every context, and wait for all of them."""
    running = []
    for number, context in enumerate(contexts):
        output = f"--output=type=oci,dest={folder / f'{number}.tar'}"
        running.append(lamina.start(lamina.build_command(context, output)))
    outcomes = []
    for process in running:
        said, _ = process.communicate(timeout=PATIENCE)
        text = said.decode(errors="replace")
        assert process.returncode == 0, text
        outcomes.append(Outcome(command=(), code=0, stdout=text, stderr=""))
    return outcomes


def mount_lines(store: Path, name: str) -> list[str]:
    """The lines of `runs` in all folders of a cache mount."""
    lines = []
    for home in (store / "mounts").iterdir():
        if (home / "id").read_text().startswith(f"{name}\n"):
            for file in sorted(home.glob("*/data/runs")):
                lines += file.read_text().splitlines()
    return lines


@pytest.mark.parametrize(
    ("builds", "sharing"), [(2, "locked"), (2, "private"), (10, "shared"), (10, "locked")]
)
def test_the_same_build_at_once(lamina: Lamina, tmp_path: Path, builds: int, sharing: str) -> None:
    """Every step runs once, whoever comes first, and all images are the same."""
    log = LOG.format(sharing=sharing)
    dockerfile = (
        F
        + "COPY a /a\n"
        + "".join(
            f"{log}echo {step} >>/log/runs; sleep 0.1; cat /a >/made{step}\n" for step in (1, 2, 3)
        )
    )
    context = context_of(tmp_path / "context", dockerfile)
    build_at_once(lamina, [context] * builds, tmp_path)
    assert sorted(mount_lines(lamina.store, "log")) == ["1", "2", "3"]
    images = [read_image(tmp_path / f"{number}.tar") for number in range(builds)]
    assert all(image.document == images[0].document for image in images)
    assert images[0].file("made3") == b"the same\n"
    assert left_behind(lamina.store) == []


def test_different_builds_at_once(lamina: Lamina, tmp_path: Path) -> None:
    """Steps that are equal run once; those that differ run each, and every image is right."""
    log = LOG.format(sharing="locked")
    contexts = [
        context_of(
            tmp_path / f"context{number}",
            F + f"COPY a /a\n{log}echo common >>/log/runs; cat /a >/common\n"
            f"{log}echo own{number} >>/log/runs; echo {number} >/own\n",
        )
        for number in range(6)
    ]
    build_at_once(lamina, contexts, tmp_path)
    expected = ["common", *(f"own{number}" for number in range(6))]
    assert sorted(mount_lines(lamina.store, "log")) == sorted(expected)
    for number in range(6):
        image = read_image(tmp_path / f"{number}.tar")
        assert image.file("own") == f"{number}\n".encode()
        assert image.file("common") == b"the same\n"


@pytest.mark.parametrize("sharing", ["locked", "private", "shared"])
def test_one_cache_mount_in_builds_at_once(lamina: Lamina, tmp_path: Path, sharing: str) -> None:
    """`locked` lets one in at a time, `private` gives each its own folder, `shared` lets all in."""
    mount = f"RUN --mount=type=cache,target=/log,id=log,sharing={sharing} "
    script = (
        "echo {n} >>/log/runs; mkdir /log/in 2>/dev/null || echo met >>/log/runs; "
        "sleep 0.6; rmdir /log/in 2>/dev/null; true"
    )
    contexts = [
        context_of(tmp_path / f"context{n}", F + mount + script.format(n=n) + "\n")
        for n in range(3)
    ]
    outcomes = build_at_once(lamina, contexts, tmp_path)
    lines = mount_lines(lamina.store, "log")
    assert sorted(line for line in lines if line != "met") == ["0", "1", "2"]
    [home] = (lamina.store / "mounts").iterdir()
    folders = len(list(home.glob("*/data")))
    match sharing:
        case "locked":
            assert folders == 1
            assert "met" not in lines
            assert any("waiting for the lock" in outcome.stdout for outcome in outcomes)
        case "private":
            assert folders == 3
            assert "met" not in lines
        case "shared":
            assert folders == 1
            assert "met" in lines


def test_a_private_folder_is_used_again(lamina: Lamina, tmp_path: Path) -> None:
    """A build that is alone finds what the last one left."""
    mount = "RUN --mount=type=cache,target=/log,id=log,sharing=private "
    for number in range(3):
        context = context_of(tmp_path / "context", F + mount + f"echo {number} >>/log/runs\n")
        lamina.build(context, "--output=type=cacheonly").must_succeed()
    assert mount_lines(lamina.store, "log") == ["0", "1", "2"]
    [home] = (lamina.store / "mounts").iterdir()
    assert len(list(home.glob("*/data"))) == 1


@pytest.mark.parametrize("sharing", ["locked", "private", "shared"])
def test_one_cache_mount_at_two_places(lamina: Lamina, tmp_path: Path, sharing: str) -> None:
    """A step that mounts one id twice sees the same files in both, and does not wait for itself."""
    one, two = (f"--mount=type=cache,target=/{at},id=log,sharing={sharing}" for at in "ab")
    context = context_of(tmp_path / "context", F + f"RUN {one} {two} echo x >/a/f && cat /b/f\n")
    lamina.build(context, "--output=type=cacheonly", timeout=PATIENCE).must_succeed()


def test_locks_in_opposite_order(lamina: Lamina, tmp_path: Path) -> None:
    """Two steps that lock the same two cache mounts never wait for each other for ever."""

    def stage(name: str, first: str, second: str) -> str:
        mounts = " ".join(
            f"--mount=type=cache,target=/{each},id={each},sharing=locked"
            for each in (first, second)
        )
        steps = "".join(f"RUN {mounts} sleep 0.05; echo {name}{n} >/n\n" for n in range(4))
        return f"FROM busybox AS {name}\n{steps}"

    dockerfile = stage("one", "x", "y") + stage("two", "y", "x")
    dockerfile += "FROM busybox\nCOPY --from=one /n /1\nCOPY --from=two /n /2\n"
    context = context_of(tmp_path / "context", dockerfile)
    lamina.build(context, "--output=type=cacheonly", timeout=PATIENCE).must_succeed()


def stages(count: int, command: str) -> str:
    made = "".join(
        f"FROM busybox AS s{n}\nRUN --mount=type=cache,target=/log,id=log {command.format(n=n)}\n"
        for n in range(count)
    )
    return made + F + "".join(f"COPY --from=s{n} /n /n{n}\n" for n in range(count))


def test_independent_stages_run_at_once(lamina: Lamina, tmp_path: Path) -> None:
    """Each stage waits for the other: one after the other they would never end."""
    meet = (
        "touch /log/{n}; i=0; while [ $(ls /log | wc -l) -lt 3 ]; do sleep 0.05; i=$((i+1)); "
        "[ $i -lt 400 ] || exit 1; done; echo {n} >/n"
    )
    context = context_of(tmp_path / "context", stages(3, meet))
    archive = tmp_path / "image.tar"
    lamina.build(context, f"--output=type=oci,dest={archive}", timeout=PATIENCE).must_succeed()
    image = read_image(archive)
    assert [image.file(f"n{n}") for n in range(3)] == [b"0\n", b"1\n", b"2\n"]


def test_jobs(lamina: Lamina, tmp_path: Path) -> None:
    """With --jobs=1 no two steps run at once."""
    alone = (
        "mkdir /log/in || echo met >>/log/runs; sleep 0.1; rmdir /log/in; "
        "echo {n} >>/log/runs; echo {n} >/n"
    )
    context = context_of(tmp_path / "context", stages(4, alone))
    lamina.build(context, "--output=type=cacheonly", "--jobs=1", timeout=PATIENCE).must_succeed()
    assert sorted(mount_lines(lamina.store, "log")) == ["0", "1", "2", "3"]


def test_equal_steps_of_one_build_run_once(lamina: Lamina, tmp_path: Path) -> None:
    """Two stages with the same instructions are one piece of work."""
    log = LOG.format(sharing="locked")
    same = f"RUN true\n{log}echo ran >>/log/runs; echo x >/n\n"
    dockerfile = f"FROM busybox AS one\n{same}FROM busybox AS two\n{same}"
    dockerfile += F + "COPY --from=one /n /1\nCOPY --from=two /n /2\n"
    context = context_of(tmp_path / "context", dockerfile)
    lamina.build(context, "--output=type=cacheonly", timeout=PATIENCE).must_succeed()
    assert mount_lines(lamina.store, "log") == ["ran"]


def test_a_build_beside_a_removal(lamina: Lamina, tmp_path: Path) -> None:
    """Images can be removed and listed while others are built."""
    contexts = [context_of(tmp_path / f"context{n}", F + f"RUN echo {n} >/n\n") for n in range(3)]
    running = [
        lamina.start(lamina.build_command(context, f"--tag=app:{n}"))
        for n, context in enumerate(contexts)
    ]
    deadline = time.monotonic() + PATIENCE
    while any(process.poll() is None for process in running):
        run(lamina.command("images"), env=lamina.env()).must_succeed()
        run(lamina.command("rmi", "app:0"), env=lamina.env())
        assert time.monotonic() < deadline
    for process in running:
        said, _ = process.communicate()
        assert process.returncode == 0, said.decode(errors="replace")
