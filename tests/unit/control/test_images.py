from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.control.images import import_image, list_images, remove_image
from lamina.control.named import details_of, find_images
from lamina.control.store import open_store
from lamina.errors import LaminaError, UsageError, UserError
from lamina.oci import mediatype
from lamina.oci.config import ImageConfig
from lamina.oci.digest import digest_of

MTIME = 1_700_000_000
AT_MTIME = "2023-11-14T22:13:20Z"


def rootfs(*names: str, link: str = "") -> bytes:
    """A tar with files of these names, and a symlink."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(name), MTIME
            tar.addfile(member, io.BytesIO(name.encode()))
        if link:
            member = tarfile.TarInfo("link")
            member.type, member.linkname = tarfile.SYMTYPE, link
            tar.addfile(member)
    return buffer.getvalue()


TAR = rootfs("bin/sh", "etc/passwd", link="../../../../etc")


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "rootfs.tar"
    path.write_bytes(TAR)
    return path


def imported(
    root: str, path: Path | str, *changes: str, name: str = "app", stdin: bytes = b""
) -> str:
    return import_image(str(path), name, root, io.BytesIO(stdin), changes=changes)


def config_of(root: str, name: str) -> ImageConfig:
    store = open_store(root)
    (named,) = find_images(store, name)
    details = details_of(store, named)
    assert details.image is not None
    return details.image.config


@pytest.mark.parametrize(
    ("compress", "media_type"),
    [
        (bytes, mediatype.LAYER),
        (gzip.compress, mediatype.LAYER_GZIP),
        (zstd, mediatype.LAYER_ZSTD),
        (bz2.compress, mediatype.LAYER_GZIP),
        (lzma.compress, mediatype.LAYER_GZIP),
    ],
)
@pytest.mark.parametrize("piped", [False, True])
def test_a_root_file_system_becomes_an_image(
    root: str, tmp_path: Path, compress: Callable[[bytes], bytes], media_type: str, piped: bool
) -> None:
    """Its layer is unpacked, and its blob has the digests that the documents say."""
    data = compress(TAR)
    path = tmp_path / "rootfs"
    path.write_bytes(data)
    image_id = imported(root, "-", stdin=data) if piped else imported(root, path)
    store = open_store(root)
    (named,) = store.images.list()
    details = details_of(store, named)
    assert details.image is not None
    assert details.image_id == image_id
    (layer,) = details.image.layers
    assert layer.diff_id == digest_of(TAR)
    assert layer.descriptor.media_type == media_type
    blob = store.blobs.path(layer.descriptor.digest).read_bytes()
    assert digest_of(blob) == layer.descriptor.digest
    assert len(blob) == layer.descriptor.size
    if media_type != mediatype.LAYER_GZIP or compress is gzip.compress:
        assert blob == data
    diff = Path(store.layers.diff_dir(layer.diff_id))
    assert (diff / "bin" / "sh").read_bytes() == b"bin/sh"
    assert details.image.config.created == AT_MTIME


def test_equal_archives_are_equal_images(root: str, archive: Path, tmp_path: Path) -> None:
    """In another store, at another time."""
    assert imported(root, archive) == imported(str(tmp_path / "other"), archive)


def test_changes_mean_what_they_mean_in_a_dockerfile(root: str, archive: Path) -> None:
    """Also variables, which see the ones before them."""
    imported(
        root,
        archive,
        "ENV A=1 B=2",
        "ENV C=${A}3",
        'CMD ["sh", "-c"]',
        "entrypoint /init here",
        "USER app:users",
        "WORKDIR /a",
        "WORKDIR b",
        "EXPOSE 80 53/udp",
        "VOLUME /data",
        "LABEL x=y",
        "STOPSIGNAL SIGTERM",
        "ONBUILD RUN make",
    )
    image = config_of(root, "app")
    config = image.config
    assert config.env is not None
    assert config.env[-3:] == ("A=1", "B=2", "C=13")
    assert config.cmd == ("sh", "-c")
    assert config.entrypoint == ("/bin/sh", "-c", "/init here")
    assert (config.user, config.working_dir) == ("app:users", "/a/b")
    assert set(config.exposed_ports or {}) == {"80/tcp", "53/udp"}
    assert config.labels == {"x": "y"}
    assert config.on_build == ("RUN make",)
    assert len(image.history or ()) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("RUN ls", "is not an instruction"),
        ("EVN A=b", "did you mean ENV?"),
        ("FROM x", "is not an instruction"),
        ("", "is not an instruction"),
        ("ENV A=b\nRUN ls", "more than one line"),
        ("ENV A=b \\", "more than one line"),
        ("STOPSIGNAL never", "never"),
        ("ENV", "ENV"),
    ],
)
def test_other_changes_are_refused(root: str, archive: Path, change: str, said: str) -> None:
    """Before anything is read or kept."""
    with pytest.raises(UsageError) as refused:
        imported(root, archive, change)
    assert said in refused.value.message
    assert not Path(root).exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no tar archive"),
        (b"some text", "is no tar archive"),
        (gzip.compress(b"some text"), "is no tar archive"),
        (TAR[:515], ""),
        (gzip.compress(TAR)[:-20], ""),
        (rootfs("../../escape"), ""),
    ],
)
def test_what_is_no_root_file_system_is_refused(
    root: str, tmp_path: Path, content: bytes, said: str
) -> None:
    """With one clear error, and nothing of it in the store."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(LaminaError) as refused:
        imported(root, path)
    assert said in refused.value.message
    assert refused.value.exit_code in (1, 4)
    assert list_images(root) == ()
    store = open_store(root)
    assert [*store.blobs.digests(), *store.layers.ids()] == []
    assert not (tmp_path.parent / "escape").exists()


