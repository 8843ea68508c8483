"""`lamina forecast`: what it says is what building the commits one by one really does."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.commands import Outcome
from tests.support.lamina import Lamina

pytestmark = pytest.mark.root

COMMITS = 32
# A command whose output depends on the files of a folder, their modes, and the environment.
DIGEST = (
    "{ env | sort; find %s -type f | sort | xargs sha256sum; "
    "find %s | sort | xargs stat -c '%%n %%a'; }"
)
PLACE = re.compile(r"\[(?:(?P<stage>.+) )? *[0-9]+/[0-9]+\] (?P<text>.*)", re.DOTALL)

Step = tuple[str, str]  # stage, text
Steps = dict[Step, bool]  # whether it was cached


def digest(folder: str) -> str:
    return DIGEST % (folder, folder)


class History:
    """A repository that is worked on; `make` takes the steps of its life from chance."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.email", "dev@example.org")
        self.git("config", "user.name", "dev")

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def edit(self, *names: str) -> None:
        name = self.random.choice([name for name in names if (self.folder / name).exists()])
        self.write(name, f"{self.read(name)}\nline {self.random.random()}")

    def toggle_mode(self, name: str) -> None:
        path = self.folder / name
        path.chmod(path.stat().st_mode ^ 0o111)

    def rename(self, one: str, other: str) -> None:
        """To and fro."""
        self.git("mv", *((one, other) if (self.folder / one).exists() else (other, one)))

    def commit(self, subject: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", subject)

    def merge(self, change: Callable[[], None]) -> None:
        """A branch with two commits, merged."""
        self.git("checkout", "-q", "-b", "topic")
        for _ in range(2):
            change()
            self.commit("on a branch")
        self.git("checkout", "-q", "main")
        self.git("merge", "-q", "--no-ff", "-m", "merge", "topic")
        self.git("branch", "-q", "-D", "topic")


def node_like(history: History) -> list[Callable[[], None]]:
    """One stage; everything is copied before the dependencies are installed."""
    history.write(
        "Dockerfile",
        "FROM busybox\nENV MODE=production\nWORKDIR /app\nCOPY . .\n"
        f"RUN {digest('/app/package.json')} >/installed\n"
        f"RUN {digest('/app')} >/built\nRUN echo done >/done\nCMD cat /built\n",
    )
    history.write(".dockerignore", "docs\n*.log\n.git\nDockerfile*\n!important.log\n")
    for name in ("package.json", "src/a.js", "src/b.js", "docs/index.md", "README.md", "run.sh"):
        history.write(name, name)
    history.write("important.log", "kept")
    return [
        lambda: history.edit("src/a.js", "src/b.js"),
        lambda: history.edit("package.json"),
        lambda: history.edit("docs/index.md"),
        lambda: history.edit("README.md", "READ.me"),
        lambda: history.edit("important.log"),
        lambda: history.write("debug.log", str(history.random.random())),
        lambda: history.toggle_mode("run.sh"),
        lambda: history.write(
            "Dockerfile", history.read("Dockerfile").replace("production", "production2")
        ),
        lambda: history.write(".dockerignore", history.read(".dockerignore") + "*.tmp\n"),
        lambda: history.merge(lambda: history.edit("src/b.js")),
        lambda: history.rename("README.md", "READ.me"),
        lambda: None,
    ]


def go_like(history: History) -> list[Callable[[], None]]:
    """Several stages, arguments, heredocs, copies between stages; the context is a folder."""
    history.write(
        "app/Dockerfile",
        "ARG BASE=busybox\n"
        "FROM ${BASE} AS deps\nARG CACHE=1\nWORKDIR /src\nCOPY go.mod go.sum ./\n"
        f"RUN {digest('/src')} >/deps\n"
        "FROM deps AS build\nCOPY --exclude=*.md . .\n"
        f"RUN {digest('/src')} >/bin/app\n"
        "FROM busybox AS assets\nCOPY --parents static/**/*.css docs/*.md /assets/\n"
        "COPY <<EOF /assets/version\nversion 1\nEOF\n"
        "FROM busybox\nWORKDIR /app\n"
        "COPY --from=assets /assets/static /static\nCOPY --from=build /bin/app /app/bin\n"
        "COPY --from=assets /assets/version ./\nCOPY --link --chmod=755 run.sh /\n"
        "RUN <<EOF\n#!/bin/sh\ncat /app/bin >/copied\nEOF\n",
    )
    history.write("app/.dockerignore", "**/*_test.go\n")
    for name in ("go.mod", "go.sum", "main.go", "pkg/x.go", "pkg/x_test.go", "run.sh"):
        history.write(f"app/{name}", name)
    for name in ("static/one/a.css", "static/b.css", "static/a.js", "docs/a.md"):
        history.write(f"app/{name}", name)
    history.write("other/file", "outside of the context")
    path = "app/Dockerfile"
    return [
        lambda: history.edit("app/main.go", "app/pkg/x.go"),
        lambda: history.edit("app/main.go", "app/pkg/x.go"),
        lambda: history.edit("app/go.sum"),
        lambda: history.edit("app/pkg/x_test.go"),
        lambda: history.edit("app/static/one/a.css"),
        lambda: history.edit("app/static/a.js"),
        lambda: history.edit("app/docs/a.md"),
        lambda: history.edit("other/file"),
        lambda: history.toggle_mode("app/run.sh"),
        lambda: history.write("app/pkg/new.go", str(history.random.random())),
        lambda: history.write(path, history.read(path).replace("version 1", "version 11")),
        lambda: history.write(path, history.read(path).replace("CACHE=1", "CACHE=11")),
        lambda: history.merge(lambda: history.edit("app/docs/a.md")),
    ]


def python_like(history: History) -> list[Callable[[], None]]:
    """Binds of the context and of stages, wildcards, symlinks, ADD; `.git` goes to the build."""
    history.write(
        "Dockerfile",
        "FROM busybox AS wheels\n"
        "RUN --mount=type=bind,source=requirements.txt,target=/r.txt "
        f"{digest('/r.txt')} >/wheel\n"
        "FROM busybox AS app\nWORKDIR /srv\n"
        "RUN --mount=type=bind,from=wheels,source=/wheel,target=/wheel cat /wheel >/installed\n"
        "COPY requirements*.txt setup.cfg /srv/conf/\nCOPY link /srv/linked\n"
        "ADD --chown=1:1 data /srv/data\nCOPY src/one.py /srv/main.py\n"
        f"RUN {digest('/srv')} >/checked\n"
        "FROM busybox AS never\nRUN false\n"
        "FROM app AS whole\nCOPY . /all\n"
        f"RUN --mount=type=bind,target=/ctx {digest('/ctx/src')} >/seen\n",
    )
    for name in ("requirements.txt", "requirements-dev.txt", "setup.cfg", "src/one.py", "data/x"):
        history.write(name, name)
    (history.folder / "link").symlink_to("data")
    path = "Dockerfile"
    return [
        lambda: history.edit("src/one.py", "src/two.py"),
        lambda: history.edit("requirements.txt"),
        lambda: history.edit("requirements-dev.txt"),
        lambda: history.edit("data/x", "setup.cfg"),
        lambda: history.write("notes.txt", str(history.random.random())),
        lambda: history.write("requirements-new.txt", str(history.random.random())),
        lambda: history.toggle_mode("data/x"),
        lambda: _rename(history, path),
        lambda: history.merge(lambda: history.edit("src/one.py", "src/two.py")),
        lambda: None,
    ]


def _rename(history: History, path: str) -> None:
    """A file and the instruction that copies it to a fixed place: the image stays the same."""
    old, new = ("one", "two") if "src/one.py" in history.read(path) else ("two", "one")
    history.git("mv", f"src/{old}.py", f"src/{new}.py")
    history.write(path, history.read(path).replace(f"src/{old}.py", f"src/{new}.py"))


MAKERS = [node_like, go_like, python_like]


def grow(folder: Path, maker: Callable[[History], list[Callable[[], None]]]) -> History:
    """At least COMMITS commits along the first parents."""
    history = History(folder, seed=7)
    changes = maker(history)
    history.commit("first")
    todo: list[Callable[[], None]] = []
    for number in range(COMMITS):
        todo = todo or history.random.sample(changes, len(changes))
        todo.pop()()
        history.commit(f"change {number}")
    return history


class Truth:
    """Builds commits for real, in a clone, and asks for the forecast of them."""

    def __init__(self, lamina: Lamina, history: History, context: str) -> None:
        self.lamina = lamina
        self.clone = history.folder.parent / "clone"
        subprocess.run(["git", "clone", "-q", history.folder, self.clone], check=True)
        self.context = self.clone / context

    def commits(self) -> list[str]:
        return self.git("rev-list", "--reverse", "--first-parent", "main").split()

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.clone, check=True, capture_output=True, text=True
        )
        return done.stdout

    def build(self, commit: str, *options: str) -> Steps:
        self.git("checkout", "-q", commit)
        words = ("--progress=rawjson", "--output=type=cacheonly", *options)
        outcome = self.lamina.build(self.context, *words).must_succeed()
        return steps_of(outcome.stderr)

    def forecast(self, *options: str | Path, lamina: Lamina | None = None) -> Outcome:
        lamina = lamina or self.lamina
        bases = [f"--build-context={n}=oci-layout://{path}" for n, path in lamina.bases.items()]
        return lamina.run("forecast", "-C", self.context, *bases, *options)

    def told(self, *options: str | Path, lamina: Lamina | None = None) -> dict[str, Any]:
        outcome = self.forecast("--json", *options, lamina=lamina).must_succeed()
        found = json.loads(outcome.stdout)
        assert isinstance(found, dict)
        return found


