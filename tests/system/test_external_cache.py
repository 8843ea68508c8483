"""External caches by the command line: what one machine knows, an empty one knows, too."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from lamina.remotecache.local import LocalCache
from lamina.remotecache.port import StoredDocument
from tests.support.commands import Outcome, program, run
from tests.support.lamina import Lamina
from tests.support.registry import Registry
from tools.bases import busybox_rootfs

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM busybox AS build
RUN echo tools > /tools && head -c 200000 /dev/urandom > /random
COPY main.txt /src/
RUN cat /tools /src/main.txt > /program

FROM busybox
RUN echo base > /base
COPY --from=build /program /program
RUN cat /program > /ran
WORKDIR /srv
RUN echo last > last
"""
STEPS = 8
LAST = "RUN echo last > last"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """Machines that know nothing, as many as are asked for, and a build context for all of them."""

    folder: Path
    bases: dict[str, Path]
    context: Path

    def new(self) -> Lamina:
        number = len(list(self.folder.iterdir()))
        store = self.folder / f"machine-{number}"
        store.mkdir()
        return Lamina(store=store, bases=self.bases)

    def change(self, old: str, new: str) -> None:
        path = self.context / "Dockerfile"
        path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def machines(tmp_path: Path, busybox_image: Path) -> Machines:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "main.txt").write_text("main\n")
    (tmp_path / "machines").mkdir()
    return Machines(folder=tmp_path / "machines", bases={"busybox": busybox_image}, context=context)


def build(machine: Lamina, machines: Machines, *options: str) -> Outcome:
    return machine.build(machines.context, *options).must_succeed()


def cached(outcome: Outcome) -> int:
    return len(re.findall(r"^#\d+ CACHED$", outcome.said, re.MULTILINE))


def reasons(outcome: Outcome) -> list[str]:
    """The steps that ran."""
    return re.findall(r"^#\d+ (\[.*\] .*)\n#\d+ why:", outcome.said, re.MULTILINE)


def image_digest(machine: Lamina, machines: Machines, *options: str) -> str:
    path = machine.store / "metadata.json"
    build(machine, machines, f"--metadata-file={path}", *options)
    digest: str = json.loads(path.read_text())["containerimage.digest"]
    return digest


class Counter:
    """Passes connections on to a registry and counts the bytes that come back and go there."""

    def __init__(self, target: str) -> None:
        self.bytes = 0
        self._target = target
        self._guard = threading.Lock()

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            host, _, port = self._target.partition(":")
            server = socket.create_connection((host, int(port)))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                with self._guard:
                    self.bytes += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def counted(registry: Registry) -> Iterator[tuple[str, Counter]]:
    """The address of a door to the registry at which bytes are counted."""
    counter = Counter(registry.address)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=counter.serve, args=(listener,), daemon=True).start()
        yield f"localhost:{listener.getsockname()[1]}", counter
        listener.shutdown(socket.SHUT_RDWR)


def test_an_empty_machine_runs_nothing(machines: Machines, registry: Registry) -> None:
    """With mode=max in a registry every step is cached on a machine that has never built, the image
    is the same to the byte, and less than 64 KB were transferred."""
    ref = registry.repository("max:cache")
    first = image_digest(machines.new(), machines, f"--cache-to=type=registry,ref={ref},mode=max")
    with counted(registry) as (address, counter):
        empty = machines.new()
        source = ref.replace(registry.address, address)
        second = image_digest(empty, machines, f"--cache-from=type=registry,ref={source}")
        assert 0 < counter.bytes < 64 << 10
        outcome = build(machines.new(), machines, f"--cache-from={source}")
    assert second == first
    assert cached(outcome) == STEPS
    assert reasons(outcome) == []


def test_a_result_is_fetched_where_a_step_needs_it(machines: Machines, registry: Registry) -> None:
    """Where the last step is new, all others stay cached, and it works on what the cache holds."""
    ref = registry.repository("lazy:cache")
    build(machines.new(), machines, f"--cache-to=type=registry,ref={ref},mode=max")
    machines.change(LAST, "RUN grep -q main /ran")
    outcome = build(machines.new(), machines, f"--cache-from={ref}")
    assert cached(outcome) == STEPS - 1
    assert reasons(outcome) == ["[stage-1 6/6] RUN grep -q main /ran"]


