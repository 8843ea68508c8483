"""Images to registries and back, by the command line; skopeo, umoci and buildah read what came."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.buildah import Buildah
from tests.support.commands import Outcome, program, run
from tests.support.images import read_image
from tests.support.lamina import Lamina
from tests.support.registry import PASSWORD, USER, Registry, running_registry
from tests.support.users import OrdinaryUser

pytestmark = pytest.mark.root

BUSYBOX = "FROM busybox\nCOPY file /file\nRUN echo made > /made\n"
SCRATCH = "FROM scratch\nARG TARGETARCH\nCOPY file /$TARGETARCH\n"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A folder with a Dockerfile of three layers."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "file").write_text("content")
    (folder / "Dockerfile").write_text(BUSYBOX)
    return folder


@pytest.fixture(scope="module")
def base(registry: Registry, busybox_image: Path) -> str:
    """The small base image, in the registry."""
    name = registry.repository("push-base/busybox") + ":1"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{busybox_image}:latest", f"docker://{name}")
    return name


def skopeo(*words: str) -> str:
    return run([program("skopeo"), *words]).must_succeed().stdout


def raw(name: str) -> dict[str, Any]:
    """The document that a name means in a registry."""
    words = ("inspect", "--raw", "--tls-verify=false", f"docker://{name}")
    document: dict[str, Any] = json.loads(skopeo(*words))
    return document


def digest_in(name: str) -> str:
    words = ("inspect", "--no-tags", "--tls-verify=false", "--format={{.Digest}}")
    return skopeo(*words, f"docker://{name}").strip()


def tags_of(registry: Registry, repository: str) -> list[str]:
    words = ["list-tags", "--tls-verify=false", f"docker://{registry.repository(repository)}"]
    listed = run([program("skopeo"), *words])
    return list(json.loads(listed.stdout)["Tags"]) if listed.code == 0 else []


def asked(registry: Registry, repository: str, method: str) -> list[str]:
    """The requests of that method for a repository."""
    start = f"{method} /v2/{repository}/"
    return [request for request in registry.requests() if request.startswith(start)]


def metadata(lamina: Lamina, context: Path, *options: str) -> dict[str, Any]:
    """What --metadata-file says of a build."""
    file = context.parent / "metadata.json"
    lamina.build(context, "--metadata-file", file, *options).must_succeed()
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_push_is_read_by_others(
    lamina: Lamina, registry: Registry, context: Path, tmp_path: Path, buildah: Buildah
) -> None:
    """Every name means the digest that the build tells, and that an archive has; other tools unpack
    the same files.
    """
    one, two = registry.repository("push/a") + ":1", registry.repository("push/b") + ":2"
    told = metadata(lamina, context, "--push", "-t", one, "-t", two)
    assert told["image.name"] == f"{one},{two}"
    assert digest_in(one) == digest_in(two) == told["containerimage.digest"]
    archive = tmp_path / "image.tar"
    again = metadata(lamina, context, "-o", f"type=oci,dest={archive}", "-t", one)
    assert again["containerimage.digest"] == told["containerimage.digest"]
    layout = tmp_path / "layout"
    skopeo("copy", "--src-tls-verify=false", f"docker://{two}", f"oci:{layout}:copy")
    assert read_image(layout).tree() == read_image(archive).tree()
    bundle = tmp_path / "bundle"
    run([program("umoci"), "unpack", f"--image={layout}:copy", bundle]).must_succeed()
    assert (bundle / "rootfs" / "made").read_text() == "made\n"
    pull = [*buildah.prefix("pull"), "--tls-verify=false", f"docker://{one}"]
    run(pull, env=buildah.env()).must_succeed()


def test_a_second_push_sends_nothing(lamina: Lamina, registry: Registry, context: Path) -> None:
    """One question a blob, one manifest; a second repository borrows from the first."""
    one, two = registry.repository("push/once") + ":1", registry.repository("push/lent") + ":1"
    lamina.build(context, "--push", "-t", one, "-t", two).must_succeed()
    sent = [line for line in asked(registry, "push/lent", "PUT") if "/blobs/" in line]
    assert sent == []
    before = len(asked(registry, "push/once", "POST"))
    lamina.build(context, "--push", "-t", one).must_succeed()
    assert len(asked(registry, "push/once", "POST")) == before


def test_a_base_image_is_not_downloaded_to_be_pushed(
    lamina: Lamina, registry: Registry, context: Path, base: str
) -> None:
    """Its layers are borrowed within the registry; the image here still knows where they are."""
    (context / "Dockerfile").write_text(f"FROM {base}\nLABEL a=b\n")
    name = registry.repository("push/lazy") + ":1"
    [layer] = raw(base)["layers"]
    before = len(asked(registry, "push-base/busybox", "GET"))
    lamina.build(context, "--push", "-t", name).must_succeed()
    fetched = asked(registry, "push-base/busybox", "GET")[before:]
    assert not any(layer["digest"] in line for line in fetched)
    assert raw(name)["layers"] == [layer]
    other = registry.repository("push/lazy-other") + ":1"
    lamina.run("tag", name, other).must_succeed()
    lamina.run("push", other).must_succeed()
    assert digest_in(other) == digest_in(name)
    assert lamina.run("run", other, "echo", "hello").must_succeed().stdout == "hello\n"


def test_layers_in_the_external_cache_are_not_downloaded_to_be_pushed(
    lamina: Lamina, registry: Registry, context: Path, base: str, tmp_path: Path
) -> None:
    """An empty machine pushes a cached image without having had any of its layers."""
    (context / "Dockerfile").write_text(f"FROM {base}\nRUN echo made > /made\n")
    cache = f"type=registry,ref={registry.repository('push/cached')}:cache"
    name = registry.repository("push/from-cache") + ":1"
    told = metadata(lamina, context, f"--cache-to={cache},mode=max", "-o", "type=image")
    empty = replace(lamina, store=tmp_path / "empty")
    built = empty.build(context, f"--cache-from={cache}", "--push", "-t", name).must_succeed()
    assert "CACHED" in built.stderr
    assert raw(name)["config"]["digest"] == told["containerimage.config.digest"]
    here = (empty.store / "images" / "blobs" / "sha256").iterdir()
    assert {f"sha256:{path.name}" for path in here}.isdisjoint(
        layer["digest"] for layer in raw(name)["layers"]
    )


def test_platforms_and_annotations(lamina: Lamina, registry: Registry, context: Path) -> None:
    """An index, whose parts are annotated by level and platform."""
    (context / "Dockerfile").write_text(SCRATCH)
    name = registry.repository("push/multi") + ":1"
    annotations = ("--annotation=index:i=1", "--annotation=manifest[linux/arm64]:m=2")
    platforms = "--platform=linux/amd64,linux/arm64"
    told = metadata(lamina, context, platforms, *annotations, "--push", "-t", name)
    index = raw(name)
    assert index["annotations"] == {"i": "1"}
    found = {child["platform"]["architecture"]: child["digest"] for child in index["manifests"]}
    arm = raw(f"{name.rpartition(':')[0]}@{found['arm64']}")
    assert (sorted(found), arm["annotations"]) == (["amd64", "arm64"], {"m": "2"})
    assert told["containerimage.descriptor"]["mediaType"] == index["mediaType"]
    # The same through the local store, whose layers are not written yet.
    lamina.build(context, platforms, *annotations, "-t", name).must_succeed()
    pushed = lamina.run("push", name).must_succeed()
    assert pushed.stdout.startswith(f"1: digest: {told['containerimage.digest']} size: ")


@pytest.mark.parametrize(
    ("attributes", "media_type"),
    [
        ("compression=zstd,compression-level=7", "application/vnd.oci.image.layer.v1.tar+zstd"),
        ("compression=uncompressed", "application/vnd.oci.image.layer.v1.tar"),
        ("oci-mediatypes=false", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    ],
)
def test_forms_of_layers(
    lamina: Lamina, registry: Registry, context: Path, attributes: str, media_type: str
) -> None:
    """With force-compression also those of the base image; skopeo reads each."""
    name = registry.repository("push/forms") + f":{media_type[-9:].strip('.').replace('+', '-')}"
    output = f"type=registry,force-compression=true,{attributes}"
    lamina.build(context, "-o", output, "-t", name).must_succeed()
    assert {layer["mediaType"] for layer in raw(name)["layers"]} == {media_type}
    layout = context.parent / "layout"
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{layout}:x")
    assert "made" in read_image(layout).tree()


def test_by_digest_no_tag_is_made(lamina: Lamina, registry: Registry, context: Path) -> None:
    """As CI does it, to make an index of several machines' images later."""
    name = registry.repository("push/by-digest")
    output = f"type=image,name={name},push-by-digest=true,name-canonical=true,push=true"
    told = metadata(lamina, context, "-o", output)
    assert told["image.name"] == name
    assert raw(f"{name}@{told['containerimage.digest']}")["layers"]
    assert tags_of(registry, "push/by-digest") == []
    assert lamina.run("images", "-q").stdout.strip() == ""


