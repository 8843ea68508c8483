"""Cache mounts leave one machine with `--cache-to …,mounts=` and arrive on another."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Outcome, run
from tests.support.lamina import Lamina
from tests.support.registry import Registry, running_registry
from tests.support.users import OrdinaryUser
from tools.bases import debian_rootfs

pytestmark = pytest.mark.root

DOWNLOAD = re.compile(r"Get:\d+ \S+ \S+/\S+ \S+ (\S+) \S+ \S+ \[")

APT = """\
FROM debian
RUN rm -f /etc/apt/apt.conf.d/docker-clean; \\
    echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' > /etc/apt/apt.conf.d/keep-cache
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \\
    --mount=type=cache,target=/var/lib/apt,sharing=locked \\
    apt-get update && apt-get install -y --no-install-recommends {packages}
"""


class Machines:
    """Machines that start with nothing, and a registry that all of them reach."""

    def __init__(self, root: Path, registry: Registry, base: Path) -> None:
        self.root = root
        self.registry = registry
        self.base = base
        self.ref = registry.repository("cache:mounts")

    def new(self, name: str) -> Lamina:
        return Lamina(store=self.root / name, bases={"busybox": self.base})

    def build(self, machine: Lamina, dockerfile: str, *more: str, attributes: str = "") -> Outcome:
        """Builds with the cache in both directions; every mount goes along."""
        return machine.build(self.context(dockerfile), *self.flags(attributes), *more)

    def context(self, dockerfile: str) -> Path:
        context = self.root / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(dockerfile)
        return context

    def flags(self, attributes: str = "") -> list[str]:
        return [
            "--output=type=cacheonly",
            f"--cache-from=type=registry,ref={self.ref}",
            f"--cache-to=type=registry,ref={self.ref},mode=max{attributes or ',mounts=all'}",
        ]

    def blobs(self) -> dict[str, int]:
        """The size of everything in the registry."""
        data = self.registry.log.parent / "data"
        return {str(path): path.stat().st_size for path in data.rglob("blobs/**/data")}


@pytest.fixture
def machines(tmp_path: Path, busybox_image: Path) -> Iterator[Machines]:
    with running_registry(tmp_path / "registry") as registry:
        yield Machines(tmp_path, registry, busybox_image)


def using(command: str, mount: str = "id=tool,target=/cache") -> str:
    return f"FROM busybox\nRUN --mount=type=cache,{mount} {command}\n"


def test_an_empty_machine_downloads_the_new_package_alone(machines: Machines) -> None:
    """The story of the guides, as CI plays it: every job begins with nothing."""
    here, there = machines.new("here"), machines.new("there")
    for machine in (here, there):
        machine.run("import", debian_rootfs(), "debian").must_succeed()
    first = machines.build(here, APT.format(packages="make hello")).must_succeed()
    assert {"make", "hello"} <= downloads(first)
    second = machines.build(there, APT.format(packages="make hello ed")).must_succeed()
    assert downloads(second) == {"ed"}
    assert "restored cache mount /var/cache/apt" in second.said
    assert "restored cache mount /var/lib/apt" in second.said


def downloads(build: Outcome) -> set[str]:
    return set(DOWNLOAD.findall(build.said))


def test_files_arrive_as_they_were(machines: Machines) -> None:
    """Modes, owners, times and links; the mount's own owner is what its step says."""
    make = (
        "cd /cache && mkdir d && echo text > d/file && ln d/file hard && ln -s d/file soft"
        " && chmod 640 d/file && chown 7:8 d/file && touch -d @1000000000 d/file"
    )
    look = "cd /cache && stat -c '%n %a %u:%g %Y %h %F' . d/file soft && cat hard soft"
    machines.build(machines.new("here"), using(make)).must_succeed()
    seen = machines.build(
        machines.new("there"), using(look, "id=tool,target=/cache,uid=5,mode=711")
    ).must_succeed()
    assert ". 711 5:0" in seen.said
    assert "d/file 640 7:8 1000000000 2 regular file" in seen.said
    assert "symbolic link" in seen.said


def test_one_more_file_sends_little_more_than_itself(machines: Machines) -> None:
    """Among two thousand; counted in the registry's own folder."""
    fill = "for i in $(seq 2000); do seq $i $((i + 500)) > /cache/$i; done"
    here, there = machines.new("here"), machines.new("there")
    machines.build(here, using(fill)).must_succeed()
    before = machines.blobs()
    more = using("head -c 30000 /dev/urandom > /cache/new && ls /cache | wc -l")
    assert "2001" in machines.build(there, more).must_succeed().said
    new = sorted(size for path, size in machines.blobs().items() if path not in before)
    assert 30_000 < max(new) < 31_000
    # Three documents besides: of the cache, of the mount, of the registry.
    assert sum(new) < 40_000


def test_a_build_with_nothing_new_sends_nothing(machines: Machines) -> None:
    """Neither packs nor another document."""
    here = machines.new("here")
    machines.build(here, using("echo text > /cache/file")).must_succeed()
    before = machines.blobs()
    machines.build(here, using("echo text > /cache/file")).must_succeed()
    assert machines.blobs() == before


