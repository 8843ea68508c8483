"""Provenance, as skopeo, podman and umoci see the images that have some, and what it says."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.bases import machine_architecture
from tests.support.commands import program, run
from tests.support.images import read_files, read_image
from tests.support.lamina import Lamina

pytestmark = pytest.mark.root

V1, V02 = "https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"
PLATFORM = f"linux%2F{machine_architecture()}"
SECRET = "hunter2-is-nobodys-business"
DOCKERFILE = """\
FROM busybox AS base
ARG WHO
RUN --mount=type=secret,id=token,required=true --mount=type=ssh echo $WHO > /who
FROM base
COPY Dockerfile /doc/
"""
Json = dict[str, Any]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "token").write_text(SECRET)
    return folder


def options(context: Path) -> list[str]:
    secret = f"--secret=id=token,src={context.parent / 'token'}"
    return ["--build-arg=WHO=me", "--label=colour=blue", secret, "-t", "demo:1"]


def statements(archive: Path) -> list[Json]:
    """What is said of the images in an OCI archive, every link on the way checked."""
    files = read_files(archive)

    def blob(descriptor: Json) -> bytes:
        data = files["blobs/" + descriptor["digest"].replace(":", "/")]
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == descriptor["digest"]
        assert len(data) == descriptor["size"]
        return data

    (top,) = json.loads(files["index.json"])["manifests"]
    index = json.loads(blob(top))
    images = {each["digest"] for each in index["manifests"]}
    found = []
    for each in index["manifests"]:
        if each["platform"]["os"] != "unknown":
            continue
        assert each["annotations"]["vnd.docker.reference.digest"] in images
        (layer,) = json.loads(blob(each))["layers"]
        statement = json.loads(blob(layer))
        assert layer["annotations"]["in-toto.io/predicate-type"] == statement["predicateType"]
        found.append(statement)
    return found


def built(lamina: Lamina, context: Path, *flags: str) -> Json:
    """The predicate of a build, which says nothing that is secret."""
    archive = context.parent / "out.tar"
    output = f"--output=type=oci,dest={archive}"
    lamina.build(context, *options(context), *flags, output).must_succeed()
    (statement,) = statements(archive)
    assert SECRET not in json.dumps(statement)
    assert base64.b64encode(SECRET.encode()).decode() not in json.dumps(statement)
    return statement["predicate"]  # type: ignore[no-any-return]


def test_mode_max_tells_everything_but_secrets(
    lamina: Lamina, context: Path, busybox_image: Path
) -> None:
    """Arguments, the Dockerfile, the steps with lines and layers, what came from elsewhere."""
    said = built(lamina, context, "--attest=type=provenance,mode=max,builder-id=https://ci/7")
    definition, details = said["buildDefinition"], said["runDetails"]
    request = definition["externalParameters"]["request"]
    assert request["frontend"] == "dockerfile.v0"
    assert request["args"]["build-arg:WHO"] == "me"
    assert request["args"]["label:colour"] == "blue"
    assert request["secrets"] == [{"id": "token"}]
    assert request["ssh"] == [{"id": "default", "optional": True}]
    assert request["locals"] == [{"name": "context"}, {"name": "dockerfile"}]
    assert definition["externalParameters"]["configSource"] == {"path": "Dockerfile"}
    base = json.loads((busybox_image / "index.json").read_text())["manifests"][0]["digest"]
    assert definition["resolvedDependencies"] == [
        {
            "uri": f"pkg:oci/busybox?digest={base}&platform={PLATFORM}",
            "digest": {"sha256": base.removeprefix("sha256:")},
        }
    ]
    assert details["builder"]["id"] == "https://ci/7"
    metadata = details["metadata"]
    assert metadata["buildkit_completeness"] == {"request": True, "resolvedDependencies": False}
    assert metadata["startedOn"] < metadata["finishedOn"]
    assert metadata["invocationId"]
    source = metadata["buildkit_metadata"]["source"]
    assert base64.b64decode(source["infos"][0]["data"]).decode() == DOCKERFILE
    steps = definition["internalParameters"]["buildConfig"]["llbDefinition"]
    assert [step["id"] for step in steps] == [f"step{n}" for n in range(5)]
    (ran,) = (step for step in steps if "exec" in step["op"]["Op"])
    assert ran["op"]["Op"]["exec"]["meta"]["args"] == ["/bin/sh", "-c", "echo $WHO > /who"]
    (place,) = source["locations"][ran["id"]]["locations"]
    assert place == {"ranges": [{"start": {"line": 3}, "end": {"line": 3}}]}
    image = read_image(context.parent / "out.tar")
    layers = metadata["buildkit_metadata"]["layers"]
    assert sorted(len(chain) for ((chain),) in layers.values()) == [1, 2, 3]
    (whole,) = max(layers.values(), key=lambda chains: len(chains[0]))
    digests = [layer["digest"] for layer in image.manifest["layers"]]
    assert [layer["digest"] for layer in whole] == digests


def test_mode_min_leaks_nothing(lamina: Lamina, context: Path) -> None:
    """No arguments, labels, ids of secrets, steps or Dockerfile; it says that some are missing."""
    said = built(lamina, context, "--provenance=mode=min", "--target=base")
    request = said["buildDefinition"]["externalParameters"]["request"]
    assert request["args"] == {"context:busybox": "oci-layout:busybox", "target": "base"}
    assert not {"secrets", "ssh"} & request.keys()
    assert said["buildDefinition"]["internalParameters"].keys() == {"builderPlatform"}
    metadata = said["runDetails"]["metadata"]
    assert metadata["buildkit_metadata"] == {}
    assert not metadata["buildkit_completeness"]["request"]
    assert len(said["buildDefinition"]["resolvedDependencies"]) == 1


def test_version_02(lamina: Lamina, context: Path) -> None:
    """The earlier form has the same content in other places."""
    archive = context.parent / "out.tar"
    said = built(lamina, context, "--provenance=version=v0.2,reproducible=true")
    assert statements(archive)[0]["predicateType"] == V02
    assert said["buildType"] == "https://mobyproject.org/buildkit@v1"
    assert said["invocation"]["configSource"] == {"entryPoint": "Dockerfile"}
    assert said["invocation"]["parameters"]["args"]["build-arg:WHO"] == "me"
    assert len(said["materials"]) == 1
    assert said["metadata"]["reproducible"] is True
    assert said["metadata"]["completeness"]["parameters"] is True
    assert len(said["buildConfig"]["llbDefinition"]) == 5


def test_the_same_build_says_the_same(lamina: Lamina, context: Path) -> None:
    """With SOURCE_DATE_EPOCH, or the word that the build is reproducible; else times differ."""

    def index(*flags: str) -> object:
        built(lamina, context, *flags)
        files = read_files(context.parent / "out.tar")
        return json.loads(files["index.json"])["manifests"][0]["digest"]

    epoch = ("--provenance=true", "--build-arg=SOURCE_DATE_EPOCH=1700000000")
    assert index(*epoch) == index(*epoch)
    said = statements(context.parent / "out.tar")[0]["predicate"]["runDetails"]["metadata"]
    assert said["startedOn"] == said["finishedOn"] == "2023-11-14T22:13:20Z"
    assert index("--provenance=reproducible=true") == index("--provenance=reproducible=true")
    assert index("--provenance=true") != index("--provenance=true")


@pytest.fixture
def runroot() -> Iterator[str]:
    """A short path, which podman insists on."""
    with tempfile.TemporaryDirectory(prefix="lamina-") as path:
        yield path


def test_other_tools_read_the_image(
    lamina: Lamina, context: Path, tmp_path: Path, runroot: str
) -> None:
    """They pass over the statement, or copy it with the rest."""
    layout, archive = tmp_path / "layout", tmp_path / "out.tar"
    built(lamina, context, "--provenance=true")
    layout.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(layout, filter="data")
    skopeo, podman, umoci = map(program, ("skopeo", "podman", "umoci"))
    raw = json.loads(run([skopeo, "inspect", "--raw", f"oci:{layout}:1"]).must_succeed().stdout)
    assert len(raw["manifests"]) == 2
    seen = json.loads(run([skopeo, "inspect", f"oci:{layout}:1"]).must_succeed().stdout)
    assert (seen["Os"], seen["Architecture"]) == ("linux", machine_architecture())
    everything, alone = tmp_path / "everything", tmp_path / "alone"
    run([skopeo, "copy", "--all", f"oci:{layout}:1", f"oci:{everything}:1"]).must_succeed()
    again = run([skopeo, "inspect", "--raw", f"oci:{everything}:1"]).must_succeed().stdout
    assert json.loads(again) == raw
    assert run([umoci, "ls", "--layout", layout]).must_succeed().stdout == "1\n"
    run([skopeo, "copy", f"oci:{layout}:1", f"oci:{alone}:1"]).must_succeed()
    bundle = tmp_path / "bundle"
    run([umoci, "unpack", "--image", f"{alone}:1", bundle]).must_succeed()
    assert (bundle / "rootfs" / "who").read_text() == "me\n"
    state: list[str | Path] = [podman, "--root", tmp_path / "podman", "--runroot", runroot]
    state += ["--storage-driver", "vfs"]
    run([*state, "load", "-q", "-i", archive]).must_succeed()
    config = run([*state, "image", "inspect", "demo:1", "--format", "{{.Labels.colour}}"])
    assert config.must_succeed().stdout == "blue\n"


def test_the_local_store_gives_the_image_of_an_index(lamina: Lamina, context: Path) -> None:
    """It is listed, and later builds start from it."""
    lamina.build(context, *options(context), "--provenance=true").must_succeed()
    assert "demo" in lamina.run("images").must_succeed().stdout
    (context / "Dockerfile").write_text("FROM demo:1\nRUN grep me /who\n")
    said = built(lamina, context, "--provenance=mode=min")
    (material,) = said["buildDefinition"]["resolvedDependencies"]
    assert material["uri"] == f"pkg:docker/demo@1?platform={PLATFORM}"


def test_without_files_nothing_came_from_anywhere(lamina: Lamina, context: Path) -> None:
    """As BuildKit has it, an image without files has no provenance and stays a plain manifest."""
    (context / "Dockerfile").write_text("FROM scratch\nENV A=1\n")
    archive, files = context.parent / "out.tar", context.parent / "files"
    outputs = (f"--output=type=oci,dest={archive}", f"--output=type=local,dest={files}")
    lamina.build(context, "--provenance=true", *outputs).must_succeed()
    (top,) = json.loads(read_files(archive)["index.json"])["manifests"]
    assert top["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert not list(files.iterdir())


@pytest.fixture
def web() -> Iterator[str]:
    """The URL of a file, `content`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"content")

        def log_message(self, *args: object) -> None:
            """Nobody listens."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}/file"
        server.shutdown()
        thread.join()


def test_downloads_are_materials(lamina: Lamina, context: Path, web: str) -> None:
    """With the digest of what came, also from the cache, and without the password."""
    (context / "Dockerfile").write_text(f"FROM scratch\nADD http://me:pass@{web} /\n")
    for _ in range(2):
        said = built(lamina, context, "--provenance=mode=min")
        assert said["buildDefinition"]["resolvedDependencies"] == [
            {
                "uri": f"http://xxxxx:xxxxx@{web}",
                "digest": {"sha256": hashlib.sha256(b"content").hexdigest()},
            }
        ]


def test_the_dockerfile_is_told_as_it_is(lamina: Lamina, context: Path) -> None:
    """Also where it is no text, as JSON knows it."""
    text = b"FROM busybox\n# \xff\nRUN echo >/x\n"
    (context / "Dockerfile").write_bytes(text)
    said = built(lamina, context, "--provenance=mode=max")
    (info,) = said["runDetails"]["metadata"]["buildkit_metadata"]["source"]["infos"]
    assert base64.b64decode(info["data"]) == text


def test_nothing_is_attached_unless_it_is_asked_for(lamina: Lamina, context: Path) -> None:
    """So the digest of an image that is built again stays the same; nor are archives for Docker."""
    archive = context.parent / "out.tar"
    output = f"--output=type=oci,dest={archive}"
    lamina.build(context, *options(context), output).must_succeed()
    (top,) = json.loads(read_files(archive)["index.json"])["manifests"]
    assert top["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    refused = lamina.build(context, "--provenance=true", f"--output=type=docker,dest={archive}")
    assert "manifest lists" in refused.must_fail().said
