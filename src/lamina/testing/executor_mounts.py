"""Contract of executors: mounts, and what is left of them."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from lamina.errors import LaminaError
from lamina.executor.spec import BindMount, FileMount, OverlayMount, TmpfsMount
from lamina.testing.executors import Check, Rig, refusal

ALWAYS = {"dev", "proc", "sys"}
"""Every container has them, so a layer over an image without them has them too."""


def bind_mounts_show_files_and_directories(rig: Rig) -> None:
    """A bind mount is read-only unless it says otherwise; what is written goes to its source."""
    source = rig.directory()
    (source / "file").write_text("one")
    read_only = BindMount(source=str(source), target="/in")
    writable = BindMount(source=str(source), target="/out", read_only=False)
    single = BindMount(source=str(source / "file"), target="/etc/single")
    script = "cat /in/file /etc/single; touch /in/x 2>/dev/null || echo ro; echo two > /out/new"
    assert rig.shell(script, read_only, writable, single).succeeded() == b"oneonero\n"
    assert (source / "new").read_text() == "two\n"
    assert sorted(os.listdir(source)) == ["file", "new"]


def hidden_content_comes_back(rig: Rig) -> None:
    """A mount over files of the image hides them for the step alone."""
    covered = rig.shell("ls -A /home", TmpfsMount(target="/home"))
    assert covered.succeeded() == b""
    assert not (covered.upper / "home").exists()


def mount_points_leave_no_trace(rig: Rig) -> None:
    """Mount points that were made for mounts are gone afterwards, parents too; copies of their
    parents do not stay in the writable directory; files of the step do."""
    source = rig.directory()
    (source / "file").write_text("")
    before = (rig.base / "usr/share").stat().st_mtime_ns
    mounts = (
        BindMount(source=str(source), target="/usr/share/doc/deep/er"),
        BindMount(source=str(source / "file"), target="/usr/share/a/file"),
        TmpfsMount(target="/x"),
        TmpfsMount(target="/kept/empty"),
        TmpfsMount(target="/var/run"),
    )
    ran = rig.shell("touch /kept/file; ls /usr/share/doc/deep/er", *mounts)
    assert ran.succeeded() == b"file\n"
    assert set(os.listdir(ran.upper)) == ALWAYS | {"kept"}, os.listdir(ran.upper)
    assert os.listdir(ran.upper / "kept") == ["file"]
    assert (rig.base / "usr/share").stat().st_mtime_ns == before


def dangling_links_are_mounted_where_they_lead(rig: Rig) -> None:
    """As in images of systemd, whose /etc/resolv.conf points to a file that nobody has made."""
    base = rig.directory()
    (base / "bin").mkdir()
    os.link(rig.base / "bin/busybox", base / "bin/busybox")
    (base / "etc").mkdir()
    (base / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    ran = rig.run("/bin/busybox", "cat", "/etc/resolv.conf", base=base)
    assert b"nameserver" in ran.succeeded()
    assert set(os.listdir(ran.upper)) == ALWAYS, os.listdir(ran.upper)


def times_around_mount_points_are_kept(rig: Rig) -> None:
    """A directory of the image in which a mount point was made keeps its time."""
    base = rig.directory()
    (base / "bin").mkdir()
    os.link(rig.base / "bin/busybox", base / "bin/busybox")
    (base / "data").mkdir()
    os.utime(base / "data", ns=(1_000_000_000, 1_000_000_000))
    mounts = (TmpfsMount(target="/data/mount"),)
    ran = rig.run("/bin/busybox", "touch", "/data/new", mounts=mounts, base=base)
    ran.succeeded()
    assert os.listdir(ran.upper / "data") == ["new"]
    ran = rig.run("/bin/busybox", "true", mounts=mounts, base=base)
    assert "data" not in os.listdir(ran.upper)


def existing_mount_points_are_not_copied(rig: Rig) -> None:
    ran = rig.shell("true", TmpfsMount(target="/home/alice"), TmpfsMount(target="/usr/share/doc"))
    assert set(os.listdir(ran.upper)) == ALWAYS, os.listdir(ran.upper)


def mounts_nest_in_order(rig: Rig) -> None:
    """A mount inside an earlier one is made there, not in the image."""
    outer = rig.directory()
    (outer / "inner").mkdir()
    mounts = (
        BindMount(source=str(outer), target="/m", read_only=False),
        TmpfsMount(target="/m/inner"),
    )
    ran = rig.shell("touch /m/inner/lost /m/found; ls /m/inner", *mounts)
    assert ran.succeeded() == b"lost\n"
    assert sorted(os.listdir(outer)) == ["found", "inner"]
    assert not os.listdir(outer / "inner")
    assert not (ran.upper / "m").exists()


def overlays_can_be_mounted(rig: Rig) -> None:
    """Layers show at a target, read-only or over a directory that takes what is written."""
    low, high, upper, work = (rig.directory() for _ in range(4))
    (low / "a").write_text("low")
    (low / "sub").mkdir()
    (low / "sub/file").write_text("below")
    (high / "a").write_text("high")
    (high / "alias").symlink_to("/sub/file")
    layers = (str(high), str(low))
    mounts = (
        OverlayMount(lower=layers, target="/ro"),
        OverlayMount(lower=(str(low),), target="/one"),
        OverlayMount(lower=layers, upper=str(upper), work=str(work), target="/rw"),
        OverlayMount(lower=layers, target="/part", subpath="/sub"),
        OverlayMount(lower=layers, target="/single", subpath="sub/file"),
        OverlayMount(lower=layers, target="/aliased", subpath="/alias"),
    )
    script = (
        "cat /ro/a /one/a /part/file /single /aliased; echo x > /rw/a; cat /rw/a; "
        "touch /ro/x /one/x /part/x 2>/dev/null || echo ro"
    )
    assert rig.shell(script, *mounts).succeeded() == b"highlowbelowbelowbelowx\nro\n"
    assert (high / "a").read_text() == "high"
    assert (upper / "a").read_text() == "x\n"


def parts_of_sources_cannot_escape(rig: Rig) -> None:
    """`subpath` follows symlinks inside its source, as if that were the root directory."""
    source, outside = rig.directory(), rig.directory()
    (outside / "secret").write_text("secret")
    (source / "real").mkdir()
    (source / "real/file").write_text("inside")
    (source / "link").symlink_to("/real")
    (source / "up").symlink_to("../../../../.." + str(outside))
    (source / "absolute").symlink_to(outside)
    good = BindMount(source=str(source), target="/m", subpath="/link/../link/file")
    assert rig.shell("cat /m", good).succeeded() == b"inside"
    for name in ("up", "absolute"):
        bad = BindMount(source=str(source), target="/m", subpath=name)
        assert refusal(functools.partial(rig.shell, "cat /m/*", bad)).message


def targets_cannot_escape(rig: Rig) -> None:
    """Symlinks of a hostile image on the way to a mount point stay inside the container."""
    base, outside = rig.directory(), rig.directory()
    (base / "bin").mkdir()
    os.link(rig.base / "bin/busybox", base / "bin/busybox")
    (base / "absolute").symlink_to(outside)
    (base / "up").symlink_to("../../../../../.." + str(outside))
    (base / "etc").symlink_to(outside)
    mounts = (
        TmpfsMount(target="/absolute/one"),
        TmpfsMount(target="/up/two"),
        FileMount(target="/up/three", content=b"x"),
    )
    try:
        ran = rig.run("/bin/busybox", "true", mounts=mounts, base=base)
        assert ran.status.code == 0, ran
    except LaminaError:
        assert rig.name == "oci"  # it is up to a runtime to refuse such an image
    assert not os.listdir(outside)


def secrets_are_read_only_files(rig: Rig) -> None:
    """A file in memory has its content, mode and owner, and is in no layer."""
    group = 5 if rig.ids > 1 else 0
    secret = FileMount(target="/run/secrets/key", content=b"s\0\n", mode=0o440, gid=group)
    script = "stat -c %a:%u:%g /run/secrets/key; cat /run/secrets/key; echo x > /run/secrets/key"
    ran = rig.shell(script, secret)
    assert ran.out == b"440:0:%d\ns\0\n" % group, ran
    assert ran.status.code != 0
    assert not (ran.upper / "run").exists()


def missing_sources_are_errors(rig: Rig) -> None:
    nowhere = BindMount(source=str(rig.work / "nowhere"), target="/m")
    error = refusal(lambda: rig.shell("true", nowhere))
    assert "nowhere" in error.message, error.message


def roots_can_be_read_only(rig: Rig) -> None:
    """A read-only root takes no writes; its mounts do."""
    ran = rig.shell("touch /x || touch /t/x && echo fine", TmpfsMount(target="/t"), read_only=True)
    assert ran.succeeded() == b"fine\n"


def changes_are_in_the_writable_directory(rig: Rig) -> None:
    """New files, changed files and removed files are what an overlay makes of them."""
    ran = rig.shell("echo x > /new; rm /etc/group; echo more >> /etc/passwd; chmod 700 /home")
    ran.succeeded()
    assert (ran.upper / "new").read_text() == "x\n"
    assert (ran.upper / "etc/passwd").read_text().endswith("more\n")
    assert os.lstat(ran.upper / "etc/group").st_rdev == 0
    assert (ran.upper / "home").stat().st_mode & 0o777 == 0o700
    assert (rig.base / "etc/group").exists()


def mounts_of_the_machine_are_out_of_sight(rig: Rig) -> None:
    """Nothing is mounted in a container but what belongs there, nor outside because of it."""
    before = Path("/proc/self/mountinfo").read_text()
    out = rig.shell("cut -d' ' -f2 /proc/mounts").succeeded().decode()
    tops = {"/" + point.split("/")[1] for point in out.split()}
    assert tops <= {"/", "/proc", "/dev", "/sys", "/etc"}, out
    assert {point for point in out.split() if point.startswith("/etc")} == {
        "/etc/hosts",
        "/etc/resolv.conf",
    }
    assert Path("/proc/self/mountinfo").read_text() == before


CHECKS: tuple[Check, ...] = (
    bind_mounts_show_files_and_directories,
    hidden_content_comes_back,
    mount_points_leave_no_trace,
    dangling_links_are_mounted_where_they_lead,
    times_around_mount_points_are_kept,
    existing_mount_points_are_not_copied,
    mounts_nest_in_order,
    overlays_can_be_mounted,
    parts_of_sources_cannot_escape,
    targets_cannot_escape,
    secrets_are_read_only_files,
    missing_sources_are_errors,
    roots_can_be_read_only,
    changes_are_in_the_writable_directory,
    mounts_of_the_machine_are_out_of_sight,
)
