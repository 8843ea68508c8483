"""Caches in object stores and in GitHub's cache service, by the command line."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.commands import Outcome
from tests.support.gha import running_gha
from tests.support.lamina import Lamina
from tests.support.registry import running_registry
from tests.support.s3 import BUCKET, SECRET, S3Server, faulty_proxy, running_s3

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM busybox AS tools
COPY word /word
RUN head -c 300000 /dev/urandom > /noise && echo built-$(cat /word) > /built
FROM busybox
COPY --from=tools /built /built
RUN cat /built > /copy
"""
STEPS = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "word").write_text("one")
    return folder


class Machines:
    """Machines that have nothing but the base image."""

    def __init__(self, lamina: Lamina, folder: Path) -> None:
        self._lamina = lamina
        self._folder = folder
        self._number = 0

    def new(self, environment: Mapping[str, str] | None = None) -> Lamina:
        self._number += 1
        store = self._folder / f"machine{self._number}"
        return replace(self._lamina, store=store, environment=environment or {})


@pytest.fixture
def machines(lamina: Lamina, tmp_path: Path) -> Machines:
    return Machines(lamina, tmp_path)


def build(machine: Lamina, project: Path, *flags: str) -> Outcome:
    return machine.build(project, *flags).must_succeed()


def cached(outcome: Outcome) -> int:
    return outcome.said.count(" CACHED\n")


def objects(server: S3Server, prefix: str) -> list[str]:
    url = f"{server.url}/{BUCKET}?list-type=2&prefix={prefix}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    return [part.partition("<")[0] for part in text.split("<Key>")[1:]]


def test_an_empty_machine_builds_from_a_bucket(
    machines: Machines, project: Path, server: S3Server
) -> None:
    """Every step is CACHED, also one whose result is copied; credentials are shown nowhere."""
    flag = server.flag(prefix="first/")
    out = build(machines.new(), project, "--cache-to", f"{flag},mode=max")
    again = build(machines.new(), project, "--cache-from", flag, "--output=type=cacheonly")
    assert cached(again) == STEPS
    assert SECRET not in out.said + again.said
    assert objects(server, "first/manifests/") == ["first/manifests/buildkit"]
    changed = project / "word"
    changed.write_text("two")
    last = build(machines.new(), project, "--cache-from", flag)
    assert cached(last) == 0


def test_several_names_are_written_and_each_is_read(
    machines: Machines, project: Path, server: S3Server
) -> None:
    """Docker's `name=a;b`."""
    build(machines.new(), project, "--cache-to", server.flag(prefix="n/", name="a;b", mode="max"))
    for name in "ab":
        flag = server.flag(prefix="n/", name=name)
        assert cached(build(machines.new(), project, "--cache-from", flag)) == STEPS


def test_credentials_come_from_the_environment(
    machines: Machines, project: Path, server: S3Server
) -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "K",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": server.url,
    }
    flag = f"type=s3,bucket={BUCKET},prefix=env/"
    build(machines.new(environment), project, "--cache-to", f"{flag},mode=max")
    assert cached(build(machines.new(environment), project, "--cache-from", flag)) == STEPS


def test_a_store_that_refuses_costs_a_warning(
    machines: Machines, project: Path, server: S3Server
) -> None:
    """The build itself succeeds; what is said names place and cause, and no key."""
    with faulty_proxy(server) as (proxy, strict):
        proxy.fail("denied", times=99, when=lambda _: True)
        flag = strict.flag()
        outcome = build(machines.new(), project, "--cache-from", flag, "--cache-to", flag)
    assert "InvalidAccessKeyId" in outcome.said
    assert f"s3://{BUCKET}/" in outcome.said
    assert SECRET not in outcome.said
    assert "Traceback" not in outcome.said


