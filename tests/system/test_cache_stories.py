"""The command lines of the guides against registries that want a login: two machines, one cache."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.commands import Outcome, program, run
from tests.support.lamina import Lamina
from tests.support.registry import PASSWORD, USER, running_registry
from tests.system import token_server as tokens

pytestmark = pytest.mark.root

# What the guides build is an application with dependencies; what it takes to tell them apart is
# where the steps' results come from.
DOCKERFILE = """\
FROM busybox AS dependencies
WORKDIR /app
COPY package.json yarn.lock .
RUN --mount=type=cache,target=/root/.npm cat package.json yarn.lock > installed

FROM dependencies AS build
COPY . .
RUN cat installed main.js > bundle

FROM busybox
RUN --mount=type=bind,target=/source ls /source > /listed
COPY --from=build /app/bundle /bundle
"""
STEPS = 7
KINDS = ("plain", "tls", "password", "tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A registry, who may use it, and what a client's environment needs to reach it."""

    address: str
    user: str
    password: str
    environment: Mapping[str, str]


@contextlib.contextmanager
def guarded(kind: str, folder: Path) -> Iterator[Guarded]:
    if kind == "tokens":
        with (
            tokens.token_server(folder / "tokens") as server,
            tokens.token_registry(folder / "guard", server, folder / "data") as address,
        ):
            yield Guarded(
                address=address, user=tokens.USER, password=tokens.PASSWORD, environment={}
            )
        return
    login, tls = kind in ("password", "tls"), kind == "tls"
    with running_registry(folder / "registry", login=login, tls=tls) as registry:
        trusted = {"SSL_CERT_FILE": str(registry.certificate)} if registry.certificate else {}
        user, password = (USER, PASSWORD) if login else ("", "")
        yield Guarded(address=registry.address, user=user, password=password, environment=trusted)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    folder: Path
    base: Path
    registry: Guarded

    def machine(self, name: str) -> Lamina:
        """One that knows nothing, neither layers nor passwords."""
        folder = self.folder / name
        return Lamina(
            store=folder / "store",
            bases={"busybox": self.base},
            environment={**self.registry.environment, "DOCKER_CONFIG": str(folder / "docker")},
        )

    def log_in(self, machine: Lamina) -> None:
        if self.registry.user:
            words = ("login", "--username", self.registry.user, "--password-stdin")
            password = f"{self.registry.password}\n".encode()
            machine.run(*words, self.registry.address, stdin=password).must_succeed()

    @property
    def context(self) -> Path:
        return self.folder / "context"

    @property
    def app(self) -> str:
        return f"{self.registry.address}/user/app"

    def digest(self, name: str) -> str:
        """What skopeo finds under a name."""
        login = [f"--creds={self.registry.user}:{self.registry.password}"]
        words = [program("skopeo"), "inspect", "--no-tags", "--tls-verify=false"]
        asked = [*words, *(login if self.registry.user else []), "--format={{.Digest}}"]
        return run([*asked, f"docker://{name}"]).must_succeed().stdout.strip()


@pytest.fixture(params=["password"])
def world(request: pytest.FixtureRequest, tmp_path: Path, busybox_image: Path) -> Iterator[World]:
    with guarded(str(request.param), tmp_path) as registry:
        world = World(folder=tmp_path, base=busybox_image, registry=registry)
        world.context.mkdir()
        for name in ("package.json", "yarn.lock", "main.js"):
            (world.context / name).write_text(f"{name}\n")
        (world.context / "Dockerfile").write_text(DOCKERFILE)
        yield world


def ran(outcome: Outcome) -> int:
    return len(re.findall(r"^#\d+ why:", outcome.said, re.MULTILINE))


def cached(outcome: Outcome) -> int:
    return len(re.findall(r"^#\d+ CACHED$", outcome.said, re.MULTILINE))


@pytest.mark.parametrize("world", KINDS, indirect=True)
def test_an_empty_machine_runs_nothing(world: World) -> None:
    """Whatever way the registry knows its users: after a login, the guide's command line is cached
    from top to bottom on a machine that has nothing, pushes the same image, and so is the local
    build of somebody who only reads."""
    flags = (
        *("--push", f"--tag={world.app}:latest"),
        f"--cache-from=type=registry,ref={world.app}:buildcache",
        f"--cache-to=type=registry,ref={world.app}:buildcache,mode=max",
    )
    first, second, laptop = (world.machine(name) for name in ("first", "second", "laptop"))
    world.log_in(first)
    assert ran(first.build(world.context, *flags).must_succeed()) == STEPS
    digest = world.digest(f"{world.app}:latest")
    world.log_in(second)
    again = second.build(world.context, *flags).must_succeed()
    assert (ran(again), cached(again)) == (0, STEPS)
    assert "nothing was written" in again.said
    assert world.digest(f"{world.app}:latest") == digest
    world.log_in(laptop)
    local = laptop.build(
        world.context, f"--cache-from=type=registry,ref={world.app}:buildcache"
    ).must_succeed()
    assert (ran(local), cached(local)) == (0, STEPS)


