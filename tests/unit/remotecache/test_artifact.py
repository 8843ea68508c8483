"""Cache documents as manifests, and manifests that are something else."""

from __future__ import annotations

import json

import pytest

from lamina.errors import RemoteError, UsageError
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of
from lamina.oci.platform import Platform
from lamina.remotecache.artifact import ArtifactForm, Readers, parse_form, unwrap, wrap
from lamina.remotecache.errors import NotACache, UnreadableCache
from lamina.remotecache.port import StoredDocument

BLOB = Descriptor(media_type=mediatype.LAYER_GZIP, digest=digest_of(b"layer"), size=5)
DOCUMENT = StoredDocument(name="cache", data=b'{"version":1}', blobs=(BLOB,))


def readers(*blobs: bytes) -> Readers:
    known = {digest_of(data): data for data in blobs}
    return Readers(
        blob=lambda blob, limit: known[blob.digest],
        manifest=lambda inner: known[inner.digest],
        platforms=(Platform(os="linux", architecture="amd64"),),
    )


@pytest.mark.parametrize(
    "attributes",
    [{}, {"image-manifest": "false"}, {"oci-mediatypes": "false"}],
    ids=["manifest", "index", "docker"],
)
def test_every_form_is_read_back(attributes: dict[str, str]) -> None:
    """A document comes out of each wrapping with its blobs."""
    artifact = wrap(DOCUMENT, parse_form(attributes))
    found = unwrap(artifact.manifest, readers(DOCUMENT.data), name="cache", subject="cache")
    assert found.data == DOCUMENT.data
    assert [blob.digest for blob in found.blobs] == [BLOB.digest]


def test_two_names_are_two_manifests() -> None:
    """To delete one entry by its digest leaves an equal one of another writer alone."""
    other = StoredDocument(name="other", data=DOCUMENT.data, blobs=DOCUMENT.blobs)
    form = ArtifactForm()
    assert wrap(DOCUMENT, form).manifest != wrap(other, form).manifest


def test_docker_types_need_an_index() -> None:
    """What BuildKit refuses is refused."""
    with pytest.raises(UsageError):
        parse_form({"oci-mediatypes": "false", "image-manifest": "true"})


def manifest(config: bytes, media_type: str) -> bytes:
    described = {"mediaType": media_type, "digest": digest_of(config), "size": len(config)}
    return json.dumps({"schemaVersion": 2, "config": described, "layers": []}).encode()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (manifest(b"{}", mediatype.CONFIG), NotACache, "an ordinary image"),
        (manifest(b"{}", "application/vnd.buildkit.cacheconfig.v0"), NotACache, "BuildKit"),
        (manifest(b"{}", "application/vnd.helm.config"), NotACache, "neither"),
        (b"<html>", UnreadableCache, "damaged"),
        (b"{}", UnreadableCache, "damaged"),
        (b'{"schemaVersion":2,"manifests":[]}', NotACache, "an ordinary image"),
        (
            b'{"schemaVersion":2,"config":{"mediaType":"x","digest":"nope","size":1},"layers":[]}',
            UnreadableCache,
            "not a sha256 digest",
        ),
    ],
    ids=["image", "buildkit", "helm", "html", "nothing", "index", "digest"],
)
def test_something_else_is_named(data: bytes, error: type[RemoteError], message: str) -> None:
    """Whatever lies under the name, the message says the name and what it is."""
    with pytest.raises(error, match=message) as caught:
        unwrap(data, readers(b"{}"), name="v1", subject="registry.example/app:v1")
    assert "registry.example/app:v1" in str(caught.value)
