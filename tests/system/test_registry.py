"""Images from registries: the CNCF registry itself, well-behaved and behind a faulty proxy."""

from __future__ import annotations

import base64
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from lamina.content.compression import Compression, compressor
from lamina.content.errors import MalformedImage, NoMatchingPlatform, NotFound, WrongDigest
from lamina.content.images import ImageStore
from lamina.content.source import ImageLayer, ResolvedImage
from lamina.content.store import BlobStore
from lamina.errors import LaminaError, RemoteError
from lamina.oci import mediatype
from lamina.oci.config import ImageConfig, RootFS
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, digest_of
from lamina.oci.manifest import Index, Manifest, encode_document
from lamina.oci.platform import Platform
from lamina.oci.reference import Reference, parse_reference
from lamina.registry.client import RegistryClient
from lamina.registry.errors import ServerFailed, TooManyRequests, Unauthorized, Unreachable
from lamina.registry.resolve import RegistrySource
from lamina.registry.transport import Transport
from tests.support.commands import program, run
from tests.support.registry import PASSWORD, USER, Registry, make_certificate, running_registry
from tests.system import token_server as tokens
from tests.system.faulty_proxy import (
    Cut,
    Drop,
    EndEarly,
    Fault,
    FaultyProxy,
    IgnoreRange,
    Stall,
    Status,
    TooMany,
    WrongBytes,
    WrongHeader,
    WrongRange,
    faulty_proxy,
)