def steps_of(lines: str) -> Steps:
    """What became of every step of the Dockerfile that has a key, by the trace of a build."""
    names: dict[int, str] = {}
    found: Steps = {}
    for event in map(json.loads, lines.splitlines()):
        if event["type"] == "step-started":
            names[event["step"]] = event["name"]
        elif event["type"] == "step-finished":
            place = PLACE.fullmatch(names[event["step"]])
            if place is not None and not place["text"].startswith("FROM "):
                found[place["stage"] or "", place["text"]] = event.get("cached", False)
    return found


def foretold(replay: dict[str, Any]) -> Steps:
    assert replay["error"] is None, replay
    return {(step["stage"], step["text"]): step["hit"] for step in replay["steps"]}


@pytest.mark.parametrize("maker", MAKERS)
def test_truth(
    maker: Callable[[History], list[Callable[[], None]]], lamina: Lamina, tmp_path: Path
) -> None:
    """Hits and misses are those of real builds, step by step and commit by commit: before anything
    was built, and with the records of the builds.
    """
    history = grow(tmp_path / "origin", maker)
    truth = Truth(lamina, history, "app" if maker is go_like else ".")
    nothing_built = Lamina(store=tmp_path / "other", bases=lamina.bases)
    commits = truth.commits()
    assert len(commits) >= 30
    early = truth.told(lamina=nothing_built)
    real = [truth.build(commit) for commit in commits]
    late = truth.told()
    for found in (early, late):
        assert [commit["id"] for commit in found["commits"]] == commits
        for steps, commit in zip(real, found["commits"], strict=True):
            assert foretold(commit["before"]) == steps, commit["subject"]
    hits = sum(hit for steps in real for hit in steps.values())
    assert late["before"]["hits"] == hits
    assert late["before"]["unknown"] == 0
    assert early["before"]["seconds"] is None