def test_a_missing_file_and_a_wrong_name(root: str, archive: Path) -> None:
    """Are the user's mistakes."""
    with pytest.raises(UserError, match="no such file or directory"):
        imported(root, "/does/not/exist")
    with pytest.raises(UserError, match="invalid reference"):
        imported(root, archive, name="Upper")
    with pytest.raises(UsageError, match="digest"):
        imported(root, archive, name="app@" + digest_of(b""))


@pytest.mark.parametrize("form", ["folder", "tar", "tagged"])
def test_a_layout_is_imported_as_it_is(root: str, archive: Path, tmp_path: Path, form: str) -> None:
    """The store of another Lamina is one: the same configuration, layers and all."""
    there = str(tmp_path / "there")
    image_id = imported(there, archive, "CMD x", name="app:v1")
    layout = Path(there) / "images"
    path = str(layout)
    if form == "tar":
        path = shutil.make_archive(str(tmp_path / "layout"), "tar", layout)
    if form == "tagged":
        imported(there, archive, name="other:v2")
        path = f"{layout}:v1"
    assert imported(root, path, name="copy") == image_id
    store = open_store(root)
    layers = details_of(store, find_images(store, "copy")[0]).image
    assert layers is not None
    assert all(store.blobs.has(layer.descriptor.digest) for layer in layers.layers)


def test_names_are_listed_newest_first(root: str, archive: Path) -> None:
    """With what is known of their images."""
    first = imported(root, archive, name="first")
    second = imported(root, archive, "CMD x", name="example.org/second:v1")
    rows = list_images(root)
    assert [str(row.reference) for row in rows] == [
        "example.org/second:v1",
        "docker.io/library/first:latest",
    ]
    assert [row.image_id for row in rows] == [second, first]
    assert rows[0].created == MTIME
    assert rows[0].size == len(TAR)
    assert len(rows[0].platforms) == 1


def test_a_damaged_image_is_listed_and_can_be_removed(root: str, archive: Path) -> None:
    """The others are none the worse."""
    imported(root, archive, name="whole")
    imported(root, archive, "CMD x", name="broken")
    store = open_store(root)
    (named,) = find_images(store, "broken")
    store.blobs.path(named.descriptor.digest).write_bytes(b"{}")
    rows = {row.reference.familiar: row for row in list_images(root) if row.reference}
    assert rows["broken:latest"].platforms == ()
    assert rows["whole:latest"].platforms != ()
    assert remove_image("broken", root) == ("Untagged: broken:latest",)


def test_an_id_removes_every_name_of_its_image(root: str, archive: Path) -> None:
    """A beginning of it will do where it is one image's alone."""
    image_id = imported(root, archive, name="a")
    imported(root, archive, name="b")
    imported(root, archive, "CMD x", name="c")
    digits = image_id.removeprefix("sha256:")
    assert remove_image(digits[:12], root) == ("Untagged: a:latest", "Untagged: b:latest")
    assert [str(row.reference) for row in list_images(root)] == ["docker.io/library/c:latest"]


def test_a_name_removes_itself_alone(root: str, archive: Path) -> None:
    """Other names of the image stay, and so do its blobs."""
    imported(root, archive, name="a")
    image_id = imported(root, archive, name="b")
    assert remove_image("a", root) == ("Untagged: a:latest",)
    assert [row.image_id for row in list_images(root)] == [image_id]


def test_an_unknown_image_is_named_with_the_nearest(root: str, archive: Path) -> None:
    """As the user's mistake."""
    imported(root, archive, name="application")
    with pytest.raises(UserError, match="no such image: aplication:latest") as missing:
        remove_image("aplication:latest", root)
    assert missing.value.hint == "did you mean application:latest?"


def test_the_index_is_what_other_tools_read(root: str, archive: Path) -> None:
    """An image layout, with the names where they are expected."""
    imported(root, archive, name="app:v1")
    index = json.loads((Path(root) / "images" / "index.json").read_bytes())
    (descriptor,) = index["manifests"]
    assert descriptor["annotations"]["org.opencontainers.image.ref.name"] == "v1"
