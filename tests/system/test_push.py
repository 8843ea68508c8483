"""Images into registries: the CNCF registry itself, well-behaved and behind a faulty proxy."""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pytest

from lamina.content.errors import NotFound
from lamina.content.store import BlobStore
from lamina.errors import HostError, LaminaError, RemoteError
from lamina.oci import mediatype
from lamina.oci.config import ImageConfig, RootFS
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of, encoded
from lamina.oci.manifest import Manifest, encode_document
from lamina.oci.reference import Reference, parse_reference
from lamina.registry.client import RegistryClient
from lamina.registry.documents import RegistryDocuments
from lamina.registry.errors import ServerFailed, TooManyRequests, Unauthorized, Unreachable
from lamina.registry.login import check_login
from lamina.registry.message import PUSH, Request
from lamina.registry.push import RegistryTarget
from lamina.registry.transport import Transport
from tests.support.commands import program, run
from tests.support.registry import PASSWORD, USER, Registry, running_registry
from tests.system import token_server as tokens
from tests.system.exact_registry import ExactRegistry, exact_registry
from tests.system.faulty_proxy import (
    CutRequest,
    Drop,
    Fault,
    FaultyProxy,
    LoseAnswer,
    Status,
    WrongBody,
    WrongHeader,
    faulty_proxy,
)

PART = 1 << 20
SIZE = 3 * PART + 12345
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class Pusher:
    """A target with a store of its own, which counts what it waits and how far it got."""

    def __init__(self, folder: Path, environ: dict[str, str] | None = None) -> None:
        environ = environ or {}
        self.slept: list[float] = []
        self.told: list[int] = []
        self.store = BlobStore(folder / "mine")
        self.client = RegistryClient(
            environ=environ,
            transport=Transport(environ, connect_timeout=1, read_timeout=1, commit_timeout=2),
            sleep=self.slept.append,
            random=lambda: 0.0,
        )
        self.target = RegistryTarget(self.client, part=PART)
        self.documents = RegistryDocuments(self.client)

    def blob(self, size: int = SIZE, media_type: str = mediatype.LAYER) -> Descriptor:
        data = random.Random(size).randbytes(size)
        return Descriptor(media_type=media_type, digest=self.store.put(data), size=size)

    def push(self, name: str, blob: Descriptor, *lenders: str) -> bool:
        return self.target.push_blob(
            parse_reference(name),
            blob,
            self.store,
            mount_from=[parse_reference(lender) for lender in lenders],
            progress=self.told.append,
        )

    def push_image(self, name: str) -> bytes:
        """An image with one plain layer; its manifest."""
        layer = self.blob()
        config = encode_document(
            ImageConfig(architecture="amd64", os="linux", rootfs=RootFS(diff_ids=(layer.digest,)))
        )
        described = Descriptor(
            media_type=mediatype.CONFIG, digest=self.store.put(config), size=len(config)
        )
        self.push(name, layer)
        self.push(name, described)
        manifest = encode_document(
            Manifest(
                schema_version=2,
                media_type=mediatype.MANIFEST,
                config=described,
                layers=(layer,),
            )
        )
        digest = self.target.push_manifest(parse_reference(name), manifest, mediatype.MANIFEST)
        assert digest == digest_of(manifest)
        return manifest

    def arrived(self, name: str, blob: Descriptor) -> bool:
        """Whether the registry gives back the very bytes."""
        data = self.documents.read_blob_bytes(parse_reference(name), blob, 1 << 30)
        return data == self.store.read(blob.digest)


@pytest.fixture
def pusher(tmp_path: Path) -> Pusher:
    return Pusher(tmp_path)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def proxy(registry: Registry) -> Iterator[FaultyProxy]:
    with faulty_proxy(registry.address) as running:
        yield running


@pytest.fixture
def exact() -> Iterator[ExactRegistry]:
    with exact_registry() as running:
        yield running


@pytest.fixture
def fresh(request: pytest.FixtureRequest) -> str:
    """The name of a repository that no other test uses."""
    letters = [letter for letter in request.node.name.lower() if letter.isalnum()]
    return f"t/{''.join(letters)[:80]}{abs(hash(request.node.name)) % 10**6}"