HOST = Platform(os="linux", architecture="amd64")
LAYER_SIZE = 3 << 20
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What lies in a registry as `app:v1` (an index) and `single:v1` (its amd64 image)."""

    address: str
    data: Path
    index: Digest
    manifest: Digest
    layers: tuple[bytes, ...]


def make_image(store: BlobStore, architecture: str) -> tuple[Descriptor, tuple[bytes, ...]]:
    """An image with two layers that do not compress, one gzip and one zstd."""
    chance = random.Random(architecture)
    layers, blobs, diff_ids = [], [], []
    for kind in (Compression.GZIP, Compression.ZSTD):
        plain = chance.randbytes(LAYER_SIZE)
        with store.writer() as writer, compressor(kind, writer) as packing:
            packing.write(plain)
            packing.close()
            digest = writer.commit()
        blobs.append(store.path(digest).read_bytes())
        diff_ids.append(digest_of(plain))
        layers.append(Descriptor(media_type=kind.media_type(), digest=digest, size=len(blobs[-1])))
    config = encode_document(
        ImageConfig(architecture=architecture, os="linux", rootfs=RootFS(diff_ids=tuple(diff_ids)))
    )
    described = Descriptor(media_type=mediatype.CONFIG, digest=store.put(config), size=len(config))
    manifest = encode_document(
        Manifest(
            schema_version=2,
            media_type=mediatype.MANIFEST,
            config=described,
            layers=tuple(layers),
        )
    )
    return (
        Descriptor(
            media_type=mediatype.MANIFEST,
            digest=store.put(manifest),
            size=len(manifest),
            platform=Platform(os="linux", architecture=architecture),
        ),
        tuple(blobs),
    )


def push(folder: Path, address: str, *options: str) -> Pushed:
    """Makes an image and has skopeo push it."""
    store = BlobStore(folder / "layout")
    names = ImageStore(store)
    images = [make_image(store, architecture) for architecture in ("amd64", "arm64")]
    index = encode_document(
        Index(
            schema_version=2,
            media_type=mediatype.INDEX,
            manifests=tuple(descriptor for descriptor, _ in images),
        )
    )
    top = Descriptor(media_type=mediatype.INDEX, digest=store.put(index), size=len(index))
    names.tag(parse_reference("image:index"), top)
    names.tag(parse_reference("image:single"), images[0][0])
    for tag, name in (("index", "app"), ("single", "single")):
        source, target = f"oci:{store.root}:{tag}", f"docker://{address}/{name}:v1"
        command = [program("skopeo"), "copy", "--all", "--quiet", *options, source, target]
        run(command).must_succeed()
    return Pushed(
        address=address,
        data=folder,
        index=top.digest,
        manifest=images[0][0].digest,
        layers=images[0][1],
    )


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    folder = tmp_path_factory.mktemp("registry")
    with running_registry(folder) as running:
        yield push(folder, running.address, "--dest-tls-verify=false")


@pytest.fixture
def proxy(pushed: Pushed) -> Iterator[FaultyProxy]:
    with faulty_proxy(pushed.address) as running:
        yield running


class Puller:
    """A source with a store of its own, which counts what it waits and how far it got."""

    def __init__(self, folder: Path, environ: dict[str, str] | None = None) -> None:
        self.slept: list[float] = []
        self.told: list[int] = []
        self.store = BlobStore(folder / "store")
        environ = environ or {}
        self.client = RegistryClient(
            environ=environ,
            transport=Transport(environ, connect_timeout=1, read_timeout=1),
            sleep=self.slept.append,
            random=lambda: 0.0,
        )
        self.source = RegistrySource(self.client, self.store)

    def pull(self, name: str) -> None:
        reference = parse_reference(name)
        image = self.source.resolve(reference, HOST)
        self.fetch(reference, tuple(layer.descriptor for layer in image.layers))

    def fetch(self, reference: Reference, descriptors: tuple[Descriptor, ...]) -> None:
        for descriptor in descriptors:
            self.source.fetch(reference, descriptor, self.store, progress=self.told.append)

    def holds(self, pushed: Pushed) -> bool:
        return all(
            self.store.has(digest_of(blob)) and self.store.read(digest_of(blob)) == blob
            for blob in pushed.layers
        )


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path)


def secrets_shown(error: BaseException) -> bool:
    """Whether anything secret is in an error or in what caused it."""
    shown = []
    cause: BaseException | None = error
    while cause is not None:
        hint = cause.hint if isinstance(cause, LaminaError) else ""
        shown.append(f"{cause} {cause!r} {hint}")
        cause = cause.__cause__
    everything = " ".join(shown)
    return any(
        secret in everything
        for secret in (PASSWORD, BASIC, tokens.PASSWORD, tokens.REFRESH, "Bearer", "signature=")
    )


# A registry that works


def test_an_index_is_resolved_by_platform(pushed: Pushed, puller: Puller) -> None:
    """The image for the platform is chosen; documents come verified, layers do not come."""
    reference = parse_reference(f"{pushed.address}/app:v1")
    image = puller.source.resolve(reference, HOST)
    assert image.digest == pushed.index
    assert image.descriptor.digest == pushed.manifest
    assert str(image.platform) == "linux/amd64"
    assert [each.descriptor.digest for each in image.layers] == [
        digest_of(blob) for blob in pushed.layers
    ]
    assert not any(puller.store.has(each.descriptor.digest) for each in image.layers)
    other = puller.source.resolve(reference, Platform(os="linux", architecture="arm64"))
    assert other.descriptor.digest != image.descriptor.digest
    with pytest.raises(NoMatchingPlatform, match=r"linux/amd64, linux/arm64"):
        puller.source.resolve(reference, Platform(os="linux", architecture="s390x"))


def test_an_image_without_an_index(pushed: Pushed, puller: Puller) -> None:
    """Its own manifest is its digest."""
    image = puller.source.resolve(parse_reference(f"{pushed.address}/single:v1"), HOST)
    assert image.digest == pushed.manifest
    assert image.index is None


def test_every_byte_of_a_layer_is_counted(pushed: Pushed, puller: Puller) -> None:
    """Once; a second pull of the same asks for nothing."""
    reference = parse_reference(f"{pushed.address}/app:v1")
    image = puller.source.resolve(reference, HOST)
    for told in ({digest_of(blob): len(blob) for blob in pushed.layers}, {}):
        assert bring(puller, reference, image) == told
        assert puller.holds(pushed)


def bring(puller: Puller, reference: Reference, image: ResolvedImage) -> dict[Digest, int]:
    """Fetch every layer, several at once; the bytes that came."""
    told: dict[Digest, int] = {}

    def fetch(layer: ImageLayer) -> None:
        def tell(count: int) -> None:
            told[layer.descriptor.digest] = told.get(layer.descriptor.digest, 0) + count

        puller.source.fetch(reference, layer.descriptor, puller.store, progress=tell)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fetch, image.layers))
    return told


def test_a_known_image_costs_one_small_request(proxy: FaultyProxy, puller: Puller) -> None:
    """A name that means the same as before costs a HEAD; a digest that is there costs nothing."""
    reference = parse_reference(f"{proxy.address}/app:v1")
    image = puller.source.resolve(reference, HOST)
    proxy.seen.clear()
    assert puller.source.resolve(reference, HOST) == image
    assert [each.method for each in proxy.seen] == ["HEAD"]
    proxy.seen.clear()
    exact = parse_reference(f"{proxy.address}/app@{image.digest}")
    assert puller.source.resolve(exact, HOST).descriptor == image.descriptor
    assert proxy.seen == []


@pytest.mark.parametrize("tail", ["none", "app:none", f"app@{digest_of(b'none')}"])
def test_what_is_not_there(pushed: Pushed, puller: Puller, tail: str) -> None:
    """A missing repository, tag or digest is not found, under its full name."""
    reference = parse_reference(f"{pushed.address}/{tail}").with_default_tag()
    with pytest.raises(NotFound) as caught:
        puller.source.resolve(reference, HOST)
    assert caught.value.message == f"{reference}: not found"


def test_a_missing_blob(pushed: Pushed, puller: Puller) -> None:
    """A layer that the registry lost is not found, with its digest."""
    lost = Descriptor(media_type=mediatype.LAYER, digest=digest_of(b"lost"), size=4)
    with pytest.raises(NotFound, match=lost.digest):
        puller.fetch(parse_reference(f"{pushed.address}/app"), (lost,))


# Faults


@pytest.mark.parametrize(
    "faults",
    [
        [Cut(after=1_000_000)],
        [Cut(after=0), Cut(after=10), Cut(after=2_000_000)],
        [EndEarly(after=1_000_000)],
        [Drop()],
        [Status(code=500), Status(code=502), Status(code=503)],
        [Cut(after=500_000), Status(code=500), Cut(after=500_000)],
        [Cut(after=1_000_000), IgnoreRange()],
        [Cut(after=1_000_000), WrongRange()],
        [Cut(after=1_000_000), Status(code=416)],
        [Stall(after=100_000, seconds=2)],
        [Cut(after=1_000_000), WrongBytes()],
    ],
    ids=repr,
)
def test_passing_faults_are_overcome(
    pushed: Pushed, proxy: FaultyProxy, puller: Puller, faults: list[Fault]
) -> None:
    """The right bytes arrive in the end, and the progress adds up to them."""
    reference = parse_reference(f"{proxy.address}/app:v1")
    image = puller.source.resolve(reference, HOST)
    proxy.faults["blobs"] = list(faults)
    puller.fetch(reference, tuple(layer.descriptor for layer in image.layers))
    assert puller.holds(pushed)
    assert proxy.faults["blobs"] == []
    assert sum(puller.told) == sum(len(blob) for blob in pushed.layers)


def test_a_broken_download_goes_on_where_it_broke(
    pushed: Pushed, proxy: FaultyProxy, puller: Puller
) -> None:
    """Only what is missing is asked for."""
    reference = parse_reference(f"{proxy.address}/app:v1")
    image = puller.source.resolve(reference, HOST)
    proxy.faults["blobs"] = [Cut(after=1_000_000)]
    proxy.seen.clear()
    puller.fetch(reference, (image.layers[0].descriptor,))
    first, second = proxy.requests("blobs")
    assert "range" not in first.headers
    start = int(second.headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert 500_000 < start <= 1_000_000


def test_many_cuts_with_progress_are_not_given_up(
    pushed: Pushed, proxy: FaultyProxy, puller: Puller
) -> None:
    """A bad line that gets a bit further each time gets there."""
    reference = parse_reference(f"{proxy.address}/app:v1")
    image = puller.source.resolve(reference, HOST)
    proxy.faults["blobs"] = [Cut(after=300_000)] * 9
    proxy.seen.clear()
    puller.fetch(reference, (image.layers[0].descriptor,))
    assert puller.store.read(image.layers[0].descriptor.digest) == pushed.layers[0]
    starts = [int(each.headers["range"][6:-1]) for each in proxy.requests("blobs")[1:]]
    assert starts == sorted(set(starts))
    assert all(later - earlier <= 300_000 for earlier, later in pairwise([0, *starts]))
    assert starts[-1] > 9 * 200_000


def test_a_blob_is_not_fetched_twice_at_once(
    pushed: Pushed, proxy: FaultyProxy, puller: Puller
) -> None:
    """Of several threads that want it one fetches it."""
    reference = parse_reference(f"{proxy.address}/app:v1")
    layer = puller.source.resolve(reference, HOST).layers[0].descriptor
    proxy.seen.clear()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: puller.fetch(reference, (layer,)), range(4)))
    assert puller.store.read(layer.digest) == pushed.layers[0]
    assert len(proxy.requests("blobs")) == 1


@pytest.mark.parametrize(
    ("fault", "error", "asked"),
    [
        (WrongBytes(), WrongDigest, 1),
        (TooMany(announced=True), WrongDigest, 1),
        (TooMany(announced=False), WrongDigest, 1),
        (WrongHeader(name="Content-Length", value="7"), WrongDigest, 1),
        (Status(code=404), NotFound, 1),
        (Status(code=403), Unauthorized, 1),
        (Status(code=400), ServerFailed, 1),
        (Status(code=500), ServerFailed, 5),
        (Drop(), Unreachable, 5),
        (Cut(after=0), Unreachable, 5),
        (Status(code=429), TooManyRequests, 5),
        (Status(code=429, headers={"Retry-After": "3600"}), TooManyRequests, 1),
        (Status(code=307, headers={"Location": "ftp://x/"}), ServerFailed, 1),
        (Status(code=307), ServerFailed, None),
    ],
    ids=repr,
)
def test_lasting_faults_are_errors(
    proxy: FaultyProxy,
    puller: Puller,
    fault: Fault,
    error: type[RemoteError],
    asked: int | None,
) -> None:
    """Each has its own kind, after as many tries as make sense, and leaves nothing behind."""
    reference = parse_reference(f"{proxy.address}/app:v1")
    layer = puller.source.resolve(reference, HOST).layers[0].descriptor
    proxy.faults["blobs"] = [fault] * 40
    proxy.seen.clear()
    with pytest.raises(error) as caught:
        puller.fetch(reference, (layer,))
    assert asked is None or len(proxy.requests("blobs")) == asked
    assert not puller.store.has(layer.digest)
    assert list((puller.store.root / "ingest").iterdir()) == []
    assert not secrets_shown(caught.value)


def test_the_registry_is_waited_for_as_it_says(
    pushed: Pushed, proxy: FaultyProxy, puller: Puller
) -> None:
    """Retry-After is obeyed, for blobs and for manifests."""
    proxy.faults["manifests"] = [Status(code=429, headers={"Retry-After": "11"})]
    proxy.faults["blobs"] = [Status(code=503, headers={"Retry-After": "7"})]
    puller.pull(f"{proxy.address}/app:v1")
    assert puller.holds(pushed)
    assert sum(puller.slept) == 18


def test_a_manifest_of_another_digest_is_refused(proxy: FaultyProxy, puller: Puller) -> None:
    """By digest as well as by tag."""
    reference = parse_reference(f"{proxy.address}/app:v1")
    with_wrong_bytes: list[Fault] = [Status(code=405), WrongBytes()]
    for name in (str(reference), f"{proxy.address}/app@{digest_of(b'x')}"):
        proxy.faults["manifests"] = list(with_wrong_bytes)
        if "@" in name:
            proxy.faults["manifests"] = [Status(code=200, body=b"{}")]
        with pytest.raises((WrongDigest, MalformedImage)) as caught:
            puller.source.resolve(parse_reference(name), HOST)
        assert isinstance(caught.value, WrongDigest)
    assert list(puller.store.digests()) == []


def test_a_registry_without_head_or_digest_header(
    pushed: Pushed, proxy: FaultyProxy, puller: Puller
) -> None:
    """The manifest itself is asked for then."""
    proxy.faults["manifests"] = [Status(code=405)]
    assert puller.source.resolve(parse_reference(f"{proxy.address}/app:v1"), HOST)
    proxy.faults["manifests"] = [WrongHeader(name="Docker-Content-Digest", value="?")]
    image = puller.source.resolve(parse_reference(f"{proxy.address}/app:v1"), HOST)
    assert image.digest == pushed.index


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"<html>hello</html>", b'{"schemaVersion": 1}', b"x" * (5 << 20)],
    ids=lambda body: repr(body[:12]),
)
def test_nonsense_for_a_manifest_is_malformed(
    proxy: FaultyProxy, puller: Puller, body: bytes
) -> None:
    """A web page in the place of a manifest is one clear error."""
    proxy.faults["manifests"] = [Status(code=405), Status(code=200, body=body)]
    with pytest.raises(MalformedImage):
        puller.source.resolve(parse_reference(f"{proxy.address}/app:v1"), HOST)


def test_the_registrys_own_words_are_told(proxy: FaultyProxy, puller: Puller) -> None:
    """In a bounded, printable form."""
    problem = {"code": "DENIED", "message": "no\x1b[31m pull\n for you" + "!" * 9000}
    body = json.dumps({"errors": [problem]}).encode()
    proxy.faults["manifests"] = [Status(code=405), Status(code=400, body=body)]
    with pytest.raises(ServerFailed) as caught:
        puller.source.resolve(parse_reference(f"{proxy.address}/app:v1"), HOST)
    assert "DENIED: no [31m pull  for you!" in caught.value.message
    assert len(caught.value.message) < 500
    assert caught.value.message.isprintable()


# Who answers, and who does not


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_an_unreachable_registry_fails_at_once(puller: Puller) -> None:
    """Without waiting; the message has both what was not found and why."""
    name = f"{free_address()}/team/app:v1"
    started = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        puller.source.resolve(parse_reference(name), HOST)
    assert time.monotonic() - started < 2
    assert puller.slept == []
    assert caught.value.message.startswith(f"{name}: not found (127.0.0.1:")
    assert caught.value.message.endswith("cannot be reached: Connection refused)")
    assert caught.value.retryable


def test_an_unknown_host_fails_at_once(puller: Puller) -> None:
    """A name that does not resolve says so."""
    with pytest.raises(Unreachable, match=r"not found \(registry\.invalid cannot be reached: its"):
        puller.source.resolve(parse_reference("registry.invalid/app"), HOST)
    assert puller.slept == []


def test_a_silent_host_fails_after_the_time_limit(puller: Puller) -> None:
    """A server that accepts and never answers costs one time-out for each scheme."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        name = f"127.0.0.1:{server.getsockname()[1]}/app"
        started = time.monotonic()
        with pytest.raises(Unreachable):
            puller.source.resolve(parse_reference(name), HOST)
    assert time.monotonic() - started < 5