def test_a_build_that_used_one_mount_keeps_the_others(machines: Machines) -> None:
    """npm's job does not throw away apt's downloads."""
    machines.build(machines.new("one"), using("echo 1 > /cache/f", "id=apt,target=/cache"))
    machines.build(machines.new("two"), using("echo 2 > /cache/f", "id=npm,target=/cache"))
    seen = machines.build(
        machines.new("three"),
        "FROM busybox\nRUN --mount=type=cache,id=apt,target=/a"
        " --mount=type=cache,id=npm,target=/n echo $(cat /a/f /n/f) is here\n",
    ).must_succeed()
    assert "1 2 is here" in seen.said


def test_only_the_mounts_that_are_named_go(machines: Machines) -> None:
    """`mounts=apt;pip` leaves npm's at home; without `mounts=` none goes."""
    text = "FROM busybox\n" + "".join(
        f"RUN --mount=type=cache,id={name},target=/cache echo {name} > /cache/f\n"
        for name in ("apt", "npm", "pip")
    )
    built = machines.build(machines.new("here"), text, attributes=",mounts=apt;pip").must_succeed()
    assert "saved cache mount apt" in built.said
    assert "saved cache mount pip" in built.said
    assert "cache mount npm" not in built.said
    machines.ref += "-none"
    built = machines.build(machines.new("other"), text, attributes=",mode=max").must_succeed()
    assert "cache mount" not in built.said


def test_a_mount_that_no_step_has_is_told(machines: Machines) -> None:
    """A typo in `mounts=` is not silent."""
    text = using("echo tool > /cache/f")
    built = machines.build(machines.new("here"), text, attributes=",mounts=tol").must_succeed()
    assert "mounts=tol: no step of this build has a cache mount with this id" in built.said


def test_the_nearest_state_is_taken(machines: Machines) -> None:
    """An id with a lock file's digest: the last lock file's packages are there."""
    machines.build(
        machines.new("one"), using("echo old > /cache/f", "id=npm-1111,target=/cache")
    ).must_succeed()
    seen = machines.build(
        machines.new("two"), using("echo the $(cat /cache/f) one", "id=npm-2222,target=/cache")
    ).must_succeed()
    assert "the old one" in seen.said
    assert "of npm-1111, the nearest state" in seen.said


def test_a_machine_that_has_the_mount_keeps_it(machines: Machines) -> None:
    """What is there is newer than what comes."""
    machines.build(machines.new("here"), using("echo theirs > /cache/f")).must_succeed()
    there = machines.new("there")
    there.build(machines.context(using("echo ours > /cache/f")), "--output=type=cacheonly")
    seen = machines.build(there, using("echo still $(cat /cache/f)")).must_succeed()
    assert "still ours" in seen.said


def test_a_damaged_pack_costs_a_warning(machines: Machines) -> None:
    """The build starts with an empty mount, as it would have without a cache."""
    machines.build(
        machines.new("here"), using("head -c 100000 /dev/urandom > /cache/f")
    ).must_succeed()
    largest = max(machines.blobs().items(), key=lambda blob: blob[1])[0]
    with open(largest, "r+b") as file:
        file.seek(50_000)
        file.write(b"damage")
    seen = machines.build(
        machines.new("there"), using("echo there are $(ls /cache | wc -l) files")
    ).must_succeed()
    assert "there are 0 files" in seen.said
    assert "cache mount tool starts empty" in seen.said


def test_a_kill_while_a_mount_is_restored_leaves_nothing_half(machines: Machines) -> None:
    """The next build restores it from the start."""
    fill = "for i in $(seq 500); do head -c 100000 /dev/urandom > /cache/$i; done"
    machines.build(machines.new("here"), using(fill)).must_succeed()
    there = machines.new("there")
    look = using("echo there are $(ls /cache | wc -l) files")
    process = there.start(there.build_command(machines.context(look), *machines.flags()))
    assert process.stdout is not None
    while b"restoring cache mount tool" not in (line := process.stdout.readline()):
        assert line, "nothing was restored"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not list(there.store.glob("mounts/*/0/data"))
    seen = machines.build(there, look).must_succeed()
    assert "there are 500 files" in seen.said
    left = {path.name for path in there.store.glob("mounts/*/0/*")}
    assert left <= {"data", "lock", "making", "reading", "stamps", "stamps.lock", "used", "users"}


def test_an_ordinary_user_takes_mounts_along(machines: Machines, user: OrdinaryUser) -> None:
    """Also with files that belong to others inside, which their user namespace can hold."""
    base, context = user.home / "busybox", user.home / "context"
    shutil.copytree(machines.base, base)
    context.mkdir()
    user.own(user.home)
    make = "echo text > /cache/f && chown 33:34 /cache/f && mkdir -m 700 /cache/d"
    for name, command in (("one", make), ("two", "stat -c '%n %a %u:%g' /cache/*")):
        (context / "Dockerfile").write_text(using(command))
        machine = Lamina(store=user.home / name, bases={"busybox": base})
        words = machine.build_command(context, *machines.flags())[1:]
        seen = run([*user.lamina(), *words], env=user.env(), cwd=user.home).must_succeed()
    assert "/cache/d 700 0:0" in seen.said
    assert "/cache/f 644 33:34" in seen.said