def test_records_show_what_steps_make(lamina: Lamina, tmp_path: Path) -> None:
    """Steps that make the same files from other inputs are known by the builds that were made:
    one that writes nothing, one that depends on a single file, and what is copied from them.
    """
    history = History(tmp_path / "origin", seed=1)
    history.write(
        "Dockerfile",
        "FROM busybox AS build\nCOPY . /src\nRUN test -d /src\nRUN wc -c /src/config >/out\n"
        "FROM busybox\nCOPY --from=build /out /out\nCOPY --from=build /src/config /config\n"
        "RUN cat /out >/seen\n",
    )
    history.write(".dockerignore", ".git\n")
    history.write("config", "1")
    history.commit("first")
    for number in range(6):
        history.write("notes" if number % 3 else "config", f"{number}" * (number + 1))
        history.commit(f"change {number}")
    truth = Truth(lamina, history, ".")
    real = [truth.build(commit) for commit in truth.commits()]
    assert sum(steps["stage-1", "RUN cat /out >/seen"] for steps in real) == 4
    assert [foretold(commit["before"]) for commit in truth.told()["commits"]] == real


def test_another_dockerfile(lamina: Lamina, tmp_path: Path) -> None:
    """With --dockerfile every commit is built with today's Dockerfile and with the other one; both
    are as in real builds, and so is the time that --calibrate learns.
    """
    history = History(tmp_path / "origin", seed=2)
    copied = "FROM busybox\nCOPY . /app\nRUN sleep 1; cat /app/deps >/deps\n"
    first = "FROM busybox\nCOPY deps /app/\nRUN sleep 1; cat /app/deps >/deps\nCOPY . /app\n"
    history.write(".dockerignore", ".git\n")
    history.write("deps", "1")
    history.write("Dockerfile", f"{copied}# an older one\nRUN true\n")
    history.commit("first")
    history.write("Dockerfile", copied)
    for number in range(5):
        history.write("deps" if number == 3 else "src", str(number))
        history.commit(f"change {number}")
    other = tmp_path / "Other"
    other.write_text(first)
    truth = Truth(lamina, history, ".")
    picture = tmp_path / "forecast.svg"
    found = truth.told("--dockerfile", other, "--calibrate", "--svg", picture)
    built = {"before": tmp_path / "Today", "after": other}
    built["before"].write_text(copied)
    for when, dockerfile in built.items():
        truth.lamina = Lamina(store=tmp_path / when, bases=lamina.bases)
        real = [truth.build(commit, "-f", str(dockerfile)) for commit in truth.commits()]
        assert [foretold(commit[when]) for commit in found["commits"]] == real
    assert found["before"]["misses"] == 2 * 6
    assert found["after"]["misses"] == 2 * 2 + 6
    assert 0.4 < found["saved"] < 2
    assert "saved per build over the last 6 commits" in found["summary"]
    assert ElementTree.parse(picture).getroot().get("role") == "img"