def test_a_tag_replaces_the_name_of_the_output(
    lamina: Lamina, registry: Registry, context: Path
) -> None:
    """As with buildx: what the Dockerfile's author wrote as name= gets no push meant for -t."""
    name, tag = registry.repository("push/name") + ":1", registry.repository("push/tag") + ":1"
    lamina.build(context, "-o", f"type=image,name={name},push=true", "-t", tag).must_succeed()
    assert tags_of(registry, "push/tag") == ["1"]
    assert asked(registry, "push/name", "PUT") == []


def test_push_and_load_leave_the_image_here(
    lamina: Lamina, registry: Registry, context: Path, tmp_path: Path
) -> None:
    """Under the digest that the registry has; `store=false` leaves nothing."""
    name = registry.repository("push/kept") + ":1"
    lamina.build(context, "--push", "--load", "-t", name).must_succeed()
    [row] = [json.loads(line) for line in lamina.run("images", "--format=json").stdout.splitlines()]
    assert row["digest"] == digest_in(name)
    elsewhere = replace(lamina, store=tmp_path / "elsewhere")
    elsewhere.build(context, "-o", "type=registry,store=false", "-t", name).must_succeed()
    assert elsewhere.run("images", "-q").stdout == ""


def test_a_failed_build_pushes_nothing(lamina: Lamina, registry: Registry, context: Path) -> None:
    """Nor does one whose other output fails."""
    name = registry.repository("push/failed") + ":1"
    (context / "Dockerfile").write_text("FROM busybox\nRUN false\n")
    lamina.build(context, "--push", "-t", name).must_fail()
    (context / "Dockerfile").write_text(BUSYBOX)
    blocked = f"type=local,dest={context / 'file'}/x"
    lamina.build(context, "-o", blocked, "-o", "type=registry", "-t", name).must_fail()
    assert not [line for line in registry.requests() if "/v2/push/failed/" in line]


