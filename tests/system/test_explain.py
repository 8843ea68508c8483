"""`lamina explain`: one cause is made in a real build, and named in the first line."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamina.control.recording.removals import Removal, note_removal
from tests.support.bases import write_layout
from tests.support.lamina import Lamina
from tools.bases import busybox_rootfs

pytestmark = pytest.mark.root


class Project:
    """A context, with the command that builds it and explains the last build."""

    def __init__(self, lamina: Lamina, folder: Path, dockerfile: str = "") -> None:
        self.lamina = lamina
        self.folder = folder
        folder.mkdir()
        self.write("Dockerfile", dockerfile)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def build(self, *options: str) -> None:
        self.lamina.build(self.folder, *options).must_succeed()

    def explain(self, *words: str) -> str:
        return self.lamina.run("explain", *words).must_succeed().stdout

    def why(self, *words: str) -> str:
        """The first line."""
        return self.explain(*words).splitlines()[0]

    def json(self, *words: str) -> dict[str, object]:
        found = json.loads(self.explain("--json", *words))
        assert isinstance(found, dict)
        return found


def listed(found: dict[str, object], name: str) -> list[dict[str, Any]]:
    """A list of objects in JSON."""
    value = found[name]
    assert isinstance(value, list)
    return value


@pytest.fixture
def project(lamina: Lamina, tmp_path: Path) -> Callable[[str], Project]:
    """Makes the project with a Dockerfile."""
    return lambda dockerfile: Project(lamina, tmp_path / "app", dockerfile)


Make = Callable[[str], Project]


def test_a_first_build_and_a_cached_one(project: Make) -> None:
    """Nothing to compare with, and nothing to explain, are said as they are."""
    app = project("FROM scratch\nCOPY a /\n")
    app.write("a", "1")
    app.build()
    assert app.why() == "1 of 1 steps ran because nothing like this was built here before"
    app.build()
    assert app.why() == "every step was cached"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda app: app.write("src/a", "2"), "file src/a changed"),
        (lambda app: app.write("src/new", "2"), "file src/new was added"),
        (lambda app: (app.folder / "src/b").unlink(), "file src/b was removed"),
        (lambda app: (app.folder / "src/a").chmod(0o755), "the mode of src/a went 0644 → 0755"),
    ],
)
def test_files(project: Make, change: Callable[[Project], None], said: str) -> None:
    """Files are named, with what happened to them and the instruction that takes them."""
    app = project("FROM scratch\nCOPY src /src\nCOPY other /\n")
    for name in ("src/a", "src/b", "other"):
        app.write(name, "1")
        (app.folder / name).chmod(0o644)
    app.build()
    change(app)
    app.build()
    assert app.why().endswith(f"because {said} (COPY src /src, Dockerfile:2)")


def test_a_different_umask(project: Make) -> None:
    """Modes that all moved the same way are counted, and their likely cause is told."""
    app = project("FROM scratch\nCOPY src /src\n")
    for number in range(12):
        app.write(f"src/{number}", "x")
        (app.folder / f"src/{number}").chmod(0o644)
    app.build()
    for path in (app.folder / "src").iterdir():
        path.chmod(0o664)
    app.build()
    assert "modes 0644 → 0664 on 12 files: a different umask (0022 → 0002)" in app.why()


def test_owners(project: Make) -> None:
    """Owners that an archive brings are told from and to."""
    app = project("")

    def archive(uid: int) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, text in (("Dockerfile", b"FROM scratch\nCOPY a /\n"), ("a", b"1")):
                member = tarfile.TarInfo(name)
                member.size, member.uid, member.gid = len(text), uid, uid
                tar.addfile(member, io.BytesIO(text))
        return out.getvalue()

    for uid in (0, 1000):
        app.lamina.build("-", stdin=archive(uid)).must_succeed()
    assert "the owner of a went 0:0 → 1000:1000" in app.why()


def test_a_build_argument(project: Make) -> None:
    """Its values, where it is declared, and whether the step uses it at all."""
    app = project("FROM busybox\nARG V=1\nRUN echo $V\n")
    app.build()
    app.build("--build-arg=V=2")
    said = "build argument V went from 1 to 2 (declared in line 2) (RUN echo"
    assert said in app.why()
    app.write("Dockerfile", "FROM busybox\nARG V=1\nARG GIT_SHA\nRUN true\n")
    app.build("--build-arg=GIT_SHA=aaa")
    app.build("--build-arg=GIT_SHA=bbb")
    said = "build argument GIT_SHA went from aaa to bbb (declared in line 3, the step does not name"
    assert said in app.why()


def test_an_argument_that_a_variable_is_made_of(project: Make) -> None:
    """That is one change and not two: the argument's."""
    app = project("FROM busybox\nARG V=1\nENV LEVEL=${V}\nRUN echo $LEVEL\n")
    app.build()
    app.build("--build-arg=V=2")
    said = "build argument V went from 1 to 2 (declared in line 2, LEVEL is made of it)"
    assert app.why() == f"1 of 1 steps ran because {said} (RUN echo 2, Dockerfile:4)"


