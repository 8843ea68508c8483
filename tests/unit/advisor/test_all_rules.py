"""All rules together: no false alarms, no broken builds, an end that is reached."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from lamina.advisor.fixing import Fixed, fix_project
from lamina.advisor.rule import Example
from lamina.advisor.ruleset import all_rules
from lamina.control.check import check, open_project
from tests.support.examples import write_example
from tests.support.lowering import lowered

GOOD = sorted((Path(__file__).parents[2] / "data" / "good_dockerfiles").glob("*.Dockerfile"))
RULES = all_rules()
EXAMPLES = [
    pytest.param(example, id=f"{rule.name}-{number}")
    for rule in RULES
    for number, example in enumerate(rule.incorrect)
]
WITHOUT_FILES = [
    text
    for rule in RULES
    for example in rule.incorrect
    for name, text in example.files
    if name == "dockerfile" and text.startswith(("FROM", "# syntax"))
]


def mended(folder: Path, *, unsafe: bool) -> Fixed:
    place = open_project(str(folder / "Dockerfile"))
    return fix_project(place.sources, RULES, read=place.read, unsafe=unsafe)


def write_fixed(folder: Path, result: Fixed) -> None:
    for before, after in result.changes:
        assert Path(before.name).is_relative_to(folder)
        Path(after.name).write_text(after.text)
    for file in result.new:
        (folder / file.path).write_text(file.text)
    for source in result.project.sources.all():
        (folder / source.name).write_text(source.text)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_nothing_is_said_of_good_files(path: Path, tmp_path: Path) -> None:
    """A Dockerfile as it should be raises no alarm."""
    (tmp_path / "Dockerfile").write_text(path.read_text())
    for file in _files(path):
        target = tmp_path / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("{}" if file.endswith(".json") else "\n")
    (checked,) = check([str(tmp_path / "Dockerfile")])
    assert not checked.report.failed
    said = [f"{one.rule}: {one.message}" for one in checked.report.findings]
    assert said == []


def _files(path: Path) -> list[str]:
    """What the file's COPYs, ADDs and mounts name, as far as it is in the context."""
    found = ["main.txt"]
    for line in path.read_text().replace("\\\n", " ").splitlines():
        words = line.split()
        found += re.findall(r"type=bind,source=([\w./-]+)", line)
        if words[:1] in (["COPY"], ["ADD"]) and "--from" not in line and "<<" not in line:
            for word in words[1:-1]:
                if not word.startswith("--") and "://" not in word and word not in (".", "/"):
                    found.append(word if "." in word.strip(".") else word.rstrip("/") + "/file.txt")
    return found


@pytest.mark.parametrize("example", EXAMPLES)
def test_fixes_end_and_leave_a_build(example: Example, tmp_path: Path) -> None:
    """With every rule at once a second fix has nothing to do, and the file still says a build."""
    dockerfile = write_example(example, tmp_path / "p")
    before = _lowers(dockerfile.read_text())
    for unsafe in (False, True):
        result = mended(dockerfile.parent, unsafe=unsafe)
        assert not result.left.failed
        write_fixed(dockerfile.parent, result)
        assert not mended(dockerfile.parent, unsafe=unsafe).applied
        assert not before or _lowers(dockerfile.read_text())


def _lowers(text: str) -> bool:
    if "ONBUILD" in text:
        return False
    from lamina.errors import LaminaError

    try:
        lowered(text)
    except LaminaError:
        return False
    return True


PAIRS = list(itertools.pairwise([*WITHOUT_FILES, *WITHOUT_FILES[::3], *WITHOUT_FILES[::7]]))


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_fixes_of_two_stages_end(pair: tuple[str, str], tmp_path: Path) -> None:
    """Two examples as the stages of one file are mended, and then there is nothing more to do."""
    one, other = (re.sub(r"(?m)^# (?:syntax|escape|check)=.*\n", "", text) for text in pair)
    (tmp_path / "Dockerfile").write_text(f"{one}\n{other}")
    before = _lowers(f"{one}\n{other}")
    for unsafe in (False, True):
        result = mended(tmp_path, unsafe=unsafe)
        assert not result.left.failed
        write_fixed(tmp_path, result)
        assert not mended(tmp_path, unsafe=unsafe).applied
        assert not before or _lowers((tmp_path / "Dockerfile").read_text())
