"""What a build makes of a registry that misbehaves, while a cache is read or written and an image
is pushed: at worst a slower build with a warning, never a wrong image."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.commands import Outcome, program, run
from tests.support.lamina import Lamina
from tests.support.registry import Registry, running_registry
from tests.system.faulty_proxy import (
    Cut,
    CutRequest,
    Drop,
    EndEarly,
    Fault,
    FaultyProxy,
    LoseAnswer,
    Stall,
    Status,
    WrongBody,
    WrongBytes,
    faulty_proxy,
)

pytestmark = pytest.mark.root

NOISE = 3_000_000  # bytes of a layer that no compression makes smaller
# The last step reads what the one before it made, so a change of it fetches that layer.
DOCKERFILE = """\
FROM busybox
RUN head -c {noise} /dev/urandom > /noise
RUN sha256sum /noise > /sum
"""
CHANGED = "RUN sha256sum -c /sum && echo right"
STEPS = 2
FOREVER = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Empty machines, a registry, and a proxy in front of it that misbehaves."""

    folder: Path
    base: Path
    registry: Registry
    proxy: FaultyProxy
    stores: list[Path] = field(default_factory=list)

    def build(self, *options: str, store: Path | None = None) -> Outcome:
        """On a machine that knows nothing, unless a store is given."""
        self.stores.append(store or self.folder / f"store-{len(self.stores)}")
        machine = Lamina(store=self.stores[-1], bases={"busybox": self.base})
        return machine.build(self.folder / "context", *options)

    def write(self, text: str) -> None:
        (self.folder / "context").mkdir(exist_ok=True)
        (self.folder / "context" / "Dockerfile").write_text(text)

    def change_last_step(self) -> None:
        path = self.folder / "context" / "Dockerfile"
        first = path.read_text().splitlines()[:-1]
        path.write_text("\n".join([*first, "RUN sha256sum /noise > /sum", CHANGED]))

    def faulty(self, name: str) -> str:
        return f"{self.proxy.address}/{name}"

    def cache(self, name: str) -> str:
        """A cache with every step, which a sound machine has written."""
        ref = self.registry.repository(name)
        self.build(f"--cache-to=type=registry,ref={ref},mode=max").must_succeed()
        return self.faulty(name)


@pytest.fixture
def world(tmp_path: Path, busybox_image: Path, registry: Registry) -> Iterator[World]:
    with faulty_proxy(registry.address) as proxy:
        world = World(folder=tmp_path, base=busybox_image, registry=registry, proxy=proxy)
        world.write(DOCKERFILE.format(noise=NOISE))
        yield world


def ran(outcome: Outcome) -> int:
    return len(re.findall(r"^#\d+ why:", outcome.said, re.MULTILINE))


def cached(outcome: Outcome) -> int:
    return len(re.findall(r"^#\d+ CACHED$", outcome.said, re.MULTILINE))


