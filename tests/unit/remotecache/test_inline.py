"""The cache in an image's configuration."""

from __future__ import annotations

import json

import pytest

from lamina.oci.config import ContainerConfig, ImageConfig, RootFS
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of
from lamina.oci.manifest import encode_document
from lamina.remotecache.document import CachedLayer, CacheDocument, CachedStep
from lamina.remotecache.errors import UnreadableCache
from lamina.remotecache.inline import KEY, extract, inlined

IN_IMAGE, ELSEWHERE = digest_of(b"in"), digest_of(b"elsewhere")
DIFF_ID = digest_of(b"plain")
BLOB = Descriptor(media_type="gzip", digest=digest_of(b"blob"), size=3)
CONFIG = ImageConfig(
    architecture="amd64",
    os="linux",
    config=ContainerConfig(env=("A=1",)),
    rootfs=RootFS(diff_ids=(DIFF_ID,)),
)
STEP = CachedStep(
    key=digest_of(b"key"), locus="", name="RUN", parts=(), layers=(1, 0), seconds=0, created=0
)
DOCUMENT = CacheDocument(
    layers=(
        CachedLayer(id=IN_IMAGE, diff_id=digest_of(b"other times")),
        CachedLayer(id=ELSEWHERE, diff_id=digest_of(b"x")),
    ),
    steps=(STEP,),
)


def test_the_images_layers_are_the_blobs() -> None:
    """A layer of the image is told by its place, so also where its tar was written otherwise."""
    data = encode_document(inlined(CONFIG, DOCUMENT, [IN_IMAGE]))
    found = extract(data, [BLOB], subject="app:1")
    assert found is not None
    assert found.steps == (STEP,)
    assert found.layers[0].blob == BLOB
    assert found.layers[0].diff_id == DIFF_ID
    assert found.layers[1].blob is None


def test_the_configuration_stays_what_it_was() -> None:
    """Other tools see the same image, and one key that they do not know."""
    plain = json.loads(encode_document(CONFIG))
    data = json.loads(encode_document(inlined(CONFIG, DOCUMENT, [IN_IMAGE])))
    assert data.pop(KEY)
    assert data == plain


def test_an_image_without_a_cache_has_none() -> None:
    """An ordinary image is no error here."""
    assert extract(encode_document(CONFIG), [BLOB], subject="app:1") is None


@pytest.mark.parametrize(
    "cache",
    [
        {"document": "!!", "places": []},
        {"document": "e30=", "places": []},
        {"document": "eyJ2ZXJzaW9uIjoxfQ==", "places": [0]},
        "text",
    ],
    ids=["base64", "version", "places", "type"],
)
def test_a_damaged_cache_is_told(cache: object) -> None:
    """Damage is an error with the image's name."""
    config = {**json.loads(encode_document(CONFIG)), KEY: cache}
    with pytest.raises(UnreadableCache, match="app:1"):
        extract(json.dumps(config).encode(), [BLOB], subject="app:1")