def put(server: S3Server, path: str, data: bytes) -> None:
    url, plain = f"{server.url}/{BUCKET}/{path}", {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, data=data, method="PUT", headers=plain)
    urllib.request.urlopen(request, timeout=30).close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_job_builds_from_the_cache_of_the_job_before(
    machines: Machines, project: Path, version: int
) -> None:
    """On GitHub, by either version of its cache service; a pull request starts from main's."""
    with running_gha() as service:
        job = service.environment("refs/heads/main", version=version)
        build(machines.new(job), project, "--cache-to", "type=gha,mode=max")
        assert cached(build(machines.new(job), project, "--cache-from", "type=gha")) == STEPS
        request = service.environment("refs/pull/1/merge", "refs/heads/main", version=version)
        flags = ["--cache-from", "type=gha", "--cache-to", "type=gha,mode=max"]
        assert cached(build(machines.new(request), project, *flags)) == STEPS
        saved = [key for key in service.ready() if key.startswith("lamina-blob-")]
        assert len(saved) == len(set(saved))
        token = job["ACTIONS_RUNTIME_TOKEN"]
        assert all(token not in request for request in service.requests)


def test_a_throttled_service_costs_time_and_nothing_else(machines: Machines, project: Path) -> None:
    with running_gha() as service:
        job = service.environment()
        service.throttle, service.retry_after = 3, "1"
        build(machines.new(job), project, "--cache-to", "type=gha,mode=max")
        assert cached(build(machines.new(job), project, "--cache-from", "type=gha")) == STEPS


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    command = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)]
    subprocess.run(command, check=True)
    command = ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)]
    subprocess.run(command, check=True)
    return private, public


def test_only_signed_records_are_believed(
    machines: Machines, project: Path, server: S3Server, tmp_path: Path
) -> None:
    """With the right key everything hits; with another one nothing does, and one warning says
    how many records were left out."""
    private, public = keys(tmp_path, "ours")
    _, other = keys(tmp_path, "other")
    flag = server.flag(prefix="signed/")
    build(machines.new(), project, "--cache-to", f"{flag},mode=max,sign={private}")
    good = build(machines.new(), project, "--cache-from", f"{flag},verify={public}")
    assert cached(good) == STEPS
    bad = build(machines.new(), project, "--cache-from", f"{flag},verify={other}")
    assert cached(bad) == 0
    assert bad.said.count(f"{STEPS} records are not used") == 1


def test_a_bucket_is_pruned(machines: Machines, project: Path, server: S3Server) -> None:
    """A dry run says what the run then does; what another cache needs stays; the cache works."""
    flag, other = server.flag(prefix="p/"), server.flag(prefix="p/", name="other")
    machine = machines.new()
    build(machine, project, "--cache-to", f"{flag},mode=max")
    build(machine, project, "--cache-to", f"{other},mode=max")
    blobs = objects(server, "p/blobs/")
    prune = ["cache", "prune", "--remote", flag, "--keep", "100kB", "--json"]
    dry = json.loads(machine.run(*prune, "--dry-run").must_succeed().stdout)
    assert objects(server, "p/blobs/") == blobs
    real = json.loads(machine.run(*prune).must_succeed().stdout)
    assert {**dry, "dry_run": False} == real
    assert real["steps"] > 0
    assert real["kept"] <= 100_000
    assert real["blobs"] == 0  # the other cache has them all
    assert objects(server, "p/blobs/") == blobs
    assert cached(build(machines.new(), project, "--cache-from", other)) == STEPS
    last = machine.run("cache", "prune", "--remote", other, "--keep-days=7", "--keep=100kB")
    assert "freed 30" in last.must_succeed().stdout
    assert len(objects(server, "p/blobs/")) == len(blobs) - 1
    again = build(machines.new(), project, "--cache-from", flag)
    assert 0 < cached(again) < STEPS