def test_an_argument_within_an_instruction(project: Make) -> None:
    """Where a variable has changed the text of an instruction, the variable is the cause."""
    app = project("FROM scratch\nARG NAME=a\nCOPY $NAME /x\n")
    app.write("a", "1")
    app.write("b", "2")
    app.build()
    app.build("--build-arg=NAME=b")
    assert "build argument NAME went from a to b (declared in line 2)" in app.why()


def test_a_variable(project: Make) -> None:
    """ENV is told with its line, and once for all steps below it."""
    app = project("FROM busybox\nENV MODE=fast\nRUN echo 1\nRUN echo $MODE\n")
    app.build()
    app.write("Dockerfile", "FROM busybox\nENV MODE=slow\nRUN echo 1\nRUN echo $MODE\n")
    app.build()
    assert "variable MODE went from fast to slow (declared in line 2" in app.why()
    assert app.why().count("MODE went") == 1


def test_a_base_image_that_moved(lamina: Lamina, tmp_path: Path) -> None:
    """From what digest to what digest."""
    layout = tmp_path / "moving"
    before = write_layout(layout, busybox_rootfs())
    own = Lamina(store=lamina.store, bases={"moving": layout})
    app = Project(own, tmp_path / "app", "FROM moving\nRUN echo 1\nRUN echo 2\n")
    app.build()
    shutil.rmtree(layout)
    out = io.BytesIO(busybox_rootfs())
    with tarfile.open(fileobj=out, mode="a") as tar:
        tar.addfile(tarfile.TarInfo("new"))
    after = write_layout(layout, out.getvalue())
    app.build()
    assert f"base image moving moved from {before[:19]} to {after[:19]}" in app.why()


def test_another_base_image(lamina: Lamina, tmp_path: Path, busybox_image: Path) -> None:
    """A FROM that names another image says which, and which before."""
    other = tmp_path / "other"
    out = io.BytesIO(busybox_rootfs())
    with tarfile.open(fileobj=out, mode="a") as tar:
        tar.addfile(tarfile.TarInfo("new"))
    write_layout(other, out.getvalue())
    own = Lamina(store=lamina.store, bases={"one": busybox_image, "two": other})
    app = Project(own, tmp_path / "app", "FROM one\nRUN echo 1\n")
    app.build()
    app.write("Dockerfile", "FROM two\nRUN echo 1\n")
    app.build()
    assert "the base image is two instead of one" in app.why()