def test_the_smaller_cache_knows_every_step(machines: Machines, registry: Registry) -> None:
    """mode=min of a build with two stages: all is cached, and no layer of the first stage is held;
    where one is needed, its step runs again."""
    ref = registry.repository("min:cache")
    build(machines.new(), machines, f"--cache-to={ref}")
    assert cached(build(machines.new(), machines, f"--cache-from={ref}")) == STEPS
    raw = run([program("skopeo"), "inspect", "--tls-verify=false", "--raw", f"docker://{ref}"])
    sizes = [layer["size"] for layer in json.loads(raw.must_succeed().stdout)["layers"]]
    assert sizes
    assert max(sizes) < 100_000
    machines.change("/src/main.txt > /program", "/src/main.txt /random > /program")
    outcome = build(machines.new(), machines, f"--cache-from={ref}")
    assert "[build 2/4]" in " ".join(reasons(outcome))


def test_an_unchanged_cache_is_left_alone(machines: Machines, registry: Registry) -> None:
    """An export with nothing new sends nothing and asks at most three times, also by a machine
    that has none of the layers."""
    ref = registry.repository("unchanged:cache")
    target = f"--cache-to=type=registry,ref={ref},mode=max"
    machine = machines.new()
    build(machine, machines, target)
    before = len(registry.requests())
    build(machine, machines, target)
    asked = registry.requests()[before:]
    assert 0 < len(asked) <= 3
    assert {request.split()[0] for request in asked} == {"GET"}
    build(machines.new(), machines, f"--cache-from={ref}", target)
    asked = registry.requests()[before:]
    assert {request.split()[0] for request in asked} == {"GET"}
    assert not any("404" in request.split()[-1] for request in asked)


def test_only_what_is_missing_is_sent(machines: Machines, registry: Registry) -> None:
    """After a change of the last step its layer and the document are all that is uploaded."""
    ref = registry.repository("more:cache")
    target = f"--cache-to=type=registry,ref={ref},mode=max"
    machine = machines.new()
    build(machine, machines, target)
    machines.change(LAST, "RUN echo other > last")
    before = len(registry.requests())
    build(machine, machines, target)
    uploads = [each for each in registry.requests()[before:] if each.startswith("PUT")]
    assert len([each for each in uploads if "/blobs/" in each]) == 2
    assert len([each for each in uploads if "/manifests/" in each]) == 1


def test_another_repository_borrows(machines: Machines, registry: Registry) -> None:
    """A cache that goes to another repository of the same registry moves no layer."""
    ref, other = registry.repository("lender:cache"), registry.repository("borrower:cache")
    build(machines.new(), machines, f"--cache-to=type=registry,ref={ref},mode=max")
    before = len(registry.requests())
    target = f"--cache-to=type=registry,ref={other},mode=max"
    build(machines.new(), machines, f"--cache-from={ref}", target)
    asked = registry.requests()[before:]
    assert len([each for each in asked if each.startswith("PUT /v2/borrower/blobs")]) == 1
    assert len([each for each in asked if each.startswith("GET /v2/lender/blobs")]) == 1
    machines.change(LAST, "RUN grep -q main /ran")
    assert cached(build(machines.new(), machines, f"--cache-from={other}")) == STEPS - 1


def test_a_base_that_was_imported_here_is_pulled_there(
    machines: Machines, registry: Registry, tmp_path: Path
) -> None:
    """Who imported and pushed the base image fills the cache. Another machine, which pulls that
    image, uses it, also where a step needs the files; the image is the same.
    """
    base, ref = registry.repository("imported:1"), registry.repository("on-imported:cache")
    name = registry.repository("on-imported:1")
    first, text = machines.new(), DOCKERFILE.replace("FROM busybox", f"FROM {base}")
    (machines.context / "Dockerfile").write_text(text)
    rootfs = tmp_path / "rootfs.tar"
    rootfs.write_bytes(busybox_rootfs())
    first.run("import", rootfs, base).must_succeed()
    first.run("push", base).must_succeed()
    push = ("--push", f"--tag={name}")
    made = image_digest(first, machines, *push, f"--cache-to=type=registry,ref={ref},mode=max")
    shown = run([program("skopeo"), "inspect", "--tls-verify=false", "--raw", f"docker://{name}"])
    kinds = {layer["mediaType"] for layer in json.loads(shown.stdout)["layers"]}
    assert kinds == {"application/vnd.oci.image.layer.v1.tar+gzip"}
    assert image_digest(machines.new(), machines, *push, f"--cache-from={ref}") == made
    machines.change(LAST, "RUN grep -q main /ran")
    assert cached(build(machines.new(), machines, f"--cache-from={ref}")) == STEPS - 1