def test_one_change_runs_one_step(world: World) -> None:
    """On an empty machine, after a change of one source file: the dependencies stay cached, and
    what has to run finds its files."""
    first, second = world.machine("first"), world.machine("second")
    target = f"--cache-to=type=registry,ref={world.app}:buildcache,mode=max"
    world.log_in(first)
    first.build(world.context, target).must_succeed()
    (world.context / "main.js").write_text("changed\n")
    world.log_in(second)
    outcome = second.build(
        world.context,
        f"--cache-from={world.app}:buildcache",
        f"--output=type=local,dest={world.folder}/out",
    ).must_succeed()
    assert (world.folder / "out" / "bundle").read_text() == "package.json\nyarn.lock\nchanged\n"
    # `COPY . .`, what is made of it, its copy in the last stage; the bind mount shows other files.
    assert ran(outcome) == 4
    assert cached(outcome) == STEPS - 4


@pytest.mark.parametrize("world", ["password", "tls", "tokens"], indirect=True)
def test_a_wrong_password_costs_the_cache_and_no_more(world: World) -> None:
    """Both flags warn with the ref and what to do, and the build succeeds; a push fails by it. The
    password is nowhere in what is said or kept."""
    machine, secret = world.machine("machine"), "hunter2-is-secret"
    auth = base64.b64encode(f"{world.registry.user}:{secret}".encode()).decode()
    docker = Path(machine.environment["DOCKER_CONFIG"])
    docker.mkdir(parents=True)
    (docker / "config.json").write_text(
        json.dumps({"auths": {world.registry.address: {"auth": auth}}})
    )
    cache = f"type=registry,ref={world.app}:buildcache"
    flags = (f"--cache-from={cache}", f"--cache-to={cache},mode=max")
    outcome = machine.build(world.context, *flags).must_succeed()
    assert ran(outcome) == STEPS
    assert f"the cache is not used: {world.app}:buildcache" in outcome.said
    assert f"the cache was not exported: {world.app}:buildcache" in outcome.said
    pushed = machine.build(world.context, "--push", f"--tag={world.app}:1").must_fail()
    assert pushed.code == 4
    assert f"lamina login {world.registry.address}" in pushed.stderr
    failed = machine.build(world.context, f"{flags[1]},ignore-error=false").must_fail()
    assert failed.code == 4
    everything = outcome.said + pushed.said + failed.said
    for path in machine.store.rglob("*"):
        if path.is_file() and not path.is_symlink() and "diff" not in path.parts:
            everything += path.read_bytes().decode(errors="replace")
    assert secret not in everything
    assert auth not in everything


def test_a_token_expires_while_a_step_runs(tmp_path: Path, busybox_image: Path) -> None:
    """The registry's tokens live for seconds, the build takes longer: the image and the cache are
    there all the same, and nobody notices."""
    with (
        tokens.token_server(tmp_path / "tokens") as server,
        tokens.token_registry(tmp_path / "guard", server, tmp_path / "data") as address,
    ):
        registry = Guarded(
            address=address, user=tokens.USER, password=tokens.PASSWORD, environment={}
        )
        world = World(folder=tmp_path, base=busybox_image, registry=registry)
        world.context.mkdir()
        (world.context / "Dockerfile").write_text("FROM busybox\nRUN sleep 3 && echo > /slept\n")
        machine = world.machine("machine")
        world.log_in(machine)
        server.valid_for = -58.0  # the registry allows a minute for clocks that differ
        outcome = machine.build(
            world.context,
            *("--push", f"--tag={world.app}:1"),
            f"--cache-from={world.app}:buildcache",
            f"--cache-to=type=registry,ref={world.app}:buildcache,mode=max,ignore-error=false",
        ).must_succeed()
        assert re.findall(r"^ - (.*)", outcome.said, re.MULTILINE) == [
            f"the cache is not used: {world.app}:buildcache: not found"
        ]
        server.valid_for = 300
        other = world.machine("other")
        world.log_in(other)
        again = other.build(world.context, f"--cache-from={world.app}:buildcache").must_succeed()
        assert (ran(again), cached(again)) == (0, 1)
