"""What the store takes: told to the byte, bounded before something is written."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.commands import program, run
from tests.support.images import read_image
from tests.support.lamina import Lamina
from tests.support.users import OrdinaryUser

pytestmark = pytest.mark.root

MEGABYTE = 1000 * 1000
STEP = 3 * 1024 * 1024  # bytes that the RUN of `context` writes
SLACK = 300_000  # bytes: the step's own records, index and log
MAX = 13 * MEGABYTE
DOCKERFILE = """\
FROM busybox
COPY stamp /stamp
RUN dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null && cat /stamp >>/big
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """Every stamp makes a layer of three megabytes."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return folder


def disk_use(store: Path) -> int:
    """What du says."""
    out = run((program("du"), "-s", "--block-size=1", store)).must_succeed().stdout
    return int(out.split()[0])


def said_by_du(lamina: Lamina) -> int:
    out = lamina.run("cache", "du", "--json").must_succeed().stdout
    use = json.loads(out)
    assert use["total"] == sum(each["size"] for each in use["kinds"])
    return int(use["total"])


def layers_in(store: Path) -> int:
    return sum(1 for _ in (store / "layers").iterdir())


def build(lamina: Lamina, context: Path, stamp: str, *options: str) -> None:
    (context / "stamp").write_text(f"{stamp}\n")
    lamina.build(context, *options).must_succeed()


def content(lamina: Lamina, context: Path, stamp: str, out: Path) -> dict[str, object]:
    """The files of the image with a stamp, as they come."""
    build(lamina, context, stamp, f"--output=type=oci,dest={out}")
    return {path: (entry.content, entry.facts()) for path, entry in read_image(out).tree().items()}


def test_max_size_holds_while_everything_is_evicted_twenty_times(
    lamina: Lamina, context: Path, tmp_path: Path
) -> None:
    """Use never passes it by more than the step being written, and what went is made again right.

    The base image cannot go while it is in use, so two stamps fit beside it.
    """
    free, bounded = (
        lamina,
        replace(
            lamina,
            store=tmp_path / "bounded",
            environment={"LAMINA_MAX_SIZE": str(MAX)},
        ),
    )
    reference = content(free, context, "1", tmp_path / "free.tar")
    evictions, highest = 0, 0
    for number in range(24):
        before = layers_in(bounded.store) if bounded.store.exists() else 0
        build(bounded, context, str(number), "--tag=app")
        highest = max(highest, disk_use(bounded.store))
        evictions += layers_in(bounded.store) < before + 2
    assert evictions >= 20
    assert highest <= MAX + STEP + SLACK
    assert content(bounded, context, "1", tmp_path / "bounded.tar") == reference
    explained = bounded.run("explain").must_succeed().stdout
    assert "pruned" in explained or "removed" in explained, explained
    assert "max-size" in explained


def test_du_says_what_du_says(lamina: Lamina, context: Path) -> None:
    """To the byte, and by kinds."""
    build(lamina, context, "1", "--tag=app")
    before = disk_use(lamina.store)
    assert said_by_du(lamina) == before
    assert disk_use(lamina.store) == before
    text = lamina.run("cache", "du", "-v").must_succeed().stdout
    assert "layers of steps" in text
    assert "image app:latest" in text


def test_a_dry_run_says_what_goes_then_and_removes_nothing(lamina: Lamina, context: Path) -> None:
    """The same things, for the same reasons."""
    for stamp in "12":
        build(lamina, context, stamp, "--tag=app")
    before = disk_use(lamina.store)
    limits = ("--max-size=1MB", "--json")
    told = json.loads(lamina.run("cache", "prune", "--dry-run", *limits).must_succeed().stdout)
    assert disk_use(lamina.store) == before
    done = json.loads(lamina.run("cache", "prune", *limits).must_succeed().stdout)
    assert {each["id"] for each in done["going"]} == {each["id"] for each in told["going"]}
    assert {each["why"] for each in done["going"]} == {"nothing refers to it", "to make room"}
    assert disk_use(lamina.store) < before - STEP


def test_images_stay_whole_unless_all_is_asked_for(
    lamina: Lamina, context: Path, tmp_path: Path
) -> None:
    """Whatever the limit is; with --all their names go, too."""
    build(lamina, context, "1", "--tag=app")
    lamina.run("cache", "prune", "--max-size=0").must_succeed()
    assert "1" in lamina.run("run", "app", "cat", "/stamp").must_succeed().stdout
    pruned = lamina.run("cache", "prune", "--all").must_succeed().stdout
    assert "image app:latest: removed" in pruned
    assert "app" not in lamina.run("images").must_succeed().stdout
    assert layers_in(lamina.store) == 0
    build(lamina, context, "1", f"--output=type=oci,dest={tmp_path / 'again.tar'}")


def test_what_an_image_alone_needed_can_go_after_rmi(lamina: Lamina, context: Path) -> None:
    """`rmi` takes the name; the space follows."""
    build(lamina, context, "1", "--tag=app")
    lamina.run("rmi", "app").must_succeed()
    before = disk_use(lamina.store)
    lamina.run("cache", "prune", "--max-size=0").must_succeed()
    assert disk_use(lamina.store) < before - STEP
    assert layers_in(lamina.store) == 0


def test_a_running_build_keeps_what_it_needs(lamina: Lamina, context: Path) -> None:
    """Another process prunes everything meanwhile; the build goes on and is right."""
    (context / "Dockerfile").write_text(
        DOCKERFILE + "RUN --mount=type=cache,target=/c touch /c/x && sleep 4\n"
        "RUN test $(stat -c %s /big) -gt 3000000\n"
    )
    (context / "stamp").write_text("1\n")
    process = lamina.start(lamina.build_command(context, "--tag=app"))
    try:
        mounts = lamina.store / "mounts"
        while not (mounts.exists() and any(mounts.glob("*/0/data/x"))):
            assert process.poll() is None
        pruned = lamina.run("cache", "prune", "--all").must_succeed().stdout
        assert "freed" in pruned
        refused = lamina.run("mounts", "rm", "/c").must_fail()
        assert "is in use" in refused.stderr
        assert process.wait(60) == 0, process.stdout and process.stdout.read()
    finally:
        process.kill()
        process.communicate()
    assert "1" in lamina.run("run", "app", "cat", "/stamp").must_succeed().stdout


def test_a_killed_builder_holds_nothing(lamina: Lamina, context: Path) -> None:
    """The next prune takes all that it made."""
    (context / "Dockerfile").write_text(DOCKERFILE + "RUN touch /tmp/now && sleep 60\n")
    (context / "stamp").write_text("1\n")
    process = lamina.start(lamina.build_command(context))
    while not (lamina.store / "layers").exists() or layers_in(lamina.store) < 3:
        assert process.poll() is None
    process.kill()
    process.communicate()
    lamina.run("cache", "prune", "--all").must_succeed()
    assert layers_in(lamina.store) == 0


def test_a_limit_that_cannot_be_kept_is_told_and_the_build_goes_on(
    lamina: Lamina, context: Path
) -> None:
    """It is no reason to fail."""
    small = replace(lamina, environment={"LAMINA_MAX_SIZE": "1MB"})
    (context / "stamp").write_text("1\n")
    said = small.build(context).must_succeed().said
    assert said.count("max-size is 1.0MB") == 1


def test_an_ordinary_user_has_the_same(user: OrdinaryUser, busybox_image: Path) -> None:
    """In a user namespace, where files belong to ids that are not the user's own."""
    context, base, store = (user.home / f"space-{name}" for name in ("context", "base", "store"))
    context.mkdir()
    shutil.copytree(busybox_image, base)
    (context / "stamp").write_text("1\n")
    own = (
        "RUN --mount=type=cache,id=npm,target=/c echo >/c/x && touch /own && chown 3:3 /own /c/x\n"
    )
    (context / "Dockerfile").write_text(DOCKERFILE + own)
    user.own(context)
    user.own(base)
    plain = Lamina(store=store, bases={"busybox": base})

    def lamina(command: list[str]) -> str:
        words = [*user.lamina(), *command[1:]]
        return run(words, env=user.env(), cwd=user.home).must_succeed().stdout

    lamina(plain.build_command(context, "--tag=app"))
    assert json.loads(lamina(plain.command("cache", "du", "--json")))["total"] == disk_use(store)
    lamina(plain.command("mounts", "cp", "npm:/x", user.home / "space-x"))
    lamina(plain.command("mounts", "rm", "npm"))
    lamina(plain.command("cache", "prune", "--all"))
    assert layers_in(store) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of sixteen megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place), check=True)
    yield place
    subprocess.run(("umount", "-l", place), check=True)


