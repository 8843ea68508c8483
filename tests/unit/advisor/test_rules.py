"""The documentation of every rule is its test."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.advisor.checking import check_project
from lamina.advisor.rule import Example, Rule
from lamina.advisor.ruleset import all_rules
from tests.support.examples import fixed, project_of, texts

RULES = all_rules()
INCORRECT = [(rule, number) for rule in RULES for number in range(len(rule.incorrect))]
CORRECT = [(rule, example) for rule in RULES for example in rule.correct]


def name(value: object) -> str:
    return value.name if isinstance(value, Rule) else str(value) if isinstance(value, int) else ""


@pytest.mark.parametrize("rule", RULES, ids=name)
def test_documentation_is_whole(rule: Rule) -> None:
    """A reader sees what is wrong and what is right, side by side."""
    assert rule.title
    assert rule.impact_description
    assert rule.incorrect
    assert len(rule.incorrect) == len(rule.correct)


@pytest.mark.parametrize(("rule", "number"), INCORRECT, ids=name)
def test_incorrect_is_found(rule: Rule, number: int, tmp_path: Path) -> None:
    """The example of what is wrong is flagged by its rule."""
    report = check_project(project_of(rule.incorrect[number], tmp_path / "p"), [rule])
    assert not report.failed
    assert [each.rule for each in report.findings]


@pytest.mark.parametrize(("rule", "example"), CORRECT, ids=name)
def test_correct_is_clean(rule: Rule, example: Example, tmp_path: Path) -> None:
    """The example of what is right is not."""
    report = check_project(project_of(example, tmp_path / "p"), [rule])
    assert not report.failed
    assert not report.findings


@pytest.mark.parametrize(("rule", "number"), INCORRECT, ids=name)
def test_the_fix_makes_one_of_the_other(rule: Rule, number: int, tmp_path: Path) -> None:
    """Where a rule mends at all, it makes just what its documentation says."""
    folder = tmp_path / "p"
    result = fixed(rule.incorrect[number], rule, folder)
    if not result.applied:
        assert not any(finding.fix for finding in result.left.findings)
        return
    found = texts(result.project.sources, folder)
    for file, text in rule.correct[number].files:
        if file != "files":
            assert found[file] == text
    assert not any(finding.fix for finding in result.left.findings)
