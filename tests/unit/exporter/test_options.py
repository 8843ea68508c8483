from __future__ import annotations

import pytest

from lamina.content.compression import Compression
from lamina.errors import UsageError
from lamina.exporter.annotations import Annotation
from lamina.exporter.options import LayerForm, parse_image_options


def test_nothing_said_is_gzip_with_oci_media_types() -> None:
    """The defaults of BuildKit."""
    options = parse_image_options({}, output="oci")
    assert options.form == LayerForm(compression=Compression.GZIP)
    assert not options.has_epoch
    assert not options.rewrite_timestamp


def test_everything_said() -> None:
    """Each attribute reaches its field."""
    options = parse_image_options(
        {
            "compression": "zstd",
            "compression-level": "7",
            "force-compression": "",
            "rewrite-timestamp": "true",
            "source-date-epoch": "12",
            "name": "app,example.org/app:v1",
            "annotation.k": "v",
            "push": "false",
        },
        output="oci",
    )
    assert options.form == LayerForm(compression=Compression.ZSTD, level=7, force=True)
    assert options.rewrite_timestamp
    assert (options.has_epoch, options.epoch) == (True, 12)
    assert [str(name) for name in options.names] == [
        "docker.io/library/app:latest",
        "example.org/app:v1",
    ]
    assert options.annotations == (Annotation(key="k", value="v"),)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"compresion": "gzip"}, "did you mean compression?"),
        ({"compression": "gzp"}, "did you mean gzip?"),
        ({"compression": "estargz"}, "not supported"),
        ({"compression-level": "high"}, "non-integer value specified for compression-level"),
        ({"force-compression": "yes"}, "non-bool value specified for force-compression"),
        ({"compression": "zstd", "oci-mediatypes": "false"}, "conflicts"),
        ({"annotation-index.k": "v", "oci-mediatypes": "false"}, "cannot export annotations"),
        ({"push": "true"}, "not supported"),
        ({"source-date-epoch": "today"}, "non-integer value"),
        ({"annotation-nothing.k": "v"}, "unknown annotation type"),
    ],
)
def test_what_cannot_be_is_refused(attributes: dict[str, str], said: str) -> None:
    """As a mistake on the command line, in words that say which."""
    with pytest.raises(UsageError) as refused:
        parse_image_options(attributes, output="oci")
    assert said in refused.value.message


def test_an_empty_epoch_takes_the_builds_away() -> None:
    """`source-date-epoch=` means none, in spite of SOURCE_DATE_EPOCH."""
    options = parse_image_options({"source-date-epoch": ""}, output="oci")
    assert (options.has_epoch, options.epoch) == (True, None)