def test_pull_tag_push_keeps_the_digest(
    lamina: Lamina, registry: Registry, context: Path, tmp_path: Path
) -> None:
    """What goes round comes back byte for byte, and all of it was here."""
    name = registry.repository("push/round") + ":1"
    lamina.build(context, "--push", "-t", name).must_succeed()
    fresh = replace(lamina, store=tmp_path / "fresh")
    told = fresh.run("pull", name).must_succeed().stdout.splitlines()
    assert told == [
        f"Digest: {digest_in(name)}",
        f"Status: Downloaded newer image for {name}",
        name,
    ]
    assert "Image is up to date" in fresh.run("pull", name).stdout
    for layer in raw(name)["layers"]:
        digest = layer["digest"].partition(":")[2]
        assert (fresh.store / "images" / "blobs" / "sha256" / digest).exists()
    copy = registry.repository("push/copy")
    fresh.run("tag", name, copy).must_succeed()
    assert fresh.run("push", "--quiet", copy).must_succeed().stdout == f"{copy}:latest\n"
    assert digest_in(f"{copy}:latest") == digest_in(name)
    assert fresh.run("run", copy, "cat", "/made").must_succeed().stdout == "made\n"


def test_a_base_image_that_was_only_named_is_fetched_later(
    lamina: Lamina, base: str, context: Path
) -> None:
    """A first build needs its configuration alone; the next one runs a step on its files."""
    (context / "Dockerfile").write_text(f"FROM {base}\nLABEL a=b\n")
    lamina.build(context, "-t", "named").must_succeed()
    (context / "Dockerfile").write_text("FROM named\nRUN true\n")
    lamina.build(context).must_succeed()
    (context / "Dockerfile").write_text(f"FROM {base}\nRUN true\n")
    lamina.build(context).must_succeed()


