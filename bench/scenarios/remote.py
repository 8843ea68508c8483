"""Over loopback, with the same registry: push, pull, and a cached build on an empty machine.

What there is to send is the same for all: the blobs of the image are compressed before the clock
starts, and each side sends and fetches those very bytes. skopeo copies between an OCI layout and
the registry, Lamina between its store, whose blobs are an OCI layout, and the registry. What has
arrived is compared blob by blob.

A registry starts empty for every push, at another port, so that nobody remembers what it had. Bytes
are counted in a round of their own, by a line that passes them on, because that line takes time.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.builders import Base, CannotRun
from bench.builders.buildah import furnish, working_tool
from bench.builders.lamina import LaminaBuilder
from bench.measure import Cost, measure
from bench.scenarios import MIB
from bench.turns import say
from tests.support.buildah import Buildah, release
from tests.support.lamina import COMMAND
from tests.support.registry import Registry, running_registry

NAME = "push, pull, and a build from an external cache"
LAYERS, LAYER = 10, 100 * MIB
STEPS = 8
DOCKERFILE = "FROM busybox\n" + "".join(
    f"RUN head -c {25 * MIB} /dev/urandom > /file{number}\n" for number in range(STEPS)
)
TRANSFER, IMPORT = 0.6, 0.1
MEMORY, LINE, REQUESTS = 200 * MIB, 64 << 10, 3
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One comparison. `costs` by tool, Lamina first; `target` bounds the ratio to the other.

    `moved` are bytes over the line, by tool, where that is the point; `requests` counts Lamina's.
    """

    name: str
    target: float | None = None
    costs: Mapping[str, Sequence[Cost]] = field(default_factory=dict)
    moved: Mapping[str, int] = field(default_factory=dict)
    requests: Sequence[str] = ()


def exchanges(builder: LaminaBuilder, base: Base, disk: Path, rounds: int) -> list[Exchange]:
    """All of them, in turns. Raises CommandFailed, and AssertionError for bytes that differ."""
    found = [*transfers(builder, disk, rounds)] if shutil.which("skopeo") else []
    try:
        tool = working_tool(disk / "buildah")
    except CannotRun as error:
        say(f"{NAME}: {error}")
        return found
    return [*found, *caches(builder, tool, base, disk, rounds)]


def transfers(builder: LaminaBuilder, disk: Path, rounds: int) -> Iterator[Exchange]:
    """Push and pull of ten layers."""
    layout = disk / "layout"
    write_image(layout)
    builder.fresh(())
    measure([[*lamina(builder.state), "import", str(layout), "bench:1"]], builder.env())
    pushes: dict[str, list[Cost]] = {"lamina": [], "skopeo": []}
    pulls: dict[str, list[Cost]] = {"lamina": [], "skopeo": []}
    here, there = disk / "pulled", disk / "copied"
    for number in range(rounds + 1):  # the first warms up
        with fresh_registry(disk) as registry:
            name = registry.repository("app:1")
            measure([[*lamina(builder.state), "tag", "bench:1", name]], builder.env())
            pushed = measure([[*lamina(builder.state), "push", "--quiet", name]], builder.env())
            pulled = measure([[*lamina(here), "pull", "--quiet", name]], builder.env())
            back = ["skopeo", "copy", "--quiet", "--src-tls-verify=false"]
            copied = measure([[*back, f"docker://{name}", f"oci:{there}:1"]], os.environ)
            assert blobs(here / "images") == blobs(there)
        shutil.rmtree(here)
        shutil.rmtree(there)
        with fresh_registry(disk) as registry:
            name = registry.repository("app:1")
            forth = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false"]
            sent = measure([[*forth, f"oci:{layout}:latest", f"docker://{name}"]], os.environ)
        if number:
            for costs, ours, theirs in ((pushes, pushed, sent), (pulls, pulled, copied)):
                costs["lamina"].append(ours)
                costs["skopeo"].append(theirs)
            say(f"push {pushed.seconds:.2f} s, skopeo {sent.seconds:.2f} s")
            say(f"pull {pulled.seconds:.2f} s, skopeo {copied.seconds:.2f} s")
    shutil.rmtree(layout)
    yield Exchange(name="push of ten layers of 100 MiB", target=TRANSFER, costs=pushes)
    yield Exchange(name="pull of ten layers of 100 MiB", target=TRANSFER, costs=pulls)


