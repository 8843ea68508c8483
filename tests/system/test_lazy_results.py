"""A result that nobody asks for need not exist; one that is asked for is made again."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest

from lamina.layer.stack import Stack
from lamina.oci.digest import Digest
from lamina.snapshot.store import LayerStore
from tests.support.commands import Outcome
from tests.support.lamina import Lamina

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM busybox AS build
RUN echo source > /source
RUN tr a-z A-Z < /source > /program
FROM busybox
COPY --from=build /program /bin/program
RUN cat /bin/program > /used
"""


class Project:
    """A context and the store that it is built in."""

    def __init__(self, lamina: Lamina, folder: Path) -> None:
        self.lamina = lamina
        self.folder = folder
        folder.mkdir()
        self.write(DOCKERFILE)

    def write(self, dockerfile: str) -> None:
        (self.folder / "Dockerfile").write_text(dockerfile)

    def build(self, *options: str) -> Built:
        metadata = self.folder.parent / "metadata.json"
        named = ("--tag=app", f"--metadata-file={metadata}")
        outcome = self.lamina.build(self.folder, *named, *options).must_succeed()
        return Built(outcome, json.loads(metadata.read_text()))

    def lose(self, text: str) -> None:
        """Remove the layer that the step with this text in its name made."""
        (name,) = self._made_by(text)
        shutil.rmtree(Path(LayerStore(str(self.lamina.store)).diff_dir(name)).parent)

    def _made_by(self, text: str) -> set[Digest]:
        with sqlite3.connect(self.lamina.store / "index.db") as database:
            rows = database.execute("SELECT name, stack FROM records").fetchall()
        stacks = [msgspec.msgpack.decode(stack, type=Stack) for name, stack in rows if text in name]
        return {stack[-1].id for stack in stacks}


class Built:
    """What a build said: the steps that ran, with their reasons, and the image's digest."""

    def __init__(self, outcome: Outcome, metadata: dict[str, str]) -> None:
        names = dict(re.findall(r"^#(\d+) (\[.*)$", outcome.stderr, re.MULTILINE))
        why = dict(re.findall(r"^#(\d+) why: (.*)$", outcome.stderr, re.MULTILINE))
        self.ran = {names[number].split("] ")[1]: reason for number, reason in why.items()}
        self.cached = len(re.findall(r"^#\d+ CACHED", outcome.stderr, re.MULTILINE))
        self.digest = metadata.get("containerimage.digest")
        self.text = outcome.stderr


@pytest.fixture
def project(lamina: Lamina, tmp_path: Path) -> Project:
    return Project(lamina, tmp_path / "context")


def test_a_lost_layer_that_nobody_asks_for_is_not_made_again(project: Project) -> None:
    """Of a stage that only gives a file to the image, nothing need be here."""
    first = project.build()
    project.lose("RUN echo source")
    project.lose("RUN tr")
    second = project.build()
    assert second.ran == {}
    assert second.digest == first.digest
    assert project.build("--output=type=oci,dest=/dev/null").ran == {}


def test_a_lost_layer_is_made_again_when_a_step_needs_it(project: Project) -> None:
    """Every step that runs for it says why; what comes out as before keeps the rest cached."""
    project.build()
    project.lose("RUN echo source")
    project.lose("RUN tr")
    project.write(DOCKERFILE.replace("COPY --from=build /program", "COPY --from=build /source"))
    built = project.build()
    gone = "its earlier result was removed from the store"
    assert built.ran["RUN echo source > /source"] == gone
    assert built.ran["RUN tr a-z A-Z < /source > /program"] == gone
    assert set(built.ran) >= {"COPY --from=build /source /bin/program"}


def test_only_what_is_lost_is_made_again(project: Project) -> None:
    """The layer below it is here still."""
    project.build()
    project.lose("RUN tr")
    project.write(DOCKERFILE.replace("/bin/program", "/program"))
    assert "RUN echo source > /source" not in project.build().ran


def test_a_lost_layer_of_the_image_is_made_again(project: Project) -> None:
    """With the same digest; steps of a stage that the copied file is of run only if they must."""
    first = project.build("--output=type=oci,dest=/dev/null")
    project.lose("RUN cat")
    built = project.build("--output=type=oci,dest=/dev/null")
    assert set(built.ran) == {"RUN cat /bin/program > /used"}
    project.lose("RUN cat")
    project.lose("RUN tr")
    project.lose("COPY")
    built = project.build("--output=type=oci,dest=/dev/null")
    assert set(built.ran) == {
        "RUN tr a-z A-Z < /source > /program",
        "COPY --from=build /program /bin/program",
        "RUN cat /bin/program > /used",
    }
    assert first.digest


def test_nothing_is_made_for_an_output_that_needs_no_layer(project: Project) -> None:
    """`type=cacheonly` asks what is known, not for its files."""
    project.build()
    project.lose("RUN cat")
    assert project.build("--output=type=cacheonly").ran == {}


def test_an_image_never_holds_parts_of_two_runs(project: Project, tmp_path: Path) -> None:
    """When a step gives something else the second time, what was copied before is copied again."""
    twice = """\
FROM busybox AS build
RUN cat /proc/sys/kernel/random/uuid | tee /one > /two
FROM busybox
COPY --from=build /one /
"""
    project.write(twice)
    project.build()
    project.lose("RUN cat")
    project.write(twice + "COPY --from=build /two /\n")
    project.build(f"--output=type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/one").read_text() == (tmp_path / "out/two").read_text()