def test_after_the_fix(lamina: Lamina, tmp_path: Path) -> None:
    """--fix replays what `lamina fix` would make of the Dockerfile, and changes no file."""
    history = History(tmp_path / "origin", seed=3)
    dockerfile = (
        "FROM python:3.12-slim\nWORKDIR /app\nCOPY . .\nRUN pip install -r requirements.txt\n"
        'CMD ["python", "app.py"]\n'
    )
    history.write("Dockerfile", dockerfile)
    history.write("requirements.txt", "x==1")
    for number in range(5):
        history.write("app.py", str(number))
        history.commit(f"change {number}")
    found = lamina.run("forecast", "--fix", "--json", "-C", history.folder).must_succeed()
    told = json.loads(found.stdout)
    assert told["after"]["rate"] > told["before"]["rate"]
    assert told["saved"] is None
    assert any("python:3.12-slim" in note for note in told["notes"])
    assert history.read("Dockerfile") == dockerfile
    assert history.git("status", "--porcelain") == ""


def test_commits_that_cannot_be_built(lamina: Lamina, tmp_path: Path) -> None:
    """They are named, with the reason, and left out; so is a history that was cut off."""
    history = History(tmp_path / "origin", seed=4)
    history.write("a", "1")
    history.commit("no Dockerfile")
    history.write("Dockerfile", "FROM busybox\nCOPY missing /\n")
    history.commit("a missing file")
    history.write("Dockerfile", "FROM busybox\nNONSENSE\n")
    history.commit("nonsense")
    history.write("Dockerfile", "FROM busybox\nCOPY a /\n")
    history.commit("good")
    said = lamina.run("forecast", "-C", history.folder).must_succeed().stdout
    assert "it has no Dockerfile" in said
    assert '"/missing": not found' in said
    assert "line 2: unknown instruction: NONSENSE" in said
    assert "are 4 commits along the first parents, 200 were asked for" in said
    assert said.splitlines()[-1].endswith("over the last 1 commit; times are not known")
    shallow = tmp_path / "shallow"
    origin = f"file://{history.folder}"
    subprocess.run(["git", "clone", "-q", "--depth=1", origin, shallow], check=True)
    said = lamina.run("forecast", "-C", shallow).must_succeed().stdout
    assert "the clone is shallow: there is 1 commit" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-C", "plain"), "plain is in no git repository"),
        (("-C", "missing"), "there is no folder missing"),
        (("-C", "new"), "new has no commits yet"),
        (("-C", "made", "-n", "0"), "--commits 0: at least 1"),
        (("-C", "made"), "none of the last 1 commits would build; the latest one: it has no"),
        (("-C", "made", "--dockerfile", "x"), "there is no Dockerfile in made to compare with"),
        (("-C", "made", "--fix", "--dockerfile", "x"), "exclude each other"),
        (("-C", "made", "-f", "plain/Dockerfile"), "is outside of the repository"),
    ],
)
def test_bad_input(words: tuple[str, ...], said: str, lamina: Lamina, tmp_path: Path) -> None:
    """One sentence says what is wrong."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/Dockerfile").touch()
    History(tmp_path / "new", seed=5)
    made = History(tmp_path / "made", seed=5)
    made.commit("empty")
    outcome = lamina.run("forecast", *words, cwd=tmp_path).must_fail()
    assert said in outcome.stderr


def test_without_git(lamina: Lamina, tmp_path: Path) -> None:
    """The program is asked for by its name."""
    bare = Lamina(store=lamina.store, environment={"PATH": str(tmp_path)})
    outcome = bare.run("forecast", cwd=tmp_path).must_fail()
    assert "there is no program git here" in outcome.stderr