def sent(proxy: FaultyProxy) -> int:
    return sum(each.sent for each in proxy.seen if "/blobs/uploads/" in each.path)


def methods(proxy: FaultyProxy) -> list[str]:
    return [each.method for each in proxy.seen]


def secrets_shown(error: LaminaError) -> bool:
    everything = f"{error} {error!r} {error.hint} {error.__cause__!r}"
    return any(each in everything for each in (PASSWORD, BASIC, tokens.PASSWORD, "_state"))


# A registry that works


def test_others_read_what_was_pushed(
    registry: Registry, pusher: Pusher, fresh: str, tmp_path: Path
) -> None:
    """skopeo finds the same manifest under the tag, and copies every byte of it."""
    name = f"{registry.address}/{fresh}:v1"
    manifest = pusher.push_image(name)
    options = ("--tls-verify=false", "--raw")
    raw = run([program("skopeo"), "inspect", *options, f"docker://{name}"]).must_succeed()
    assert raw.stdout.encode() == manifest
    copy = [program("skopeo"), "copy", "--quiet", "--src-tls-verify=false"]
    run([*copy, f"docker://{name}", f"dir:{tmp_path / 'copy'}"]).must_succeed()
    layer = pusher.blob().digest
    assert (tmp_path / "copy" / encoded(layer)).read_bytes() == pusher.store.read(layer)


def test_a_small_blob_is_sent_in_one_request(
    proxy: FaultyProxy, pusher: Pusher, fresh: str
) -> None:
    """HEAD, POST, PUT; progress is told of every byte; the second time HEAD alone."""
    blob = pusher.blob(1000)
    assert pusher.push(f"{proxy.address}/{fresh}", blob)
    assert methods(proxy)[-3:] == ["HEAD", "POST", "PUT"]
    assert sum(pusher.told) == blob.size
    proxy.seen.clear()
    assert not pusher.push(f"{proxy.address}/{fresh}", blob)
    assert methods(proxy) == ["HEAD"]
    assert pusher.arrived(f"{proxy.address}/{fresh}", blob)


def test_a_large_blob_is_sent_in_parts(proxy: FaultyProxy, pusher: Pusher, fresh: str) -> None:
    """Each with its place in the whole; all of it is sent once."""
    blob = pusher.blob()
    assert pusher.push(f"{proxy.address}/{fresh}", blob)
    ranges = [each.headers["content-range"] for each in proxy.requests("blobs", "PATCH")]
    assert ranges == [f"{start}-{min(start + PART, SIZE) - 1}" for start in range(0, SIZE, PART)]
    assert sent(proxy) == sum(pusher.told) == SIZE
    assert pusher.arrived(f"{proxy.address}/{fresh}", blob)


def test_an_empty_blob(registry: Registry, pusher: Pusher, fresh: str) -> None:
    """No bytes are a blob, too."""
    empty = Descriptor(media_type=mediatype.LAYER, digest=pusher.store.put(b""), size=0)
    assert pusher.push(f"{registry.address}/{fresh}", empty)
    assert pusher.arrived(f"{registry.address}/{fresh}", empty)


def test_a_neighbour_lends_a_blob(proxy: FaultyProxy, pusher: Pusher, fresh: str) -> None:
    """Nothing is sent where another repository of the registry has it; a repository that has not,
    and one of another registry, are no hindrance."""
    blob = pusher.blob()
    pusher.push(f"{proxy.address}/{fresh}/first", blob)
    lenders = (
        "other.example/first",
        f"{proxy.address}/{fresh}/nothing",
        f"{proxy.address}/{fresh}/first",
    )
    proxy.seen.clear()
    assert pusher.push(f"{proxy.address}/{fresh}/second", blob, *lenders)
    assert sent(proxy) == 0
    assert pusher.arrived(f"{proxy.address}/{fresh}/second", blob)
    proxy.seen.clear()
    assert pusher.push(f"{proxy.address}/{fresh}/third", blob, lenders[1])
    assert sent(proxy) == SIZE
    fourth = parse_reference(f"{proxy.address}/{fresh}/fourth")
    first, nothing = parse_reference(lenders[2]), parse_reference(lenders[1])
    assert not pusher.target.mount_blob(fourth, blob, [nothing])
    assert pusher.target.mount_blob(fourth, blob, [nothing, first])