def test_a_foreign_image_does_not_say_whom_to_ask_for_its_layers(
    machines: Machines, registry: Registry
) -> None:
    """Its layers are fetched from where it was found, whatever its manifest says."""
    image = registry.repository("steered:1")
    build(machines.new(), machines, "--push", f"--tag={image}")
    url = f"http://{registry.address}/v2/steered/manifests"
    kind = "application/vnd.oci.image.manifest.v1+json"
    asked = urllib.request.Request(f"{url}/1", headers={"Accept": kind})
    with urllib.request.urlopen(asked) as answer:
        document = json.load(answer)
    for layer in document["layers"]:
        layer["annotations"] = {"lamina.layer.origin": "localhost:1/elsewhere:1"}
    put = urllib.request.Request(f"{url}/2", json.dumps(document).encode(), method="PUT")
    put.add_header("Content-Type", kind)
    urllib.request.urlopen(put).close()
    (machines.context / "Dockerfile").write_text(f"FROM {registry.repository('steered:2')}\n")
    machine = machines.new()
    build(machine, machines)  # now the name is known here, and its layers are not
    machines.change("\n", "\nRUN grep -q main /ran\n")
    build(machine, machines)


def test_without_a_runner_its_cache_is_left_out(machines: Machines) -> None:
    """The command line of a CI job is good on its author's machine."""
    outcome = build(machines.new(), machines, "--cache-from=type=gha", "--cache-to=type=gha")
    assert outcome.said.count("a cache is left out: type=gha: ") == 1


def test_a_folder_is_a_cache(machines: Machines, tmp_path: Path) -> None:
    """type=local: an OCI layout that skopeo reads, by tag and by digest; reset removes the rest."""
    folder = tmp_path / "cache"
    target = f"--cache-to=type=local,dest={folder},mode=max"
    machine = machines.new()
    build(machine, machines, target)
    source = f"--cache-from=type=local,src={folder}"
    assert cached(build(machines.new(), machines, source)) == STEPS
    run([program("skopeo"), "inspect", "--raw", f"oci:{folder}:latest"]).must_succeed()
    digest = json.loads((folder / "index.json").read_text())["manifests"][0]["digest"]
    machines.change("echo tools", "echo others")
    build(machine, machines, f"{target},reset=true,mode=min")
    machines.change("echo others", "echo tools")
    outcome = build(machines.new(), machines, f"{source},digest={digest}")
    assert "the cache is not used" in outcome.said
    build(machine, machines, f"--cache-to=type=local,dest={folder},tag=other,mode=max")
    assert cached(build(machines.new(), machines, f"{source},tag=other")) == STEPS


@pytest.mark.parametrize("way", ["--cache-to=type=inline", "--build-arg=BUILDKIT_INLINE_CACHE=1"])
def test_an_image_holds_its_cache(machines: Machines, registry: Registry, way: str) -> None:
    """An inline cache is in the image, which other tools read as ever; steps are cached from it."""
    image = registry.repository(f"inline-{len(way)}:1")
    build(machines.new(), machines, "--push", f"--tag={image}", way)
    described = run(
        [program("skopeo"), "inspect", "--tls-verify=false", f"docker://{image}"]
    ).must_succeed()
    assert json.loads(described.stdout)["Layers"]
    outcome = build(machines.new(), machines, f"--cache-from={image}")
    assert cached(outcome) == STEPS
    machines.change(LAST, "RUN grep -q main /ran")
    assert cached(build(machines.new(), machines, f"--cache-from={image}")) == STEPS - 1