def test_an_instruction_that_changed(project: Make) -> None:
    """The old text and the new one."""
    app = project("FROM busybox\nRUN echo 1 > /x\nRUN echo end\n")
    app.build()
    app.write("Dockerfile", "FROM busybox\nRUN echo 2 > /x\nRUN echo end\n")
    app.build()
    assert app.why() == (
        "2 of 2 steps ran because the instruction changed from `RUN echo 1 > /x` to "
        "`RUN echo 2 > /x`"
    )


def test_a_step_that_is_new_and_one_that_is_gone(project: Make) -> None:
    """A step that moved down because of another is no changed one."""
    app = project("FROM busybox\nRUN echo 1 > /1\nRUN echo end\n")
    app.build()
    app.write("Dockerfile", "FROM busybox\nRUN echo 1 > /1\nRUN touch /new\nRUN echo end\n")
    app.build()
    assert app.why() == ("2 of 3 steps ran because `RUN touch /new` is new in the Dockerfile")
    app.write("Dockerfile", "FROM busybox\nRUN touch /new\nRUN echo end\n")
    app.build()
    assert "`RUN echo 1 > /1` was removed from the Dockerfile" in app.why()


def test_a_pruned_result(project: Make) -> None:
    """What was in the cache, and is not any more, is told with when and by what."""
    app = project("FROM busybox\nRUN echo 1 > /one\nRUN echo 2 > /two\n")
    app.build()
    shutil.rmtree(app.lamina.store / "layers")
    (app.lamina.store / "layers").mkdir()
    app.write("Dockerfile", "FROM busybox\nRUN echo 1 > /one\nRUN echo 3 > /two\n")
    app.build()
    first = app.why()
    assert "RUN echo 1 > /one: its result, made " in first
    assert "is gone from the store" in first
    assert "the instruction changed" in first


def test_a_prune_is_named(project: Make) -> None:
    """Where the removal was noted, it is told by whom and when."""
    app = project("FROM busybox\nRUN echo 1 > /one\n")
    app.build()
    (step,) = [s for s in listed(app.json(), "steps") if s["ran"]]
    record = json.loads(app.lamina.run("history", "show", "--json").must_succeed().stdout)
    key = next(s["key"] for s in record["steps"] if s["number"] == step["step"])
    for path in app.lamina.store.glob("index.db*"):
        path.unlink()
    note_removal(
        str(app.lamina.store), Removal(by="lamina cache prune", at=time.time(), keys=(key,))
    )
    app.build()
    assert "was removed by lamina cache prune " in app.why()


def test_no_cache(project: Make) -> None:
    """The flag that forced a step to run is the cause."""
    app = project("FROM busybox AS one\nRUN echo 1\n\nFROM one AS two\nRUN echo 2\n")
    app.build()
    app.build("--no-cache")
    assert app.why() == "2 of 2 steps ran because --no-cache was given"
    app.build("--no-cache-filter=two")
    assert app.why() == "1 of 2 steps ran because --no-cache-filter was given"


def test_mounts_and_secrets(project: Make, tmp_path: Path) -> None:
    """A mount that came, went or changed; a secret's value is no cause, and nowhere told."""
    (tmp_path / "key").write_text("hunter2")
    secret = f"--secret=id=key,src={tmp_path}/key"
    app = project("FROM busybox\nRUN --mount=type=secret,id=key true\n")
    app.build(secret)
    app.write("Dockerfile", "FROM busybox\nRUN --mount=type=secret,id=key,mode=0444 true\n")
    app.build(secret)
    assert "the secret mount /run/secrets/key changed" in app.why()
    app.write("Dockerfile", "FROM busybox\nRUN --mount=type=cache,target=/c true\n")
    app.build()
    assert "the secret mount /run/secrets/key was removed" in app.why()
    assert "the cache mount /c was added" in app.why()
    for path in (app.lamina.store / "history").rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes()


def test_settings(project: Make) -> None:
    """USER and the other settings of a step."""
    app = project("FROM busybox\nUSER 1\nRUN id\n")
    app.build()
    app.write("Dockerfile", "FROM busybox\nUSER 2\nRUN id\n")
    app.build()
    assert "the user went from 1 to 2" in app.why()


