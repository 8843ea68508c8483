"""`lamina mounts`: what is in cache mounts, who used them, files in and out, and their limits."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.lamina import Lamina

pytestmark = pytest.mark.root


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    fill(folder, "mkdir -p /c/sub && echo hello >/c/sub/file && ln -s /etc/passwd /c/link")
    return folder


def fill(context: Path, command: str) -> None:
    """A Dockerfile whose RUN does something with the mount `npm` at /c."""
    mount = "--mount=type=cache,id=npm,target=/c"
    (context / "Dockerfile").write_text(f"FROM busybox\nRUN {mount} {command}\n")


@pytest.fixture
def filled(lamina: Lamina, context: Path) -> Lamina:
    lamina.build(context).must_succeed()
    return lamina


def listed(lamina: Lamina) -> list[dict[str, object]]:
    out = lamina.run("mounts", "ls", "--json").must_succeed().stdout
    return [json.loads(line) for line in out.splitlines()]


def test_ls_says_who_used_a_mount(filled: Lamina, context: Path) -> None:
    """The build, its Dockerfile and the step."""
    (mount,) = listed(filled)
    assert (mount["id"], mount["copies"], mount["files"]) == ("npm", 1, 2)
    (build,) = filled.run("history", "ls", "-q").must_succeed().stdout.split()
    assert mount["user"] == {
        "build": build,
        "dockerfile": f"{context}:Dockerfile",
        "step": f"[2/2] {(context / 'Dockerfile').read_text().splitlines()[1]}",
    }
    assert "npm" in filled.run("mounts", "ls").must_succeed().stdout


def test_show_lists_the_largest_first(filled: Lamina, context: Path) -> None:
    """With the folders that hold them."""
    fill(context, "dd if=/dev/zero of=/c/large bs=1k count=9 2>/dev/null")
    filled.build(context).must_succeed()
    out = filled.run("mounts", "show", "npm").must_succeed().stdout
    places = [line.split()[-1] for line in out.partition("PATH\n")[2].splitlines()]
    assert places == ["large", "link", "sub/", "sub/file"]
    missing = filled.run("mounts", "show", "nmp").must_fail()
    assert "did you mean npm?" in missing.stderr


def test_files_come_out_and_go_in(filled: Lamina, context: Path, tmp_path: Path) -> None:
    """As `docker cp` does it; the next step sees what was put there."""
    out = tmp_path / "out"
    filled.run("mounts", "cp", "npm:/sub/file", out).must_succeed()
    assert out.read_text() == "hello\n"
    filled.run("mounts", "cp", "npm:/", tmp_path / "all").must_succeed()
    assert (tmp_path / "all" / "sub" / "file").read_text() == "hello\n"
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "one").write_text("1\n")
    filled.run("mounts", "cp", folder, "npm:/").must_succeed()
    filled.run("mounts", "cp", f"{folder}/.", "npm:/sub").must_succeed()
    filled.run("mounts", "cp", out, "npm:/sub/renamed").must_succeed()
    fill(context, "cat /c/folder/deep/one /c/sub/deep/one /c/sub/renamed >/seen")
    filled.build(context, "--tag=app").must_succeed()
    assert filled.run("run", "app", "cat", "/seen").stdout == "1\n1\nhello\n"


def test_nothing_escapes_from_a_mount(filled: Lamina, tmp_path: Path) -> None:
    """A link in it is copied as a link; a path through one stays inside."""
    filled.run("mounts", "cp", "npm:/link", tmp_path / "copied").must_succeed()
    assert (tmp_path / "copied").readlink() == Path("/etc/passwd")
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    target = filled.store / "mounts"
    (data,) = target.glob("*/0/data")
    (data / "way").symlink_to(tmp_path)
    for path in ("npm:/way/secret", "npm:/../../../secret", "npm:/way/../secret"):
        filled.run("mounts", "cp", path, tmp_path / "stolen").must_fail()
    filled.run("mounts", "cp", secret, "npm:/way/written").must_fail()
    filled.run("mounts", "cp", secret, "npm:/link").must_succeed()
    assert "root:" in Path("/etc/passwd").read_text()
    assert (data / "link").read_text() == "secret\n"
    assert not (tmp_path / "stolen").exists()
    assert not (tmp_path / "written").exists()


def test_what_comes_out_has_no_rights_of_its_own(
    lamina: Lamina, context: Path, tmp_path: Path
) -> None:
    """A program that a step made is not run as root by whoever finds it on the machine."""
    fill(context, "cp /bin/busybox /c/tool && chmod 6755 /c/tool")
    lamina.build(context).must_succeed()
    lamina.run("mounts", "cp", "npm:/tool", tmp_path / "tool").must_succeed()
    lamina.run("mounts", "cp", "npm:/", tmp_path / "all").must_succeed()
    for tool in (tmp_path / "tool", tmp_path / "all" / "tool"):
        assert tool.stat().st_mode & 0o7777 == 0o755


def test_an_archive_streams_both_ways(filled: Lamina, tmp_path: Path) -> None:
    """What comes out goes in again; a name that leads outside is refused."""
    out = tmp_path / "mount.tar"
    with out.open("wb") as file:
        command = filled.command("mounts", "cp", "npm:/", "-")
        subprocess.run(command, stdout=file, check=True, env=filled.env())
    with tarfile.open(out) as tar:
        assert sorted(tar.getnames()) == ["link", "sub", "sub/file"]
    filled.run("mounts", "cp", "-", "npm:/sub", stdin=out.read_bytes()).must_succeed()
    (data,) = (filled.store / "mounts").glob("*/0/data")
    assert (data / "sub" / "sub" / "file").read_text() == "hello\n"
    assert os.readlink(data / "sub" / "link") == "/etc/passwd"
    for name, link in (("../evil", ""), ("link/evil", "/tmp")):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            if link:
                member = tarfile.TarInfo("link")
                member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path)
                tar.addfile(member)
            tar.addfile(tarfile.TarInfo(name))
        filled.run("mounts", "cp", "-", "npm:/", stdin=archive.getvalue()).must_fail()
        assert not (tmp_path / "evil").exists()
    filled.run("mounts", "cp", "-", "npm:/", stdin=b"no archive" * 100).must_fail()


def test_rm_by_id(filled: Lamina) -> None:
    """All platforms, or one that is named."""
    refused = filled.run("mounts", "rm", "npm", "--platform=linux/s390x").must_fail()
    assert "has no linux/s390x" in refused.stderr
    assert "npm (linux/" in filled.run("mounts", "rm", "npm").must_succeed().stdout
    assert listed(filled) == []
    assert not list((filled.store / "mounts").glob("*/0/data"))


def test_a_mount_beyond_its_limits_begins_anew(filled: Lamina, context: Path) -> None:
    """As the settings say by patterns of ids; the step before it is told."""
    settings = context.parent / "config.toml"
    settings.write_text('[mounts."np*"]\nmax-size = "100KB"\n')
    limited = replace(filled, environment={"LAMINA_CONFIG": str(settings)})
    fill(context, "dd if=/dev/zero of=/c/large bs=1k count=200 2>/dev/null")
    assert "begins anew" not in limited.build(context).must_succeed().said
    dry = limited.run("mounts", "prune", "--dry-run").must_succeed().stdout
    assert "its max-size is" in dry
    fill(context, "ls /c | wc -l | tee /count")
    said = limited.build(context, "--tag=app").must_succeed().said
    assert "cache mount npm begins anew" in said
    assert limited.run("run", "app", "cat", "/count").stdout == "0\n"


def test_prune_takes_the_longest_unused_first(lamina: Lamina, context: Path) -> None:
    """Until the others fit."""
    (context / "Dockerfile").write_text(
        "FROM busybox\n"
        + "".join(
            f"RUN --mount=type=cache,id={name},target=/c echo {name} &&"
            " dd if=/dev/zero of=/c/x bs=1k count=100 2>/dev/null\n"
            for name in ("one", "two", "three")
        )
    )
    lamina.build(context).must_succeed()
    lamina.run("mounts", "prune", "--max-size=150KB").must_succeed()
    assert [mount["id"] for mount in listed(lamina)] == ["three"]
    lamina.run("mounts", "prune", "--keep-days=0").must_succeed()
    assert listed(lamina) == []


def test_wrong_settings_are_one_sentence(filled: Lamina, context: Path) -> None:
    """With the nearest name; a cached build does not read them."""
    settings = context.parent / "config.toml"
    settings.write_text('[cache]\nmax-sise = "1GB"\n')
    wrong = replace(filled, environment={"LAMINA_CONFIG": str(settings)})
    wrong.build(context).must_succeed()
    fill(context, "true")
    failed = wrong.build(context).must_fail()
    assert "there is no setting 'max-sise'" in failed.stderr
    assert "did you mean max-size?" in failed.stderr
