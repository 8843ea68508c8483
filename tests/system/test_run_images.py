"""`lamina import`, `run`, `images` and `rmi` from end to end, as root and as ordinary users."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import msgspec
import pytest

from tests.support.commands import Outcome, program, run
from tests.support.lamina import Lamina
from tests.support.users import OrdinaryUser

pytestmark = pytest.mark.root


@pytest.fixture
def box(lamina: Lamina, busybox_image: Path) -> Lamina:
    """A store in which the image `box` is."""
    lamina.run("import", busybox_image, "box").must_succeed()
    return lamina


class Ordinary(msgspec.Struct):
    """A user who runs `lamina` with a store of their own."""

    user: OrdinaryUser

    def run(self, *arguments: str | Path) -> Outcome:
        words = (*self.user.lamina(), "--root", self.user.home / "store", *arguments)
        return run(words, cwd=self.user.home)


@pytest.fixture(params=["user", "lone_user"])
def ordinary(request: pytest.FixtureRequest, busybox_image: Path) -> Ordinary:
    """A user, with and without subordinate ids, who has imported the image `box`."""
    user: OrdinaryUser = request.getfixturevalue(request.param)
    run(["cp", "-r", busybox_image, user.home / "layout"]).must_succeed()
    user.own(user.home / "layout")
    ordinary = Ordinary(user)
    ordinary.run("import", user.home / "layout", "box").must_succeed()
    return ordinary


def said(outcome: Outcome) -> str:
    return outcome.must_succeed().stdout


@pytest.mark.parametrize("isolation", ["namespaces", "oci"])
def test_the_exit_code_is_the_commands(box: Lamina, isolation: str) -> None:
    """And its output goes where ours goes."""
    flag = f"--isolation={isolation}"
    outcome = box.run("run", flag, "box", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (outcome.code, outcome.stdout) == (7, "out\n")
    assert outcome.stderr.endswith("err\n")
    assert box.run("run", flag, "box", "sh", "-c", "sh -c 'kill -9 $$'; exit $?").code == 137


def test_what_a_container_writes_is_thrown_away(box: Lamina) -> None:
    """The next one starts from the image, and the store holds nothing more."""
    said(box.run("run", "box", "true"))
    before = {path.parent for path in box.store.rglob("manifest")}
    said(box.run("run", "box", "sh", "-c", "echo x > /made && rm /etc/passwd && ls /made"))
    assert said(box.run("run", "box", "cat", "/etc/passwd")).startswith("root:")
    assert box.run("run", "box", "cat", "/made").code == 1
    assert {path.parent for path in box.store.rglob("manifest")} == before
    assert not list(box.store.rglob("made"))


def test_environment_directory_and_user(box: Lamina) -> None:
    """As the flags say, looked up in the image."""
    flags = ["-e", "A=1 2", "-w", "/new/place", "-u", "app"]
    command = 'echo "$A|$PWD|$(id -un)|$(id -gn)"'
    assert said(box.run("run", *flags, "box", "sh", "-c", command)) == "1 2|/new/place|app|app\n"


def test_standard_input_is_passed_on_request(box: Lamina) -> None:
    """Otherwise there is nothing to read."""
    assert said(box.run("run", "-i", "box", "cat", stdin=b"hello")) == "hello"
    assert said(box.run("run", "box", "cat", stdin=b"hello")) == ""


def test_a_terminal_is_one(box: Lamina) -> None:
    """The command sees it, and its exit code comes through."""
    command = box.command("run", "-it", "box", "sh", "-c", "test -t 0 && test -t 1 && exit 5")
    outcome = run([program("script"), "-qec", shlex.join(command), "/dev/null"], env=box.env())
    assert outcome.code == 5, outcome.said


def test_mounts(box: Lamina, tmp_path: Path) -> None:
    """Of folders and files, to read or to write; relative sources are ours."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("content")
    shown = box.run(
        *("run", "-v", f"{tmp_path}/in:/ro:ro", "--mount", "type=bind,src=.,dst=/rw"),
        *("-v", f"{tmp_path}/in/file:/etc/hostname", "--mount", "type=tmpfs,dst=/mem"),
        *("box", "sh", "-c"),
        "cat /ro/file /etc/hostname; echo made > /rw/out; echo m > /mem/m; echo x > /ro/file",
        cwd=tmp_path,
    )
    assert shown.code == 1
    assert shown.stdout == "contentcontent"
    assert "Read-only file system" in shown.stderr
    assert (tmp_path / "out").read_text() == "made\n"
    missing = box.run("run", "-v", f"{tmp_path}/none:/x", "box", "true").must_fail()
    assert "does not exist" in missing.said
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_run_is_one_error(box: Lamina) -> None:
    """A missing command, user or image; no container is left behind."""
    assert "nosuch" in box.run("run", "box", "nosuch").must_fail().stderr
    assert "nobody-here" in box.run("run", "-u", "nobody-here", "box", "true").must_fail().stderr
    mounts = Path("/proc/self/mounts").read_text()
    assert str(box.store) not in mounts


def test_a_built_image_runs_by_name_and_by_id(box: Lamina, tmp_path: Path) -> None:
    """Its own changes are there; so are they in what is built upon it, and in its export."""
    (tmp_path / "Dockerfile").write_text('FROM box\nRUN echo built > /f\nCMD ["cat", "/f"]\n')
    box.build(tmp_path, "-t", "app:dev").must_succeed()
    assert said(box.run("run", "app:dev")) == "built\n"
    image_id = said(box.run("images", "-q")).split()[0]
    assert said(box.run("run", image_id)) == "built\n"
    (tmp_path / "Dockerfile").write_text("FROM app:dev\nRUN cat /f > /g\n")
    archive = tmp_path / "out.tar"
    box.build(tmp_path, "--output", f"type=oci,dest={archive}").must_succeed()
    said(box.run("import", archive, "again"))
    assert said(box.run("run", "again", "cat", "/f", "/g")) == "built\nbuilt\n"


def test_rmi_takes_names_and_ids(box: Lamina) -> None:
    """What is gone cannot be run."""
    assert said(box.run("rmi", "box")) == "Untagged: box:latest\n"
    assert "no such image: box" in box.run("rmi", "box").must_fail().stderr
    assert said(box.run("images", "-q")) == ""


def test_an_ordinary_user_runs_containers(ordinary: Ordinary) -> None:
    """As root inside, with mounts of their own, which hold files of their own afterwards."""
    place = ordinary.user.home / "place"
    place.mkdir()
    ordinary.user.own(place)
    command = "id -u; echo x > /place/made"
    assert said(ordinary.run("run", "-v", f"{place}:/place", "box", "sh", "-c", command)) == "0\n"
    assert (place / "made").stat().st_uid == place.stat().st_uid
    assert "box" in said(ordinary.run("images"))
    assert said(ordinary.run("rmi", "box")) == "Untagged: box:latest\n"


def test_two_containers_at_once(box: Lamina) -> None:
    """Each has a tree of its own."""
    command = box.command("run", "box", "sh", "-c", "echo $$ > /mine; sleep 1; cat /mine")
    running = [dataclasses.replace(box).start(command) for _ in range(2)]
    assert [process.communicate()[0] != b"" for process in running] == [True, True]
    assert [process.returncode for process in running] == [0, 0]