def test_a_bind_mount(project: Make) -> None:
    """Files that a step mounts from the context are named as those of a COPY."""
    app = project("FROM busybox\nRUN --mount=target=/src cat /src/a\n")
    app.write("a", "1")
    app.build()
    app.write("a", "2")
    app.build()
    assert "because file a changed" in app.why()


def test_a_heredoc(project: Make) -> None:
    """A file whose content stands in the Dockerfile."""
    app = project("FROM scratch\nCOPY <<conf /etc/conf\none\nconf\n")
    app.build()
    app.write("Dockerfile", "FROM scratch\nCOPY <<conf /etc/conf\ntwo\nconf\n")
    app.build()
    assert "the heredoc conf changed" in app.why()


def test_two_causes_are_both_named(project: Make) -> None:
    """And what follows from them is not taken for a cause."""
    app = project("FROM busybox\nCOPY a /\nARG V=1\nRUN echo $V\nRUN echo end\n")
    app.write("a", "1")
    app.build()
    app.write("a", "2")
    app.build("--build-arg=V=2")
    first = app.why()
    assert first.startswith("3 of 3 steps ran because file a changed (COPY a /, Dockerfile:2), and")
    assert "build argument V went from 1 to 2" in first
    assert "the working" not in first
    assert "follows from [2/4] COPY a /" in app.explain()


def test_a_cause_in_another_stage(project: Make) -> None:
    """What a stage copies from another one follows from the step that made it."""
    app = project(
        "FROM busybox AS build\nCOPY a /src\nRUN cp /src /out\n\n"
        "FROM busybox\nCOPY --from=build /out /app\n"
    )
    app.write("a", "1")
    app.build()
    app.write("a", "2")
    app.build()
    assert app.why() == ("3 of 3 steps ran because file a changed (COPY a /src, Dockerfile:2)")
    told = app.explain("COPY --from")
    assert "because file a changed" in told.splitlines()[0]
    assert "follows from [build 3/3] RUN cp /src /out: file out changed" in told


def test_a_step_that_failed_before(project: Make) -> None:
    """There is nothing to reuse of a step that failed."""
    app = project("FROM busybox\nRUN test -e /nothing\n")
    app.lamina.build(app.folder).must_fail()
    app.lamina.build(app.folder).must_fail()
    assert "RUN test -e /nothing: it did not end well in build" in app.why()


def test_a_step_below_one_that_failed_before(project: Make) -> None:
    """The build before did not come to it, though it was in the Dockerfile."""
    app = project("FROM busybox\nRUN test -e /nothing\nRUN echo below\n")
    app.lamina.build(app.folder).must_fail()
    app.write("Dockerfile", "FROM busybox\nRUN test -e /bin\nRUN echo below\n")
    app.build()
    assert "RUN echo below` is new" not in app.explain()


def test_steps_by_their_names(project: Make) -> None:
    """A step is named by place, stage and place, number or text; a wrong name gets a hint."""
    app = project("FROM busybox AS build\nRUN echo one\n\nFROM build\nRUN echo two\n")
    app.build()
    for name in ("build 2/2", "RUN echo one", "echo one"):
        assert app.why(name).startswith("[build 2/2] RUN echo one ran because")
    outcome = app.lamina.run("explain", "9/9").must_fail()
    assert "has no step '9/9'" in outcome.stderr
    assert "RUN echo one" in outcome.stderr


def test_the_text_that_changed(project: Make) -> None:
    """`--diff` shows the lines, from what the layers of both builds hold."""
    app = project("FROM scratch\nCOPY src /src\n")
    app.write("src/a.txt", "one\ntwo\nthree\n")
    app.build()
    app.write("src/a.txt", "one\n2\nthree\n")
    app.build()
    told = app.explain("--diff")
    assert "| -two\n" in told
    assert "| +2\n" in told