# Credentials


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Pushed]]:
    """A registry with TLS that asks for a password."""
    folder = tmp_path_factory.mktemp("guarded")
    with running_registry(folder, login=True, tls=True) as running:
        options = ("--dest-tls-verify=false", f"--dest-creds={USER}:{PASSWORD}")
        yield running, push(folder, running.address, *options)


def docker_config(folder: Path, address: str, entry: object) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {address: entry}}))
    return {"DOCKER_CONFIG": str(folder)}


def test_basic_authorization_over_tls(guarded: tuple[Registry, Pushed], tmp_path: Path) -> None:
    """With the certificate in SSL_CERT_FILE and the password in config.json."""
    registry, pushed = guarded
    environ = docker_config(tmp_path, registry.address, {"auth": BASIC})
    puller = Puller(tmp_path, environ | {"SSL_CERT_FILE": str(registry.certificate)})
    puller.pull(f"{registry.address}/app:v1")
    assert puller.holds(pushed)


def test_an_unknown_certificate_is_refused(
    guarded: tuple[Registry, Pushed], tmp_path: Path
) -> None:
    """No password is sent to whom we cannot know, and the hint says what to do."""
    registry, _ = guarded
    puller = Puller(tmp_path, docker_config(tmp_path, registry.address, {"auth": BASIC}))
    with pytest.raises(Unreachable, match="TLS: self-signed certificate") as caught:
        puller.source.resolve(parse_reference(f"{registry.address}/app:v1"), HOST)
    assert "SSL_CERT_FILE" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        ({}, "lamina login localhost:"),
        ({"username": "reader", "password": "wrong"}, "do not give access"),
    ],
)
def test_a_wrong_login_is_unauthorized(
    guarded: tuple[Registry, Pushed], tmp_path: Path, entry: object, hint: str
) -> None:
    """The registry is named, the password is not."""
    registry, _ = guarded
    environ = docker_config(tmp_path, registry.address, entry)
    puller = Puller(tmp_path, environ | {"SSL_CERT_FILE": str(registry.certificate)})
    with pytest.raises(Unauthorized) as caught:
        puller.source.resolve(parse_reference(f"{registry.address}/app:v1"), HOST)
    assert caught.value.registry == registry.address
    assert hint in (caught.value.hint or "")
    assert not secrets_shown(caught.value)
    assert "wrong" not in f"{caught.value}{caught.value.hint}"