def test_ten_writers_lose_nothing(machines: Machines, registry: Registry) -> None:
    """layout=records: ten builds write at once, and each one's steps hit on an empty machine."""
    (machines.context / "Dockerfile").write_text(
        "FROM busybox\nRUN echo all > /all\nARG N\nRUN echo $N > /own\n"
    )
    place = f"type=registry,ref={registry.repository('records:cache')},layout=records"

    def write(number: int, machine: Lamina) -> None:
        build(machine, machines, f"--build-arg=N={number}", f"--cache-to={place},mode=max")

    writers = [machines.new() for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(write, range(10), writers))
    reader = machines.new()
    for number in range(10):
        outcome = build(reader, machines, f"--build-arg=N={number}", f"--cache-from={place}")
        assert cached(outcome) == 2, number
    write(10, machines.new())
    repository = f"docker://{registry.repository('records')}"
    listing = [program("skopeo"), "list-tags", "--tls-verify=false", repository]
    tags = run(listing).must_succeed()
    assert len(json.loads(tags.stdout)["Tags"]) == 1
    outcome = build(machines.new(), machines, "--build-arg=N=3", f"--cache-from={place}")
    assert cached(outcome) == 2


def test_layers_leave_while_steps_run(machines: Machines, registry: Registry) -> None:
    """background=true: the first layer is in the registry before the last step has run."""
    (machines.context / "Dockerfile").write_text(
        "FROM busybox\nRUN echo first > /first\nRUN sleep 2\nRUN date +%s > /time\n"
    )
    ref = registry.repository("background:cache")
    target = f"--cache-to=type=registry,ref={ref},mode=max,background=true"
    build(machines.new(), machines, target)
    done = [
        entry["time"]
        for line in registry.log.read_text().splitlines()
        if line.startswith("{")
        and "/v2/background/" in line
        and (entry := json.loads(line)).get("http.request.method") == "PUT"
        and "http.response.status" in entry
    ]
    assert len(done) >= 3
    first, last = (float(time[17:26]) for time in (min(done), max(done)))
    assert (last - first) % 60 > 1


def test_an_export_that_fails_only_warns(machines: Machines) -> None:
    """A cache that cannot be written is a warning; with ignore-error=false it is a failure."""
    machine = machines.new()
    target = "--cache-to=type=registry,ref=localhost:1/app:cache"
    outcome = build(machine, machines, target)
    assert "the cache was not exported: localhost:1/app:cache" in outcome.said
    failed = machine.build(machines.context, f"{target},ignore-error=false").must_fail()
    assert "localhost:1/app:cache" in failed.said


def test_a_limited_export_ends(machines: Machines, registry: Registry) -> None:
    """timeout= boxes the export: the build succeeds, and what was sent by then is a valid cache."""
    ref = registry.repository("timeout:cache")
    outcome = build(
        machines.new(), machines, f"--cache-to=type=registry,ref={ref},mode=max,timeout=0"
    )
    assert "were not sent within timeout=0s" in outcome.said
    assert cached(build(machines.new(), machines, f"--cache-from={ref}")) == STEPS


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{registry}/missing:cache", "missing:cache: not found"),
        ("localhost:1/app:cache", "localhost:1/app:cache: localhost:1 cannot be reached"),
        ("{registry}/ordinary:1", "ordinary:1 is an ordinary image"),
        ("{registry}/version:cache", "the cache has version 99"),
        ("type=local,src=/nowhere", "/nowhere: not found"),
    ],
)
def test_a_cache_that_cannot_be_read_only_warns(
    machines: Machines, registry: Registry, tmp_path: Path, source: str, why: str
) -> None:
    """A warning names the cache and the cause; the build goes on and ends well."""
    if "ordinary" in source:
        image = machines.bases["busybox"]
        target = f"docker://{registry.repository('ordinary:1')}"
        copy(f"oci:{image}:latest", target)
    if "version" in source:
        copy(
            f"oci:{newer_cache(tmp_path / 'newer')}:cache",
            f"docker://{registry.address}/version:cache",
        )
    text = source.format(registry=registry.address)
    outcome = build(machines.new(), machines, f"--cache-from={text}")
    assert why in outcome.said
    assert "the cache is not used" in outcome.said
    assert len(reasons(outcome)) == STEPS


