from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lamina.errors import HostError, UsageError, UserError
from lamina.exporter.local import LocalExporter
from lamina.layer.stack import Layer

from .conftest import ARM64, MTIME, Workshop


def export(workshop: Workshop, dest: Path, *layers: Layer, **context: object) -> None:
    attributes = context.pop("attributes", {})
    images = [workshop.image(layer) for layer in layers]
    LocalExporter.parse(str(dest), attributes).export(  # type: ignore[arg-type]
        images, workshop.context(**context)
    )


def test_files_come_out_as_they_are(workshop: Workshop, tmp_path: Path) -> None:
    """Content, mode, time, links of both kinds, attributes and holes; the owner is the caller."""
    root, dest = tmp_path / "root", tmp_path / "deep" / "dest"
    (root / "dir" / "inner").mkdir(parents=True)
    (root / "file").write_bytes(b"content")
    os.link(root / "file", root / "dir" / "same")
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe", 0o640)
    with (root / "sparse").open("wb") as file:
        file.truncate(32 << 20)
    os.setxattr(root / "file", b"user.note", b"kept")
    (root / "file").chmod(0o4751)
    (root / "dir").chmod(0o1555)
    for name in ("file", "dir/inner", "dir", "link", "sparse"):
        os.utime(root / name, ns=(1, MTIME * 10**9 + 7), follow_symlinks=False)
    if os.geteuid() == 0:
        os.chown(root / "file", 12, 34)
        (root / "file").chmod(0o4751)
    export(workshop, dest, workshop.adopt(root))
    made = (dest / "file").stat()
    assert (dest / "file").read_bytes() == b"content"
    assert stat.S_IMODE(made.st_mode) == 0o4751
    assert (made.st_uid, made.st_gid) == (os.geteuid(), os.getegid())
    assert made.st_ino == (dest / "dir" / "same").stat().st_ino
    assert os.getxattr(dest / "file", b"user.note") == b"kept"
    assert str((dest / "link").readlink()) == "/etc/passwd"
    assert stat.S_ISFIFO((dest / "pipe").stat().st_mode)
    assert (dest / "sparse").stat().st_size == 32 << 20
    assert (dest / "sparse").stat().st_blocks * 512 < 1 << 20
    assert stat.S_IMODE((dest / "dir").stat().st_mode) == 0o1555
    for name in ("file", "dir/inner", "dir", "link", "sparse"):
        assert (dest / name).lstat().st_mtime_ns == MTIME * 10**9 + 7


def test_what_is_there_stays_or_is_replaced(workshop: Workshop, tmp_path: Path) -> None:
    """Files of other names stay; a file takes the place of whatever has its name."""
    dest = tmp_path / "dest"
    (dest / "dir").mkdir(parents=True)
    (dest / "dir" / "mine").write_text("mine")
    (dest / "file").write_text("older and longer")
    (dest / "full" / "inside").mkdir(parents=True)
    (dest / "plain").write_text("was a file")
    files = {"dir/new": b"new", "file": b"f", "full": b"file now", "plain/inside": b"x"}
    export(workshop, dest, workshop.layer(files))
    assert (dest / "dir" / "mine").read_text() == "mine"
    for name, data in files.items():
        assert (dest / name).read_bytes() == data
    assert not [path for path in dest.rglob("*") if path.name.startswith(".tmp.")]


def test_nothing_is_written_through_a_symlink(workshop: Workshop, tmp_path: Path) -> None:
    """Links in the destination are replaced, wherever they lead; their targets are untouched."""
    dest, outside = tmp_path / "dest", tmp_path / "outside"
    dest.mkdir()
    outside.mkdir(mode=0o711)
    (outside / "victim").write_text("safe")
    (dest / "dir").symlink_to(outside)
    (dest / "victim").symlink_to(outside / "victim")
    (dest / "loop").symlink_to("loop")
    before = outside.stat()
    export(
        workshop,
        dest,
        workshop.layer({"dir/victim": b"new", "victim": b"new", "loop": b"new", "dir/a/b": b"n"}),
    )
    assert (outside / "victim").read_text() == "safe"
    assert sorted(outside.iterdir()) == [outside / "victim"]
    assert outside.stat() == before
    assert not (dest / "dir").is_symlink()
    for name in ("dir/victim", "victim", "loop"):
        assert (dest / name).read_bytes() == b"new"
        assert not (dest / name).is_symlink()


def test_the_images_own_symlinks_are_only_made(workshop: Workshop, tmp_path: Path) -> None:
    """A layer cannot have anything below one, and an export does not resolve them."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "escape").symlink_to("../../../../etc")
    dest = tmp_path / "dest"
    layer = workshop.adopt(root)
    export(workshop, dest, layer)
    export(workshop, dest, layer)
    assert str((dest / "escape").readlink()) == "../../../../etc"


def test_several_platforms_get_a_folder_each(workshop: Workshop, tmp_path: Path) -> None:
    """Unless that is switched off; then equal paths are refused, and nothing is written."""
    one, other = workshop.layer({"a": b"1", "d/x": b""}), workshop.layer({"b": b"2", "d/y": b""})
    images = [workshop.image(one), workshop.image(other, platform=ARM64)]
    LocalExporter.parse(str(tmp_path / "split"), {}).export(images, workshop.context())
    assert (tmp_path / "split" / "linux_amd64" / "a").exists()
    assert (tmp_path / "split" / "linux_arm64" / "b").exists()
    merge = {"platform-split": "false"}
    LocalExporter.parse(str(tmp_path / "merged"), merge).export(images, workshop.context())
    assert sorted(path.name for path in (tmp_path / "merged").rglob("*")) == list("abdxy")
    with pytest.raises(UserError, match="cannot overwrite a from linux/amd64 with linux/arm64"):
        LocalExporter.parse(str(tmp_path / "clash"), merge).export(
            [workshop.image(one), workshop.image(one, platform=ARM64)], workshop.context()
        )
    assert not (tmp_path / "clash").exists()


def test_one_platform_may_be_split_too(workshop: Workshop, tmp_path: Path) -> None:
    """By the attribute."""
    layer = workshop.layer({"a": b"1"})
    export(workshop, tmp_path / "dest", layer, attributes={"platform-split": "true"})
    assert (tmp_path / "dest" / "linux_amd64" / "a").exists()


def test_an_epoch_is_everybodys_time(workshop: Workshop, tmp_path: Path) -> None:
    """Folders too, and earlier ones too."""
    export(workshop, tmp_path / "dest", workshop.layer({"d/a": b"1"}, mtime=5), epoch=60)
    assert {path.stat().st_mtime for path in (tmp_path / "dest").rglob("*")} == {60}


@pytest.mark.parametrize(
    ("dest", "attributes"),
    [
        (None, {}),
        ("-", {}),
        ("/etc/passwd", {}),
        ("x", {"mode": "delete"}),
        ("x", {"platform-split": "maybe"}),
        ("x", {"tar": "true"}),
    ],
)
def test_what_cannot_be_is_refused(dest: str | None, attributes: dict[str, str]) -> None:
    """Before anything is built."""
    with pytest.raises(UsageError):
        LocalExporter.parse(dest, attributes)


def test_a_destination_that_cannot_be_written_is_an_error(
    workshop: Workshop, tmp_path: Path
) -> None:
    """Named, with its cause."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="file/dest"):
        export(workshop, tmp_path / "file" / "dest", workshop.layer({"a": b"1"}))