def test_a_helper_gives_the_password(guarded: tuple[Registry, Pushed], tmp_path: Path) -> None:
    """A credential helper of config.json is run."""
    registry, pushed = guarded
    helper = tmp_path / "docker-credential-tests"
    helper.write_text(
        f'#!/bin/sh\nread -r address\n[ "$address" = {registry.address} ] || exit 1\n'
        f'echo \'{{"Username": "{USER}", "Secret": "{PASSWORD}"}}\'\n'
    )
    helper.chmod(0o755)
    config = {"credHelpers": {registry.address: "tests"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    environ = {
        "DOCKER_CONFIG": str(tmp_path),
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SSL_CERT_FILE": str(registry.certificate),
    }
    puller = Puller(tmp_path, environ)
    puller.pull(f"{registry.address}/single:v1")
    assert puller.holds(pushed)


def test_credentials_do_not_follow_redirects(
    pushed: Pushed, proxy: FaultyProxy, tmp_path: Path
) -> None:
    """Another host gets the request without the Authorization header; the same host with it."""
    environ = docker_config(tmp_path, proxy.address, {"auth": BASIC})
    puller = Puller(tmp_path, environ)
    reference = parse_reference(f"{proxy.address}/app:v1")
    layers = [layer.descriptor for layer in puller.source.resolve(reference, HOST).layers]
    challenge = {"WWW-Authenticate": 'Basic realm="tests"'}
    with faulty_proxy(pushed.address) as elsewhere:
        target = f"http://{elsewhere.address}/v2/app/blobs/{layers[0].digest}?signature=secret"
        proxy.faults["blobs"] = [
            Status(code=401, headers=challenge),
            Status(code=307, headers={"Location": target}),
        ]
        proxy.seen.clear()
        puller.fetch(reference, (layers[0],))
        refused, redirected = proxy.requests("blobs")
        assert "authorization" not in refused.headers
        assert redirected.headers["authorization"] == f"Basic {BASIC}"
        (followed,) = elsewhere.requests("blobs")
        assert "authorization" not in followed.headers
        assert "cookie" not in followed.headers
        elsewhere.faults["blobs"] = [Status(code=500)] * 9
        proxy.faults["blobs"] = [Status(code=307, headers={"Location": target})] * 9
        with pytest.raises(ServerFailed) as caught:
            puller.fetch(reference, (layers[1],))
        assert not secrets_shown(caught.value)
    proxy.faults["blobs"] = [
        Status(code=307, headers={"Location": f"/v2/app/blobs/{layers[1].digest}"})
    ]
    proxy.seen.clear()
    puller.fetch(reference, (layers[1],))
    assert proxy.requests("blobs")[1].headers["authorization"] == f"Basic {BASIC}"


@pytest.fixture
def tls_proxy(pushed: Pushed, tmp_path: Path) -> Iterator[tuple[FaultyProxy, Puller]]:
    """A faulty proxy that speaks TLS, and a puller that trusts it and has a password for it."""
    certificate = make_certificate(tmp_path)
    with faulty_proxy(pushed.address, tls=tmp_path) as running:
        environ = docker_config(tmp_path, running.address, {"auth": BASIC})
        yield running, Puller(tmp_path, environ | {"SSL_CERT_FILE": str(certificate)})


def test_tls_is_not_left_by_a_redirect(
    pushed: Pushed, tls_proxy: tuple[FaultyProxy, Puller]
) -> None:
    """A registry in TLS cannot send us to an address in the clear."""
    proxy, puller = tls_proxy
    reference = parse_reference(f"{proxy.address}/app:v1")
    layer = puller.source.resolve(reference, HOST).layers[0].descriptor
    with faulty_proxy(pushed.address) as clear:
        target = f"http://{clear.address}/v2/app/blobs/{layer.digest}?signature=secret"
        proxy.faults["blobs"] = [Status(code=307, headers={"Location": target})]
        with pytest.raises(ServerFailed, match=r"redirects to 127\.0\.0\.1 without TLS") as caught:
            puller.fetch(reference, (layer,))
        assert clear.seen == []
    assert not secrets_shown(caught.value)


def test_tls_is_not_left_for_a_token(tls_proxy: tuple[FaultyProxy, Puller]) -> None:
    """A registry in TLS cannot have our password sent to a token server in the clear."""
    proxy, puller = tls_proxy
    header = {"WWW-Authenticate": 'Bearer realm="http://tokens.invalid/token"'}
    proxy.faults["manifests"] = [Status(code=401, headers=header)]
    with pytest.raises(ServerFailed, match="token server without TLS"):
        puller.source.resolve(parse_reference(f"{proxy.address}/app:v1"), HOST)


def test_an_expired_address_in_an_object_store_is_asked_for_again(
    pushed: Pushed, proxy: FaultyProxy, puller: Puller
) -> None:
    """A 403 after a redirect is not the registry's word."""
    reference = parse_reference(f"{proxy.address}/app:v1")
    layer = puller.source.resolve(reference, HOST).layers[0].descriptor
    with faulty_proxy(pushed.address) as elsewhere:
        target = f"http://{elsewhere.address}/v2/app/blobs/{layer.digest}"
        elsewhere.faults["blobs"] = [Cut(after=1000), Status(code=403)]
        proxy.faults["blobs"] = [Status(code=307, headers={"Location": target})] * 3
        puller.fetch(reference, (layer,))
    assert puller.store.read(layer.digest) == pushed.layers[0]


# Tokens


@pytest.fixture
def token_world(
    pushed: Pushed, tmp_path: Path
) -> Iterator[tuple[tokens.TokenServer, Callable[[object], Puller], str]]:
    """The pushed images behind a registry that wants tokens, and pullers with some credentials."""
    with (
        tokens.token_server(tmp_path / "tokens") as server,
        tokens.token_registry(tmp_path / "guard", server, pushed.data / "data") as address,
    ):

        def puller(entry: object) -> Puller:
            return Puller(tmp_path, docker_config(tmp_path, address, entry))

        yield server, puller, f"{address}/app:v1"


TokenWorld = tuple[tokens.TokenServer, Callable[[object], Puller], str]


def test_tokens_by_password(pushed: Pushed, token_world: TokenWorld) -> None:
    """One token, for the one repository, to pull and nothing else, serves the whole pull."""
    server, make, name = token_world
    puller = make({"username": tokens.USER, "password": tokens.PASSWORD})
    puller.pull(name)
    assert puller.holds(pushed)
    (asked,) = server.asked
    assert asked["method"] == "GET"
    assert asked["service"] == tokens.SERVICE
    assert asked["scope"] == "repository:app:pull"
    assert asked["account"] == tokens.USER


def test_tokens_without_a_login(pushed: Pushed, token_world: TokenWorld) -> None:
    """Public images are pulled with an anonymous token."""
    server, make, name = token_world
    server.anonymous = True
    puller = make({})
    puller.pull(name)
    assert puller.holds(pushed)
    assert "account" not in server.asked[0]


def test_tokens_by_identity_token(pushed: Pushed, token_world: TokenWorld) -> None:
    """An identity token is posted as an OAuth refresh token, not put into an address."""
    server, make, name = token_world
    puller = make({"identitytoken": tokens.REFRESH})
    puller.pull(name)
    assert puller.holds(pushed)
    assert server.asked[0]["method"] == "POST"


def test_a_registry_token_needs_no_token_server(pushed: Pushed, token_world: TokenWorld) -> None:
    """It is the bearer token itself."""
    server, make, name = token_world
    grant: list[dict[str, object]] = [{"type": "repository", "name": "app", "actions": ["pull"]}]
    puller = make({"registrytoken": server.token(grant)})
    puller.pull(name)
    assert puller.holds(pushed)
    assert server.asked == []


def test_an_expired_token_is_renewed(pushed: Pushed, token_world: TokenWorld) -> None:
    """In the middle of a pull, without an error and without a wait."""
    server, make, name = token_world
    # The registry allows a minute for clocks that differ.
    server.valid_for = -58.0
    puller = make({"username": tokens.USER, "password": tokens.PASSWORD})
    reference = parse_reference(name)
    image = puller.source.resolve(reference, HOST)
    time.sleep(3.5)
    before = len(server.asked)
    server.valid_for = 300
    bring(puller, reference, image)
    assert puller.holds(pushed)
    assert len(server.asked) == before + 1
    assert puller.slept == []


@pytest.mark.parametrize(
    "entry",
    [{}, {"username": tokens.USER, "password": "wrong"}, {"identitytoken": "wrong"}],
)
def test_refused_tokens_are_unauthorized(token_world: TokenWorld, entry: object) -> None:
    """No grant, a wrong password or a wrong identity token each end in one error with a hint."""
    _, make, name = token_world
    puller = make(entry)
    with pytest.raises(Unauthorized) as caught:
        puller.source.resolve(parse_reference(name), HOST)
    assert "log" in (caught.value.hint or "")
    assert not secrets_shown(caught.value)


@pytest.mark.parametrize("realm", ["", "ftp://x/", "no address", "http://"])
def test_a_nonsensical_realm_is_an_error(proxy: FaultyProxy, puller: Puller, realm: str) -> None:
    """No request goes there."""
    header = {"WWW-Authenticate": f'Bearer realm="{realm}"'}
    proxy.faults["manifests"] = [Status(code=401, headers=header)]
    with pytest.raises(ServerFailed, match="token server"):
        puller.source.resolve(parse_reference(f"{proxy.address}/app:v1"), HOST)


# Proxies


def test_a_proxy_of_the_environment_is_used(proxy: FaultyProxy, tmp_path: Path) -> None:
    """With its login, and without showing that in an error; loopback goes directly."""
    login = base64.b64encode(b"me:open sesame").decode()
    puller = Puller(tmp_path, {"HTTPS_PROXY": f"http://me:open%20sesame@{proxy.address}"})
    with pytest.raises(Unreachable) as caught:
        puller.source.resolve(parse_reference("registry.invalid/app"), HOST)
    assert "through a proxy" in caught.value.message
    assert not secrets_shown(caught.value)
    assert login not in caught.value.message
    puller.source.resolve(parse_reference(f"{proxy.address}/app:v1"), HOST)