@pytest.mark.parametrize("readable", [True, False])
def test_documents_of_others_keep_their_blobs(
    machines: Machines, project: Path, server: S3Server, readable: bool
) -> None:
    """Another tool's document in the same bucket names what it needs; of one that cannot be read
    nobody knows, so no blob is removed at all."""
    prefix = f"foreign-{readable}/"
    flag = server.flag(prefix=prefix)
    machine = machines.new()
    build(machine, project, "--cache-to", f"{flag},mode=max")
    blobs = objects(server, f"{prefix}blobs/")
    digest = blobs[0].rpartition("/")[2]
    data = json.dumps({"layers": [{"blob": digest}]}).encode() if readable else b"\x28\xb5?"
    put(server, f"{prefix}manifests/theirs", data)
    told = machine.run("cache", "prune", "--remote", flag, "--keep", "0").must_succeed()
    assert "left as it is" in told.stderr
    assert objects(server, f"{prefix}blobs/") == (blobs[:1] if readable else blobs)
    assert objects(server, f"{prefix}manifests/") == [f"{prefix}manifests/theirs"]


def test_a_blob_that_has_just_arrived_stays(
    machines: Machines, project: Path, server: S3Server
) -> None:
    """A writer sends its blobs before the document that refers to them."""
    flag = server.flag(prefix="young/")
    machine = machines.new()
    build(machine, project, "--cache-to", f"{flag},mode=max")
    young = f"young/blobs/sha256:{'0' * 64}"
    put(server, young, b"of a build that still runs")
    machine.run("cache", "prune", "--remote", flag, "--keep", "0").must_succeed()
    assert objects(server, "young/blobs/") == [young]


def test_a_registry_that_refuses_deletes_holds_an_empty_cache_then(
    machines: Machines, project: Path, tmp_path: Path
) -> None:
    """And says so. The images beside the cache are left alone."""
    with running_registry(tmp_path / "registry", deletes=False) as registry:
        flag = f"type=registry,ref={registry.repository('app:cache')}"
        machine = machines.new()
        build(machine, project, "--cache-to", f"{flag},mode=max")
        outcome = machine.run("cache", "prune", "--remote", flag, "--keep", "0")
        assert "cache is not removed but empty now" in outcome.must_succeed().said
        assert "the place itself frees them" in outcome.said
        assert cached(build(machines.new(), project, "--cache-from", flag)) == 0


def test_a_registry_and_a_folder_are_pruned(
    machines: Machines, project: Path, tmp_path: Path
) -> None:
    with running_registry(tmp_path / "registry") as registry:
        flag = f"type=registry,ref={registry.repository('app:cache')}"
        machine = machines.new()
        build(machine, project, "--cache-to", f"{flag},mode=max")
        told = machine.run("cache", "prune", "--remote", flag, "--keep", "100kB")
        assert "document cache: rewritten" in told.must_succeed().stdout
        assert 0 < cached(build(machines.new(), project, "--cache-from", flag)) < STEPS
        machine.run("cache", "prune", "--remote", flag, "--keep", "0").must_succeed()
        assert "DELETE" in " ".join(registry.requests())
    folder = tmp_path / "folder"
    build(machine, project, "--cache-to", f"type=local,dest={folder},mode=max")
    before = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    prune = ["cache", "prune", "--remote", f"type=local,src={folder}", "--keep", "100kB"]
    machine.run(*prune).must_succeed()
    after = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert before - after > 250_000
    found = build(machines.new(), project, "--cache-from", f"type=local,src={folder}")
    assert 0 < cached(found) < STEPS


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--keep", "much"], "much"),
        (["--remote", "type=s3,bucket=b,region=r"], "what may stay"),
        (["--remote", "type=s3,bucket=b,region=r", "--keep", "much"], "much"),
        (["--remote", "type=s3,bucket=b,region=r", "--keep-days", "-1"], "--keep-days"),
        (["--remote", "type=inline", "--keep", "1"], "inline"),
        (["--remote", "type=s4", "--keep", "1"], "s4"),
        (["--remote", "type=s3,buckett=b", "--keep", "1"], "bucket"),
    ],
)
def test_wrong_flags_of_prune_are_said(machines: Machines, flags: list[str], words: str) -> None:
    outcome = machines.new().run("cache", "prune", *flags).must_fail()
    assert outcome.code == 2
    assert words in outcome.said