def copy(source: str, target: str) -> None:
    run([program("skopeo"), "copy", "--dest-tls-verify=false", source, target]).must_succeed()


def newer_cache(folder: Path) -> Path:
    """A cache of a version that nobody knows yet."""
    cache = LocalCache(str(folder))
    cache.write(StoredDocument(name="cache", data=b'{"version":99}'))
    return folder


def test_a_corrupt_blob_costs_a_step(machines: Machines, tmp_path: Path) -> None:
    """Blobs that are not what they should be are told and made again: the image is right."""
    folder = tmp_path / "cache"
    build(machines.new(), machines, f"--cache-to=type=local,dest={folder},mode=max")
    index = json.loads((folder / "index.json").read_text())
    manifest = read_blob(folder, index["manifests"][0]["digest"])
    for layer in manifest["layers"]:
        path = blob_path(folder, layer["digest"])
        data = path.read_bytes()
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    machines.change(LAST, "RUN grep -q main /ran")
    outcome = build(machines.new(), machines, f"--cache-from=type=local,src={folder}")
    assert "a cached result cannot be used" in outcome.said
    assert str(folder) in outcome.said


def read_blob(folder: Path, digest: str) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = json.loads(blob_path(folder, digest).read_bytes())
    return found


def blob_path(folder: Path, digest: str) -> Path:
    return folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


def test_a_read_only_cache_is_not_written(machines: Machines, registry: Registry) -> None:
    """A pull request's build reads the cache, and leaves it as it was."""
    ref = registry.repository("readonly:cache")
    build(machines.new(), machines, f"--cache-to={ref}")
    machines.change(LAST, "RUN echo evil > last")
    before = len(registry.requests())
    outcome = build(
        machines.new(),
        machines,
        f"--cache-from=type=registry,ref={ref},read-only",
        f"--cache-to={ref}",
    )
    assert cached(outcome) == STEPS - 1
    assert "--cache-from says read-only" in outcome.said
    assert {each.split()[0] for each in registry.requests()[before:]} <= {"GET", "HEAD"}


@pytest.fixture
def key_pair(tmp_path: Path) -> tuple[Path, Path]:
    """A private key and its public key, as openssl makes them."""
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    openssl = program("openssl")
    run([openssl, "genpkey", "-algorithm", "ed25519", "-out", private]).must_succeed()
    run([openssl, "pkey", "-in", private, "-pubout", "-out", public]).must_succeed()
    return private, public


def test_only_signed_records_are_used(
    machines: Machines, tmp_path: Path, key_pair: tuple[Path, Path]
) -> None:
    """verify= takes what the key has signed, and nothing else."""
    private, public = key_pair
    signed, unsigned = tmp_path / "signed", tmp_path / "unsigned"
    machine = machines.new()
    build(machine, machines, f"--cache-to=type=local,dest={signed},sign={private}")
    build(machine, machines, f"--cache-to=type=local,dest={unsigned}")
    for folder, hits in ((signed, STEPS), (unsigned, 0)):
        source = f"--cache-from=type=local,src={folder},verify={public}"
        assert cached(build(machines.new(), machines, source)) == hits


def test_a_signature_says_nothing_of_what_others_left(
    machines: Machines, tmp_path: Path, key_pair: tuple[Path, Path]
) -> None:
    """What somebody without the key wrote is not signed by the next one who has it."""
    private, public = key_pair
    place = tmp_path / "cache"
    machines.change(LAST, "RUN echo evil > last")
    build(machines.new(), machines, f"--cache-to=type=local,mode=max,dest={place}")
    machines.change("RUN echo evil > last", LAST)
    build(machines.new(), machines, f"--cache-to=type=local,mode=max,dest={place},sign={private}")
    source = f"--cache-from=type=local,src={place},verify={public}"
    machines.change(LAST, "RUN echo evil > last")
    assert "echo evil" in " ".join(reasons(build(machines.new(), machines, source)))
