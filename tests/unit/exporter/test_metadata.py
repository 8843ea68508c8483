from __future__ import annotations

from lamina.exporter.metadata import image_id, metadata
from lamina.exporter.port import ExportResult
from lamina.oci import mediatype
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of

MANIFEST, CONFIG = digest_of(b"manifest"), digest_of(b"config")


def test_one_image_has_every_key() -> None:
    """Those of buildx, the descriptor as an object."""
    result = ExportResult(
        digest=MANIFEST,
        image_id=CONFIG,
        descriptor=Descriptor(media_type=mediatype.MANIFEST, digest=MANIFEST, size=1),
        names=("docker.io/library/app:dev", "example.org/app:v1"),
    )
    assert metadata(result, build_ref="default/default/x") == {
        "buildx.build.ref": "default/default/x",
        "containerimage.config.digest": CONFIG,
        "containerimage.descriptor": {
            "mediaType": mediatype.MANIFEST,
            "digest": MANIFEST,
            "size": 1,
        },
        "containerimage.digest": MANIFEST,
        "image.name": "docker.io/library/app:dev,example.org/app:v1",
    }
    assert image_id(result) == CONFIG


def test_files_have_no_metadata() -> None:
    """Nor an image id."""
    assert metadata(ExportResult()) == {}
    assert image_id(ExportResult()) is None


def test_several_platforms_are_known_by_their_index() -> None:
    """There is no single config."""
    assert image_id(ExportResult(digest=MANIFEST)) == MANIFEST