PASSING: list[list[Fault | None]] = [
    [Status(code=429, headers={"Retry-After": "1"})],
    [Status(code=500)],
    [Status(code=503, headers={"Retry-After": "0"})],
    [Drop()],
    [Stall(after=100, seconds=0.5)],
]
READS: list[list[Fault | None]] = [
    *PASSING,
    [Cut(after=NOISE // 2)],
    [EndEarly(after=NOISE // 2)],
]
WRITES: list[list[Fault | None]] = [
    *PASSING,
    [LoseAnswer()],
    [None, None, CutRequest(after=100_000)],
]


@pytest.mark.parametrize("faults", READS, ids=str)
@pytest.mark.parametrize("part", ["manifests", "blobs"])
def test_a_read_that_fails_for_a_while_succeeds(
    world: World, part: str, faults: list[Fault | None]
) -> None:
    """Documents and layers: every step but the changed one is cached, and its input is right."""
    ref = world.cache(f"reads-{part}-{READS.index(faults)}:cache")
    world.change_last_step()
    world.proxy.faults[part] = list(faults)
    outcome = world.build(f"--cache-from={ref}").must_succeed()
    assert (cached(outcome), ran(outcome)) == (STEPS, 1)
    assert "right" in outcome.said
    assert "warning" not in outcome.said
    assert world.proxy.faults[part] == []


def test_five_cuts_of_a_download_fetch_nothing_twice(world: World) -> None:
    """What comes over the line is the layer, once."""
    ref = world.cache("cuts:cache")
    world.change_last_step()
    # One for the small layer above it, which is over before.
    world.proxy.faults["blobs"] = [None, *(Cut(after=NOISE // 8) for _ in range(6))]
    assert "right" in world.build(f"--cache-from={ref}").must_succeed().said
    ranges = [each.headers["range"] for each in world.proxy.seen if "range" in each.headers]
    starts = [int(found.removeprefix("bytes=").removesuffix("-")) for found in ranges]
    assert len(starts) == 5
    assert starts == sorted(set(starts))
    assert starts[-1] >= 5 * (NOISE // 8 - (1 << 18))


@pytest.mark.parametrize("faults", WRITES, ids=str)
@pytest.mark.parametrize("part", ["manifests", "blobs"])
def test_a_write_that_fails_for_a_while_succeeds(
    world: World, part: str, faults: list[Fault | None]
) -> None:
    """The image and the cache are there afterwards; no warning, and not a byte is wrong."""
    name = f"writes-{part}-{WRITES.index(faults)}"
    world.proxy.faults[f"PUT {part}" if part == "manifests" else part] = list(faults)
    target = f"--cache-to=type=registry,ref={world.faulty(name)}:cache,mode=max,ignore-error=false"
    outcome = world.build("--push", f"--tag={world.faulty(name)}:1", target).must_succeed()
    assert "warning" not in outcome.said
    image = f"docker://{world.registry.repository(name)}:1"
    copied = f"oci:{world.folder}/copy:1"
    run([program("skopeo"), "copy", "--src-tls-verify=false", image, copied]).must_succeed()
    ref = world.registry.repository(f"{name}:cache")
    world.change_last_step()
    again = world.build(f"--cache-from={ref}").must_succeed()
    assert (cached(again), ran(again)) == (STEPS, 1)


def test_a_push_cut_five_times_goes_on(world: World) -> None:
    """Of a large layer, every cut costs not more than the part that was under way."""
    size, part = 80 << 20, 32 << 20
    world.write(f"FROM scratch\nCOPY noise /\n# {size}\n")
    noise = world.folder / "context" / "noise"
    with noise.open("wb") as stream:
        stream.write(random_bytes(size))
    cut = CutRequest(after=part // 4)
    world.proxy.faults["PATCH blobs"] = [cut, None, cut, cut, None, cut, cut]
    ref = world.faulty("five-cuts")
    world.build("--push", f"--tag={ref}:1").must_succeed()
    assert world.proxy.faults["PATCH blobs"] == []
    sent = sum(each.sent for each in world.proxy.seen if each.method in ("PATCH", "PUT"))
    assert size <= sent < size + 5 * part // 4 + (1 << 20)
    assert [each.method for each in world.proxy.seen].count("POST") == 2  # the layer, the config
    image = f"docker://{world.registry.repository('five-cuts')}:1"
    copied = f"oci:{world.folder}/copy:1"
    run([program("skopeo"), "copy", "--src-tls-verify=false", image, copied]).must_succeed()


def random_bytes(size: int) -> bytes:
    with open("/dev/urandom", "rb") as stream:
        return stream.read(size)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ([WrongBytes()] * FOREVER, "sha256"),
        ([Status(code=404)] * FOREVER, "not found"),
        ([Status(code=403)] * FOREVER, "denies access"),
        ([Status(code=500)] * FOREVER, "status 500"),
    ],
    ids=str,
)
def test_a_layer_that_cannot_be_had_is_made_again(
    world: World, faults: list[Fault | None], said: str
) -> None:
    """Its steps run, with a warning that names the cache and the cause; the image is right."""
    name = f"lost-{len(said)}:cache"
    ref = world.cache(name)
    world.change_last_step()
    # The first two blobs are the document and nothing else: it stays as it is.
    world.proxy.faults["blobs"] = [None, *faults]
    outcome = world.build(f"--cache-from={ref}").must_succeed()
    assert "right" in outcome.said
    assert "a cached result cannot be used" in outcome.said
    assert f"{world.proxy.address}/{name.partition(':')[0]}" in outcome.said
    assert said in outcome.said


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Status(code=401), "login"),
        (Status(code=403), "denies access"),
        (Status(code=429, headers={"Retry-After": "3600"}), "wants us to wait"),
        (Status(code=500), "status 500"),
        (WrongBytes(), "manifest"),
        (Drop(), "cannot be reached"),
    ],
    ids=str,
)
def test_a_cache_that_nobody_gets_costs_a_warning(world: World, fault: Fault, said: str) -> None:
    """Reading and writing: the build succeeds, and both warnings name the ref and the cause; with
    ignore-error=false it fails by the registry's fault."""
    name = f"refused-{type(fault).__name__.lower()}-{len(said)}"
    known = world.cache(f"{name}:cache")
    world.proxy.faults["manifests"] = [fault] * FOREVER
    if not isinstance(fault, WrongBytes):
        world.proxy.faults["blobs"] = [fault] * FOREVER
    target = f"type=registry,ref={known},mode=max"
    outcome = world.build(f"--cache-from={known}", f"--cache-to={target}").must_succeed()
    assert ran(outcome) == STEPS
    assert f"the cache is not used: {known}" in outcome.said
    assert said in outcome.said
    if isinstance(fault, WrongBytes):
        return  # what is unreadable is replaced
    assert "the cache was not exported" in outcome.said
    if said not in ("login", "denies access"):
        return  # each is tried for some seconds
    failed = world.build(f"--cache-to={target},ignore-error=false").must_fail()
    assert failed.code == 4
    assert known in failed.said


def test_a_slow_cache_is_not_waited_for(world: World) -> None:
    """timeout= of --cache-from: the build goes on without it, at once."""
    ref = world.cache("slow:cache")
    world.proxy.faults["manifests"] = [Stall(after=0, seconds=20)]
    outcome = world.build(f"--cache-from=type=registry,ref={ref},timeout=0.5").must_succeed()
    assert ran(outcome) == STEPS
    assert "it was not read within timeout=0.5s" in outcome.said


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system in memory that is soon full."""
    place.mkdir()
    words = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    subprocess.run([program("mount"), *words], check=True)
    try:
        yield place
    finally:
        subprocess.run([program("umount"), "--lazy", str(place)], check=True)


def test_a_full_disk_of_the_registry(world: World) -> None:
    """A push fails and says so; a cache costs a warning. What is there afterwards is valid."""
    with (
        small_disk(world.folder / "small", "2m") as disk,
        running_registry(disk) as registry,
    ):
        ref = registry.repository("app")
        refused = world.build("--push", f"--tag={ref}:1").must_fail()
        assert refused.code == 4
        assert f"failed to push {ref}:1" in refused.stderr
        outcome = world.build(f"--cache-to=type=registry,ref={ref}:cache,mode=max").must_succeed()
        assert f"the cache was not exported: {ref}:cache" in outcome.said
        again = world.build(f"--cache-from={ref}:cache").must_succeed()
        assert ran(again) == STEPS


def test_a_full_disk_here(world: World) -> None:
    """What cannot be kept is made again, which cannot be kept either: the disk is named as the
    cause, and nothing half is left to be taken for the whole."""
    ref = world.cache("full:cache")
    world.change_last_step()
    with small_disk(world.folder / "small", "4m") as disk:
        outcome = world.build(f"--cache-from={ref}", store=disk / "store").must_fail()
        assert "a cached result cannot be used" in outcome.said
        assert "No space left on device" in outcome.said
        assert str(disk) in outcome.stderr
        blobs = disk / "store" / "images" / "blobs" / "sha256"
        assert all(path.stat().st_size < NOISE for path in blobs.iterdir())
        assert list((disk / "store" / "images" / "ingest").iterdir()) == []


def test_a_full_disk_where_the_cache_goes(world: World) -> None:
    """type=local into a full disk is a warning with the path; the build has succeeded."""
    with small_disk(world.folder / "small", "1m") as disk:
        target = f"type=local,dest={disk}/cache,mode=max"
        outcome = world.build(f"--cache-to={target}").must_succeed()
        assert "the cache was not exported" in outcome.said
        assert "No space left on device" in outcome.said
        failed = world.build(f"--cache-to={target},ignore-error=false").must_fail()
        assert failed.code == 5
        index = disk / "cache" / "index.json"
        assert not index.exists() or json.loads(index.read_text())["manifests"] == []


def test_wrong_bytes_on_the_way_there(world: World) -> None:
    """The registry refuses them, and they are sent again, until it has the right ones."""
    world.proxy.faults["PUT blobs"] = [WrongBody()]
    ref = world.faulty("wrong")
    world.build("--push", f"--tag={ref}:1").must_succeed()
    assert world.proxy.faults["PUT blobs"] == []
    image = f"docker://{world.registry.repository('wrong')}:1"
    copied = f"oci:{world.folder}/copy:1"
    run([program("skopeo"), "copy", "--src-tls-verify=false", image, copied]).must_succeed()