def test_a_blob_is_not_sent_twice_at_once(proxy: FaultyProxy, pusher: Pusher, fresh: str) -> None:
    """Of several threads with the same blob one sends it."""
    blob = pusher.blob()
    with ThreadPoolExecutor(4) as pool:
        pushed = list(pool.map(lambda _: pusher.push(f"{proxy.address}/{fresh}", blob), range(4)))
    assert sorted(pushed) == [False, False, False, True]
    assert sent(proxy) == SIZE


def test_connections_are_used_again(registry: Registry, tmp_path: Path, fresh: str) -> None:
    """A push of many small blobs is not a row of handshakes."""
    pusher = Pusher(tmp_path)
    with faulty_proxy(registry.address) as proxy:
        for size in range(10):
            pusher.push(f"{proxy.address}/{fresh}", pusher.blob(size))
        assert len(proxy.seen) > 30
        assert proxy.connections <= 2


def test_manifests_of_any_kind(registry: Registry, pusher: Pusher, fresh: str) -> None:
    """By tag and by digest; what is read is what was written, with its type; what is missing is
    None."""
    name = f"{registry.address}/{fresh}"
    config = pusher.blob(2, "application/vnd.lamina.test.v1+json")
    pusher.push(name, config)
    artifact = encode_document(
        Manifest(schema_version=2, media_type=mediatype.MANIFEST, config=config, layers=())
    )
    digest = pusher.target.push_manifest(
        parse_reference(f"{name}@{digest_of(artifact)}"), artifact, mediatype.MANIFEST
    )
    by_digest = pusher.documents.read_manifest(parse_reference(f"{name}@{digest}"))
    assert by_digest == (
        Descriptor(media_type=mediatype.MANIFEST, digest=digest, size=len(artifact)),
        artifact,
    )
    assert pusher.documents.read_manifest(parse_reference(f"{name}:v1")) is None
    assert pusher.documents.list_tags(parse_reference(name)) == ()
    for tag in ("v2", "v1"):
        pusher.target.push_manifest(parse_reference(f"{name}:{tag}"), artifact, mediatype.MANIFEST)
    assert pusher.documents.read_manifest(parse_reference(f"{name}:v1")) == by_digest
    assert sorted(pusher.documents.list_tags(parse_reference(name))) == ["v1", "v2"]


def test_tags_come_in_pages(proxy: FaultyProxy, pusher: Pusher, fresh: str) -> None:
    """The address of the next page is followed, with its query, until there is none."""
    name = parse_reference(f"{proxy.address}/{fresh}:real")
    pusher.push_image(str(name))
    link = {"Link": f'</v2/{fresh}/tags/list?last=b&n=2>; rel="next"'}
    page = json.dumps({"name": fresh, "tags": ["a", "b"]}).encode()
    proxy.faults["tags"] = [Status(code=200, headers=link, body=page)]
    assert pusher.documents.list_tags(name) == ("a", "b", "real")
    assert "last=b" in proxy.requests("tags")[1].path


# Deleting


def test_what_is_deleted_is_gone(registry: Registry, pusher: Pusher, fresh: str) -> None:
    """Manifest and blob; deleting what is not there is no error."""
    name = parse_reference(f"{registry.address}/{fresh}:v1")
    manifest = pusher.push_image(str(name))
    exact = Reference(domain=name.domain, path=name.path, digest=digest_of(manifest))
    for _ in range(2):
        pusher.target.delete_manifest(exact)
        pusher.target.delete_blob(name, pusher.blob().digest)
    assert pusher.documents.read_manifest(name) is None
    assert not pusher.target.has_blob(name, pusher.blob())