def test_pull_of_a_platform(lamina: Lamina, registry: Registry, context: Path) -> None:
    """The one that was asked for, or an error that says what there is."""
    (context / "Dockerfile").write_text(SCRATCH)
    name = registry.repository("push/platforms") + ":1"
    platforms = "--platform=linux/amd64,linux/arm64"
    lamina.build(context, platforms, "-o", "type=registry,store=false", "-t", name).must_succeed()
    lamina.run("pull", "-q", "--platform=linux/arm64", name).must_succeed()
    [row] = [json.loads(line) for line in lamina.run("images", "--format=json").stdout.splitlines()]
    assert row["platforms"] == ["linux/arm64"]
    refused = lamina.run("pull", "--platform=linux/s390x", name).must_fail()
    assert refused.code == 4
    assert "linux/s390x is not offered, there is linux/amd64, linux/arm64" in refused.stderr


def test_an_ordinary_user_pulls_and_pushes(
    registry: Registry, user: OrdinaryUser, base: str
) -> None:
    """Files that are not theirs to own keep their owners on the way."""
    context = user.home / "pushing"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {base}\nRUN touch /theirs && chown 7:8 /theirs\n")
    user.own(context)
    command = [*user.lamina(), "--root", str(user.home / "pushing-store")]
    local, pushed = (registry.repository(f"push/{name}") + ":1" for name in ("theirs", "direct"))
    for words in (
        ["pull", base],
        ["build", "-t", local, str(context)],
        ["push", local],
        ["build", "--push", "-t", pushed, str(context)],
    ):
        run([*command, *words], cwd=user.home).must_succeed()
    assert digest_in(local) == digest_in(pushed)
    layout = user.home / "pushed-layout"
    skopeo("copy", "--src-tls-verify=false", f"docker://{pushed}", f"oci:{layout}:x")
    assert read_image(layout).tree()["theirs"].owner == (7, 8)


def test_an_insecure_registry_has_to_be_called_so(
    lamina: Lamina, context: Path, tmp_path: Path
) -> None:
    """A certificate that nobody vouches for is refused without `registry.insecure=true`."""
    with running_registry(tmp_path / "tls", tls=True) as registry:
        name = registry.repository("app") + ":1"
        refused = lamina.build(context, "--push", "-t", name).must_fail()
        assert "self-signed certificate" in refused.stderr
        output = "type=registry,registry.insecure=true"
        lamina.build(context, "-o", output, "-t", name).must_succeed()
        assert digest_in(name).startswith("sha256:")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a login, over plain HTTP."""
    with running_registry(tmp_path_factory.mktemp("closed"), login=True) as running:
        yield running


@pytest.fixture
def stranger(lamina: Lamina, tmp_path: Path) -> Lamina:
    """Somebody who has not logged in anywhere."""
    return replace(lamina, environment={"DOCKER_CONFIG": str(tmp_path / "docker")})


def log_in(lamina: Lamina, registry: Registry, password: str) -> Outcome:
    words = ("login", "--username", USER, "--password-stdin", registry.address)
    return lamina.run(*words, stdin=f"{password}\n".encode())


def test_login_lets_push_and_pull(
    stranger: Lamina, closed: Registry, context: Path, tmp_path: Path
) -> None:
    """Until logout; the file is the user's alone."""
    name = closed.repository("team/app") + ":1"
    refused = stranger.build(context, "--push", "-t", name).must_fail()
    assert refused.code == 4
    assert f"failed to push {name}: " in refused.stderr
    assert f"lamina login {closed.address}" in refused.stderr
    assert log_in(stranger, closed, PASSWORD).must_succeed().stdout == "Login Succeeded\n"
    config = tmp_path / "docker" / "config.json"
    assert config.stat().st_mode & 0o777 == 0o600
    stranger.build(context, "--push", "-t", name).must_succeed()
    stranger.run("pull", name).must_succeed()
    known = stranger.run("login", closed.address).must_succeed()
    assert known.stdout == "Authenticating with existing credentials...\nLogin Succeeded\n"
    said = stranger.run("logout", closed.address).must_succeed().stdout
    assert said == f"Removing login credentials for {closed.address}\n"
    assert stranger.run("logout", closed.address).stdout == f"Not logged in to {closed.address}\n"
    assert stranger.run("push", name).must_fail().code == 4