def fill(disk: Path) -> None:
    """Not a byte is left."""
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass


def test_a_full_disk_is_one_sentence_and_nothing_is_lost(
    lamina: Lamina, context: Path, small_disk: Path
) -> None:
    """What was there works afterwards, and pruning makes room."""
    full = replace(lamina, store=small_disk / "store")
    build(full, context, "1", "--tag=app")
    (context / "big").write_bytes(b"x" * (14 * 1024 * 1024))
    (context / "Dockerfile").write_text("FROM busybox\nCOPY big /\n")
    failed = full.build(context).must_fail()
    assert "No space left on device" in failed.stderr
    assert "lamina cache prune" in failed.stderr
    assert failed.stderr.count("\nERROR: ") == 1
    (context / "Dockerfile").write_text(DOCKERFILE)
    assert "CACHED" in full.build(context, "--tag=app").must_succeed().said
    fill(small_disk)
    full.run("cache", "prune", "--all").must_succeed()
    assert layers_in(full.store) == 0


def test_builders_and_pruners_at_the_same_time(
    lamina: Lamina, context: Path, tmp_path: Path
) -> None:
    """Three builders share a store that is too small, while somebody prunes all the time."""
    stop = threading.Event()
    shared = replace(lamina, environment={"LAMINA_MAX_SIZE": "12MB"})

    def prune() -> None:
        while not stop.is_set():
            lamina.run("cache", "prune", "--all").must_succeed()

    def work(builder: int) -> None:
        folder = tmp_path / f"context{builder}"
        shutil.copytree(context, folder)
        for number in range(3):
            stamp = f"{builder}-{number}"
            out = tmp_path / f"{builder}.tar"
            build(shared, folder, stamp, f"--output=type=oci,dest={out}")
            image = read_image(out)
            assert image.file("stamp").decode() == f"{stamp}\n"
            assert len(image.file("big")) == STEP + len(stamp) + 1

    with ThreadPoolExecutor(4) as pool:
        pruner = pool.submit(prune)
        try:
            for builder in [pool.submit(work, number) for number in range(3)]:
                builder.result()
        finally:
            stop.set()
        pruner.result()