def test_against_a_build_of_another_machine(project: Make, tmp_path: Path) -> None:
    """Works cached on my laptop, misses in CI: the record of the laptop says what differs."""
    app = project("FROM busybox\nCOPY src /src\nRUN echo 1\n")
    app.write("src/a", "1")
    app.write("src/b", "1")
    for name in ("a", "b"):
        (app.folder / "src" / name).chmod(0o644)
    app.build()
    file = tmp_path / "laptop.lamina"
    app.lamina.run("history", "export", "-o", file).must_succeed()
    for name in ("a", "b"):
        (app.folder / "src" / name).chmod(0o664)
    there = Lamina(store=tmp_path / "ci", bases=app.lamina.bases)
    there.build(app.folder).must_succeed()
    build = there.run("history", "import", file).must_succeed().stdout.split()[1]
    told = there.run("explain", "--against", build).must_succeed().stdout.splitlines()
    assert told[0].startswith(
        f"2 of 2 steps differ from build {build} because modes 0644 → 0664 on 2 files: "
        "a different umask"
    )


def test_the_exit_code_for_ci(project: Make) -> None:
    """`--fail-on-miss` fails where a step ran that may not."""
    app = project("FROM busybox\nCOPY a /\nRUN echo 1\n")
    app.write("a", "1")
    app.build()
    assert app.lamina.run("explain", "--fail-on-miss").code == 1
    app.build()
    app.lamina.run("explain", "--fail-on-miss").must_succeed()
    app.write("a", "2")
    app.build()
    assert app.lamina.run("explain", "--fail-on-miss", "--may-miss=COPY a").code == 1
    allowed = ("--may-miss=COPY a", "--may-miss=3/3")
    app.lamina.run("explain", "--fail-on-miss", *allowed).must_succeed()


def test_the_json_form(project: Make) -> None:
    """Causes have a kind and a text; the first ones name their steps."""
    app = project("FROM scratch\nCOPY a /\n")
    app.write("a", "1")
    app.build()
    app.write("a", "2")
    app.build()
    told = app.json()
    assert told["version"] == 1
    (first,) = listed(told, "first")
    assert first["cause"]["kind"] == "files"
    assert first["cause"]["text"] == "file a changed"
    (step,) = listed(told, "steps")
    assert first["steps"] == [step["step"]]
    assert (step["ran"], step["file"], step["line"]) == (True, "Dockerfile", 2)


def test_an_external_cache(project: Make, tmp_path: Path) -> None:
    """What it held is told, and what it did not; also that it could not be read."""
    app = project("FROM busybox\nCOPY a /\nRUN echo 1 > /x\n")
    app.write("a", "1")
    cache = tmp_path / "cache"
    app.build(f"--cache-to=type=local,dest={cache},mode=max")
    source = f"--cache-from=type=local,src={cache}"
    other = Lamina(store=tmp_path / "other", bases=app.lamina.bases)
    other.build(app.folder, source).must_succeed()
    told = other.run("explain").must_succeed().stdout
    assert told.startswith("every step was cached\n")
    assert f"cached, from {cache}" in told
    app.write("Dockerfile", "FROM busybox\nRUN echo 2 > /y\n")
    third = Lamina(store=tmp_path / "third", bases=app.lamina.bases)
    moved = tmp_path / "moved"
    app.folder.rename(moved)
    third.build(moved, source).must_succeed()
    told = third.run("explain").must_succeed().stdout.splitlines()[0]
    assert told.endswith(f"was built here before, and {cache} did not hold them")
    fourth = Lamina(store=tmp_path / "fourth", bases=app.lamina.bases)
    fourth.build(moved, f"--cache-from=type=local,src={tmp_path}/none").must_succeed()
    told = fourth.run("explain").must_succeed().stdout.splitlines()[0]
    assert "the cache is not used" in told