def test_a_registry_that_refuses_deletes(pusher: Pusher, tmp_path: Path) -> None:
    """It is said which one, and of what."""
    with running_registry(tmp_path / "firm", deletes=False) as firm:
        name = parse_reference(f"{firm.address}/app:v1")
        manifest = pusher.push_image(str(name))
        exact = Reference(domain=name.domain, path=name.path, digest=digest_of(manifest))
        with pytest.raises(ServerFailed, match="does not let anybody delete") as caught:
            pusher.target.delete_manifest(exact)
        assert firm.address in caught.value.message
        with pytest.raises(ServerFailed, match="does not let anybody delete"):
            pusher.target.delete_blob(name, pusher.blob().digest)


# Faults


def test_a_push_cut_five_times_goes_on(proxy: FaultyProxy, pusher: Pusher, fresh: str) -> None:
    """One upload; every cut costs not more than the part that was under way."""
    blob = pusher.blob()
    half, end = CutRequest(after=PART // 2), CutRequest(after=5000)
    proxy.faults["PATCH blobs"] = [half, None, half, half, None, half, None, end]
    assert pusher.push(f"{proxy.address}/{fresh}", blob)
    assert pusher.arrived(f"{proxy.address}/{fresh}", blob)
    assert methods(proxy).count("POST") == 1
    assert proxy.faults["PATCH blobs"] == []
    assert sent(proxy) == SIZE + 4 * (PART // 2) + 5000
    assert sum(pusher.told) == SIZE


@pytest.mark.parametrize("cuts", [[2], [PART // 2] * 5, [0, PART - 1, 70_000, 1, 999_999]])
def test_not_a_byte_is_sent_twice(exact: ExactRegistry, pusher: Pusher, cuts: list[int]) -> None:
    """Where the registry keeps what it got, the next part begins at the very byte."""
    blob = pusher.blob()
    exact.cuts = list(cuts)
    assert pusher.push(f"{exact.address}/app", blob)
    assert exact.blobs[blob.digest] == pusher.store.read(blob.digest)
    assert exact.received == SIZE
    assert exact.requests.count("POST") == 1
    assert exact.cuts == []
    assert sum(pusher.told) == SIZE


def test_a_single_byte_is_sent_again(exact: ExactRegistry, pusher: Pusher) -> None:
    """The status of an upload with one byte is that of one with none: a new one is begun."""
    blob = pusher.blob()
    exact.cuts = [1]
    assert pusher.push(f"{exact.address}/app", blob)
    assert exact.received == SIZE + 1


def test_a_small_blob_goes_on_too(exact: ExactRegistry, pusher: Pusher) -> None:
    """Though it was to be sent in one request."""
    blob = pusher.blob(300_000)
    exact.cuts = [100_000, 50_000]
    assert pusher.push(f"{exact.address}/app", blob)
    assert exact.blobs[blob.digest] == pusher.store.read(blob.digest)
    assert exact.received == 300_000


def test_an_upload_that_was_forgotten_begins_anew(exact: ExactRegistry, pusher: Pusher) -> None:
    """Until the registry has it; what was told is taken back."""
    blob = pusher.blob()
    exact.cuts = [PART // 2, 2 * PART, PART // 3]
    exact.forget = True
    assert pusher.push(f"{exact.address}/app", blob)
    assert exact.blobs[blob.digest] == pusher.store.read(blob.digest)
    assert sum(pusher.told) == SIZE


def test_a_registry_that_takes_no_parts(exact: ExactRegistry, pusher: Pusher) -> None:
    """Gets all in one piece."""
    exact.takes_parts = False
    blob = pusher.blob()
    assert pusher.push(f"{exact.address}/app", blob)
    assert exact.blobs[blob.digest] == pusher.store.read(blob.digest)
    assert exact.received == SIZE


def test_parts_are_as_large_as_the_registry_wants(exact: ExactRegistry, pusher: Pusher) -> None:
    """OCI-Chunk-Min-Length is heeded."""
    exact.least_part = 2 * PART
    assert pusher.push(f"{exact.address}/app", pusher.blob())
    assert exact.requests.count("PATCH") == 2


@pytest.mark.parametrize(
    ("method", "faults"),
    [
        ("PATCH", [CutRequest(after=PART // 2, passed_on=True)]),
        ("PATCH", [Drop()] * 3),
        ("PATCH", [LoseAnswer()]),
        ("PATCH", [Status(code=500), Status(code=503), Status(code=502)]),
        ("PATCH", [Status(code=429, headers={"Retry-After": "1"})]),
        ("PATCH", [WrongBody()]),
        ("PATCH", [Status(code=404)]),
        ("PATCH", [Status(code=416)]),
        ("PATCH", [WrongHeader(name="Range", value="0-99999999999")]),
        ("PATCH", [WrongHeader(name="Range", value="nonsense")]),
        ("PUT", [LoseAnswer()]),
        ("PUT", [Drop(), Status(code=500)]),
        ("POST", [Drop(), Status(code=503), LoseAnswer()]),
        ("HEAD", [Status(code=500), Drop()]),
        ("GET", [Status(code=500)]),
    ],
    ids=repr,
)
def test_passing_faults_are_overcome(
    proxy: FaultyProxy, pusher: Pusher, fresh: str, method: str, faults: list[Fault]
) -> None:
    """The right bytes arrive in the end, and the progress adds up to them."""
    blob = pusher.blob()
    pusher.target.has_blob(parse_reference(f"{proxy.address}/{fresh}"), blob)
    proxy.faults[f"{method} blobs"] = list(faults)
    if method == "GET":
        proxy.faults["PATCH blobs"] = [CutRequest(after=10)]
    assert pusher.push(f"{proxy.address}/{fresh}", blob)
    assert proxy.faults[f"{method} blobs"] == []
    assert pusher.arrived(f"{proxy.address}/{fresh}", blob)
    assert sum(pusher.told) == SIZE


@pytest.mark.parametrize(
    ("method", "fault", "error", "most"),
    [
        ("PATCH", Status(code=403), Unauthorized, 1),
        ("PATCH", Status(code=413), ServerFailed, 1),
        ("PATCH", Status(code=500), ServerFailed, 5),
        ("PATCH", Status(code=429, headers={"Retry-After": "3600"}), TooManyRequests, 1),
        ("PATCH", Drop(), Unreachable, 5),
        ("PATCH", Status(code=416), ServerFailed, 10),
        ("PATCH", Status(code=404), NotFound, 10),
        ("POST", Status(code=404), NotFound, 1),
        ("POST", Status(code=400), ServerFailed, 1),
        ("POST", WrongHeader(name="Location", value="ftp://x/"), ServerFailed, 1),
        ("HEAD", Status(code=503), ServerFailed, 5),
    ],
    ids=repr,
)
def test_lasting_faults_are_errors(
    proxy: FaultyProxy,
    pusher: Pusher,
    fresh: str,
    method: str,
    fault: Fault,
    error: type[RemoteError],
    most: int,
) -> None:
    """Each has its own kind, after as many tries as make sense, and names the place."""
    blob = pusher.blob()
    pusher.target.has_blob(parse_reference(f"{proxy.address}/{fresh}"), blob)
    proxy.seen.clear()
    proxy.faults[f"{method} blobs"] = [fault] * 40
    with pytest.raises(error) as caught:
        pusher.push(f"{proxy.address}/{fresh}", blob)
    assert len(proxy.requests("blobs", method)) <= most
    assert fresh in caught.value.message or proxy.address in caught.value.message
    assert not secrets_shown(caught.value)


def test_wrong_bytes_are_never_a_blob(proxy: FaultyProxy, pusher: Pusher, fresh: str) -> None:
    """A line that always damages them ends in an error, and the registry has nothing."""
    blob = pusher.blob(1000)
    proxy.faults["PUT blobs"] = [WrongBody()] * 9
    with pytest.raises(ServerFailed):
        pusher.push(f"{proxy.address}/{fresh}", blob)
    assert not pusher.target.has_blob(parse_reference(f"{proxy.address}/{fresh}"), blob)


def test_a_short_blob_of_ours_is_our_fault(registry: Registry, pusher: Pusher, fresh: str) -> None:
    """It is said at once, with the file's name; nobody waits for bytes that never come."""
    blob = pusher.blob()
    path = pusher.store.path(blob.digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-10])
    started = time.monotonic()
    with pytest.raises(HostError, match=path.name):
        pusher.push(f"{registry.address}/{fresh}", blob)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_registry_is_waited_for_as_it_says(
    proxy: FaultyProxy, pusher: Pusher, fresh: str, form: str
) -> None:
    """Retry-After is obeyed, in both its forms, for blobs and for manifests."""
    after = "20" if form == "seconds" else formatdate(time.time() + 20, usegmt=True)
    limited = Status(code=429, headers={"Retry-After": after})
    for part in ("POST blobs", "PUT blobs", "PUT manifests"):
        proxy.faults[part] = [limited]
    manifest = pusher.push_image(f"{proxy.address}/{fresh}:v1")
    assert 50 < sum(pusher.slept) < 61
    found = pusher.documents.read_manifest(parse_reference(f"{proxy.address}/{fresh}:v1"))
    assert found is not None
    assert found[1] == manifest


def test_another_digest_than_ours_is_an_error(
    proxy: FaultyProxy, pusher: Pusher, fresh: str
) -> None:
    """A registry that rewrites manifests is found out."""
    other = WrongHeader(name="Docker-Content-Digest", value=digest_of(b"other"))
    proxy.faults["PUT manifests"] = [other]
    with pytest.raises(ServerFailed, match="has made sha256:"):
        pusher.push_image(f"{proxy.address}/{fresh}:v1")


# Credentials


def docker_config(folder: Path, address: str, entry: object) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {address: entry}}))
    return {"DOCKER_CONFIG": str(folder), "HOME": str(folder)}


def test_credentials_go_to_the_registry_alone(
    registry: Registry, proxy: FaultyProxy, tmp_path: Path, fresh: str
) -> None:
    """An upload may go to another host, which gets the bytes and no password."""
    pusher = Pusher(tmp_path, docker_config(tmp_path, proxy.address, {"auth": BASIC}))
    challenge = Status(code=401, headers={"WWW-Authenticate": 'Basic realm="tests"'})
    proxy.faults["HEAD blobs"] = [challenge]
    blob = pusher.blob()
    with faulty_proxy(registry.address) as elsewhere:
        start = RegistryTarget(RegistryClient(environ={}))
        place = parse_reference(f"{elsewhere.address}/{fresh}")
        assert not start.has_blob(place, blob)
        client = start._client
        begin = Request(
            place=client.place(place),
            tail="blobs/uploads/",
            name="x",
            method="POST",
            body=b"",
            actions=PUSH,
        )
        with client.ask(begin) as answer:
            location = answer.header("Location")
        proxy.faults["POST blobs"] = [WrongHeader(name="Location", value=location)]
        elsewhere.seen.clear()
        pusher.push(f"{proxy.address}/{fresh}", blob)
        assert sent(elsewhere) == SIZE
        assert all("authorization" not in each.headers for each in elsewhere.seen)
        assert "authorization" in proxy.requests("uploads", "POST")[0].headers
    assert pusher.arrived(f"{proxy.address}/{fresh}", blob)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with TLS that asks for a certificate and a password."""
    folder = tmp_path_factory.mktemp("guarded")
    with running_registry(folder, login=True, tls=True, client_certificates=True) as running:
        yield running


def own_certificates(home: Path, registry: Registry) -> Path:
    folder = home / ".config" / "containers" / "certs.d" / registry.address
    folder.mkdir(parents=True)
    assert registry.certificate is not None
    for name, source in (("ca.crt", "cert.pem"), ("me.cert", "cert.pem"), ("me.key", "key.pem")):
        (folder / name).write_bytes(registry.certificate.with_name(source).read_bytes())
    return folder


def test_certificates_of_our_own(guarded: Registry, tmp_path: Path) -> None:
    """Authority, certificate and key from certs.d; the password from config.json. skopeo, given
    the same folder, sees what was pushed."""
    folder = own_certificates(tmp_path, guarded)
    pusher = Pusher(tmp_path, docker_config(tmp_path, guarded.address, {"auth": BASIC}))
    manifest = pusher.push_image(f"{guarded.address}/app:v1")
    options = ["--raw", f"--cert-dir={folder}", f"--creds={USER}:{PASSWORD}"]
    name = f"docker://{guarded.address}/app:v1"
    raw = run([program("skopeo"), "inspect", *options, name]).must_succeed()
    assert raw.stdout.encode() == manifest


def test_a_registry_wants_a_certificate(guarded: Registry, tmp_path: Path) -> None:
    """Without one there is no connection, and the message says that it is TLS."""
    (own_certificates(tmp_path, guarded) / "me.cert").unlink()
    pusher = Pusher(tmp_path, docker_config(tmp_path, guarded.address, {"auth": BASIC}))
    with pytest.raises(Unreachable, match=r"TLS|broke"):
        pusher.push_image(f"{guarded.address}/app:v1")


def test_a_push_without_a_login_says_what_to_do(guarded: Registry, tmp_path: Path) -> None:
    """The hint has the command."""
    own_certificates(tmp_path, guarded)
    pusher = Pusher(tmp_path, {"HOME": str(tmp_path)})
    with pytest.raises(Unauthorized) as caught:
        pusher.push_image(f"{guarded.address}/app:v1")
    assert f"to push, log in: lamina login {guarded.address}" in (caught.value.hint or "")


def test_a_login_is_checked(guarded: Registry, tmp_path: Path) -> None:
    """At the registry: the right one passes, a wrong one is told as such, nothing is shown."""
    own_certificates(tmp_path, guarded)
    environ = {"HOME": str(tmp_path)}
    check_login(guarded.address, USER, PASSWORD, environ)
    with pytest.raises(Unauthorized, match="does not accept this user and password") as caught:
        check_login(guarded.address, USER, "hunter2", environ)
    assert "hunter2" not in f"{caught.value!r} {caught.value.hint}"


# Tokens


@pytest.fixture
def token_world(tmp_path: Path) -> Iterator[tuple[tokens.TokenServer, str]]:
    """A registry that wants tokens, and who gives them."""
    with (
        tokens.token_server(tmp_path / "tokens") as server,
        tokens.token_registry(tmp_path / "guard", server, tmp_path / "data") as address,
    ):
        yield server, address


TokenWorld = tuple[tokens.TokenServer, str]
ENTRY = {"username": tokens.USER, "password": tokens.PASSWORD}


def test_one_token_for_a_push(token_world: TokenWorld, tmp_path: Path) -> None:
    """To pull from and push to that repository; to borrow, to pull from the lender as well."""
    server, address = token_world
    pusher = Pusher(tmp_path, docker_config(tmp_path, address, ENTRY))
    pusher.push_image(f"{address}/app:v1")
    assert [each["scope"] for each in server.asked] == ["repository:app:pull,push"]
    server.asked.clear()
    assert pusher.push(f"{address}/second", pusher.blob(), f"{address}/app")
    scopes = [each["scope"] for each in server.asked]
    assert scopes == [
        "repository:second:pull,push",
        "repository:second:pull,push repository:app:pull",
    ]


def test_a_token_expires_in_the_middle_of_a_push(token_world: TokenWorld, tmp_path: Path) -> None:
    """Another one is got, and the upload goes on where it was."""
    server, address = token_world
    pusher = Pusher(tmp_path, docker_config(tmp_path, address, ENTRY))
    # The registry allows a minute for clocks that differ.
    server.valid_for = -58.0
    done = 0

    def count(more: int) -> None:
        nonlocal done
        if done < PART <= done + more:
            time.sleep(3.5)
            server.valid_for = 300
        done += more

    with faulty_proxy(address) as proxy:
        config = {"auths": {proxy.address: ENTRY}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        name = parse_reference(f"{proxy.address}/app")
        assert pusher.target.push_blob(name, pusher.blob(), pusher.store, progress=count)
        assert methods(proxy).count("POST") == 1
        assert len(server.asked) == 2
        assert done == SIZE
        assert pusher.arrived(f"{proxy.address}/app", pusher.blob())
    assert pusher.slept == []


def test_a_login_is_checked_by_a_token_server(token_world: TokenWorld, tmp_path: Path) -> None:
    """No repository is asked for."""
    server, address = token_world
    check_login(address, tokens.USER, tokens.PASSWORD, {"HOME": str(tmp_path)})
    assert "scope" not in server.asked[0]
    with pytest.raises(Unauthorized):
        check_login(address, tokens.USER, "wrong", {"HOME": str(tmp_path)})


# Mirrors and other places


def registries_conf(folder: Path, text: str) -> dict[str, str]:
    (folder / "registries.conf").write_text(text)
    return {"CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf")}


def test_a_mirror_is_read_and_not_written(
    registry: Registry, proxy: FaultyProxy, pusher: Pusher, fresh: str, tmp_path: Path
) -> None:
    """Reading asks the mirror first, the registry itself for what the mirror has not."""
    own = f"{registry.address}/{fresh}"
    text = f"""
        [[registry]]
        location = "{own}"
        [[registry.mirror]]
        location = "{proxy.address}/{fresh}/copy"
    """
    blob = pusher.blob(1000)
    manifest = pusher.push_image(f"{own}:v1")
    pusher.push(f"{registry.address}/{fresh}/copy", blob)
    mirrored = Pusher(tmp_path / "second", registries_conf(tmp_path, text))
    found = mirrored.documents.read_manifest(parse_reference(f"{own}:v1"))
    assert found is not None
    assert found[1] == manifest
    assert len(proxy.requests("manifests")) == 1
    data = mirrored.documents.read_blob_bytes(parse_reference(own), blob, 1000)
    assert data == pusher.store.read(blob.digest)
    proxy.seen.clear()
    mirrored.push(own, mirrored.blob(500))
    assert proxy.seen == []


def test_a_dead_mirror_costs_one_try(
    registry: Registry, pusher: Pusher, fresh: str, tmp_path: Path
) -> None:
    """Then what lives is asked first, and if all fail, both are told of."""
    own = f"{registry.address}/{fresh}"
    text = f"""
        [[registry]]
        location = "{own}"
        [[registry.mirror]]
        location = "dead.invalid/x"
    """
    pusher.push_image(f"{own}:v1")
    mirrored = Pusher(tmp_path / "second", registries_conf(tmp_path, text))
    assert mirrored.documents.read_manifest(parse_reference(f"{own}:v1"))
    with pytest.raises(NotFound) as caught:
        mirrored.documents.read_blob_bytes(parse_reference(own), mirrored.blob(77), 77)
    assert "the mirror dead.invalid could not help" in (caught.value.hint or "")


def test_an_insecure_registry(guarded: Registry, tmp_path: Path) -> None:
    """No authority is needed for one that registries.conf calls insecure."""
    folder = own_certificates(tmp_path, guarded)
    (folder / "ca.crt").unlink()
    config = docker_config(tmp_path, guarded.address, {"auth": BASIC})
    with pytest.raises(Unreachable, match="self-signed certificate"):
        Pusher(tmp_path, config).push_image(f"{guarded.address}/app:v1")
    text = f'[[registry]]\nlocation = "{guarded.address}"\ninsecure = true\n'
    pusher = Pusher(tmp_path, config | registries_conf(tmp_path, text))
    assert pusher.push_image(f"{guarded.address}/app:v1")


# Bounds


def test_not_more_than_so_many_blobs_move_at_once(
    registry: Registry, pusher: Pusher, fresh: str
) -> None:
    """However many threads there are."""
    client = RegistryClient(environ={}, transfers=2)
    target = RegistryTarget(client)
    lock = threading.Lock()
    now: set[int] = set()
    most = 0

    def push(size: int) -> None:
        nonlocal most

        def count(_: int) -> None:
            nonlocal most
            with lock:
                now.add(size)
                most = max(most, len(now))
            time.sleep(0.005)

        blob = pusher.blob(size)
        name = parse_reference(f"{registry.address}/{fresh}")
        target.push_blob(name, blob, pusher.store, progress=count)
        with lock:
            now.discard(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(push, range(400_000, 400_008)))
    assert most <= 3  # one may have finished without having said so yet