def caches(
    builder: LaminaBuilder, tool: Buildah, base: Base, disk: Path, rounds: int
) -> Iterator[Exchange]:
    """A fully cached build of eight steps on a machine that has nothing but the base image."""
    context = disk / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    costs: dict[str, list[Cost]] = {"lamina": [], "buildah": []}
    moved: dict[str, int] = {}
    with fresh_registry(disk) as registry:
        ours, theirs = registry.repository("ours:cache"), registry.repository("theirs")
        write = f"--cache-to=type=registry,ref={ours},mode=max"
        builder.fresh((base,))
        measure([lamina_build(builder.state, context, write)], builder.env())
        before = len(registry.requests())
        measure([lamina_build(builder.state, context, write)], builder.env())
        unchanged = registry.requests()[before:]
        fresh_buildah(tool, base)
        measure([buildah_build(tool, context, f"--cache-to={theirs}")], tool.env())
        for number in range(rounds + 1):
            for name in costs:
                if name == "lamina":
                    builder.fresh((base,))
                    command = lamina_build(builder.state, context, f"--cache-from={ours}")
                    cost = measure([command], builder.env())
                else:
                    fresh_buildah(tool, base)
                    command = buildah_build(tool, context, f"--cache-from={theirs}")
                    cost = measure([command], tool.env())
                if number:
                    costs[name].append(cost)
                    say(f"cached on an empty machine: {name} {cost.seconds:.2f} s")
        with counted(registry) as line:
            builder.fresh((base,))
            source = ours.replace(registry.address, line.address)
            measure([lamina_build(builder.state, context, f"--cache-from={source}")], builder.env())
            moved["lamina"], line.bytes = line.bytes, 0
            fresh_buildah(tool, base)
            source = theirs.replace(registry.address, line.address)
            measure([buildah_build(tool, context, f"--cache-from={source}")], tool.env())
            moved["buildah"] = line.bytes
    release(tool.state)
    yield Exchange(
        name="eight steps of 25 MiB, cached, on an empty machine",
        target=IMPORT,
        costs=costs,
        moved=moved,
    )
    yield Exchange(name="export of an unchanged cache", requests=unchanged)


def lamina(store: Path) -> list[str]:
    return [str(COMMAND), "--root", str(store)]


def lamina_build(store: Path, context: Path, flag: str) -> list[str]:
    return [*lamina(store), "build", "--progress=plain", "--tag=bench", flag, str(context)]


def buildah_build(tool: Buildah, context: Path, flag: str) -> list[str]:
    given = ("--layers", "--tls-verify=false", "--tag=localhost/bench", flag)
    return tool.build_command(context, *given)


def fresh_buildah(tool: Buildah, base: Base) -> None:
    release(tool.state)
    shutil.rmtree(tool.state)
    furnish(tool.state)
    tool.take(base.name, base.layout)


@contextlib.contextmanager
def fresh_registry(disk: Path) -> Iterator[Registry]:
    folder = disk / "registry"
    try:
        with running_registry(folder) as registry:
            yield registry
    finally:
        shutil.rmtree(folder)


def write_image(layout: Path) -> None:
    """An OCI layout with an image of noise, whose layers are gzip already."""
    folder = layout / "blobs" / "sha256"
    folder.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (folder / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    layers, diff_ids = [], []
    for number in range(LAYERS):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            entry = tarfile.TarInfo(f"noise{number}")
            entry.size = LAYER
            tar.addfile(entry, io.BytesIO(os.urandom(LAYER)))
        diff_ids.append(f"sha256:{hashlib.sha256(out.getbuffer()).hexdigest()}")
        kind = "application/vnd.oci.image.layer.v1.tar+gzip"
        layers.append(put(gzip.compress(out.getbuffer(), 0, mtime=0), kind))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": layers,
    }
    top = put(json.dumps(manifest).encode(), MANIFEST)
    top["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))


def blobs(layout: Path) -> dict[str, str]:
    """The digests of what the blobs of a layout really are, by what they are called."""
    found = {}
    for path in (layout / "blobs" / "sha256").iterdir():
        with path.open("rb") as stream:
            found[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    assert all(name == digest for name, digest in found.items())
    return found


class Line:
    """Passes connections on to a registry and counts the bytes of both directions."""

    def __init__(self, target: str, listener: socket.socket) -> None:
        self.address = f"localhost:{listener.getsockname()[1]}"
        self.bytes = 0
        self._target = target
        self._listener = listener
        self._guard = threading.Lock()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
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
def counted(registry: Registry) -> Iterator[Line]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = Line(registry.address, listener)
        threading.Thread(target=line.serve, daemon=True).start()
        yield line
        listener.shutdown(socket.SHUT_RDWR)