def test_a_wrong_password_is_not_kept(stranger: Lamina, closed: Registry, tmp_path: Path) -> None:
    """Nor shown."""
    refused = log_in(stranger, closed, "wr0ng-pass").must_fail()
    assert refused.code == 4
    assert f"{closed.address} does not accept this user and password" in refused.stderr
    assert "wr0ng-pass" not in refused.said
    assert not (tmp_path / "docker" / "config.json").exists()


def test_a_password_in_the_command_line_is_warned_of(stranger: Lamina, closed: Registry) -> None:
    """As Docker warns: other users see it."""
    words = ("login", "-u", USER, "-p", PASSWORD, f"http://{closed.address}/v2/")
    warned = stranger.run(*words).must_succeed()
    assert "WARNING! Using --password via the CLI is insecure" in warned.stderr
    assert PASSWORD not in warned.said


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["login", "alice"], "'alice' is not the address of a registry", 1),
        (["login", "--password-stdin", "r.example"], "must provide --username", 2),
        (["login", "-u", "a", "-p", "b", "--password-stdin", "r.io"], "mutually exclusive", 2),
        (["login", "-u", "a", "r.example"], "cannot perform an interactive login", 2),
        (["login", "-u", "a", "-p", "b", "localhost:1"], "localhost:1 cannot be reached", 4),
        (["push"], "the name of an image is missing", 2),
        (["push", "r.example/none:1"], "does not exist locally with the tag: r.example/none:1", 1),
        (["push", "-a", "r.example/none:1"], "tag can't be used with --all-tags", 2),
        (["pull", "localhost:1/x"], "localhost:1/x:latest: not found", 4),
        (["pull", "UPPER"], "invalid reference format", 1),
        (["tag", "none", "x"], "no such image: none", 1),
        (["tag", "none"], "an image and its new name are needed", 2),
        (["build", "--push", "."], "tag is needed when pushing to registry", 2),
    ],
)
def test_bad_input_gets_a_sentence(
    stranger: Lamina, words: list[str], said: str, code: int, context: Path
) -> None:
    """And the exit code of whose fault it is."""
    refused = stranger.run(*words, cwd=context).must_fail()
    assert said in refused.stderr
    assert refused.code == code


def test_an_unreachable_registry_fails_the_push_alone(lamina: Lamina, context: Path) -> None:
    """The steps stay cached; the error names the ref and the cause."""
    refused = lamina.build(context, "--push", "-t", "localhost:1/app:1").must_fail()
    assert refused.code == 4
    expected = "failed to push localhost:1/app:1: localhost:1 cannot be reached: Connection refused"
    assert expected in refused.stderr
    assert "CACHED" in lamina.build(context).must_succeed().stderr


def test_an_interrupt_ends_a_push_at_once(
    lamina: Lamina, registry: Registry, context: Path
) -> None:
    """In the middle of large blobs, and the tag is not made."""
    for name in ("big0", "big1"):
        with (context / name).open("wb") as file:
            file.truncate(200 << 20)
    (context / "Dockerfile").write_text("FROM scratch\nCOPY big0 /\nCOPY big1 /\n")
    name = registry.repository("push/interrupted") + ":1"
    output = "type=registry,compression=uncompressed"
    process = lamina.start(lamina.build_command(context, "-o", output, "-t", name))
    assert process.stdout is not None
    for line in process.stdout:
        if b"exporting layers" in line or b"pushing layers" in line:
            break
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said.decode(errors="replace")
    assert time.monotonic() - began < 5
    assert tags_of(registry, "push/interrupted") == []
