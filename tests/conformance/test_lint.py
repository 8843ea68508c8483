"""The reference implementation's own cases of its build checks.

They stand in a folder outside of this repository, named by the variable LAMINA_CONFORMANCE: what
each Dockerfile must be warned of, at which line, and with which error a build fails.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lamina.advisor.checking import Report, check_project
from lamina.advisor.project import Asked, Project, Sources
from lamina.advisor.reading import read_dockerfile
from lamina.advisor.ruleset import docker_rules
from lamina.oci.config import ImageConfig
from lamina.oci.platform import Platform, parse_platform
from lamina.source import SourceFile
from lamina.ui.printable import encode
from tests.support.commands import run
from tests.support.lamina import Lamina

Case = dict[str, Any]

_FOLDER = os.environ.get("LAMINA_CONFORMANCE")
_HOST = Platform(os="linux", architecture="amd64")
_RULES = docker_rules()
_VIOLATION = "lint violation found for rules"


def _cases(name: str) -> list[Any]:
    if _FOLDER is None:
        reason = "NO CONFORMANCE CASES WERE RUN: LAMINA_CONFORMANCE names no folder"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason))]
    cases = json.loads(Path(_FOLDER, "lint", name).read_text())
    return [
        pytest.param(case, id=f"{number}-{case.get('source') or case.get('rule')}")
        for number, case in enumerate(cases)
    ]


def _report(case: Case, *, all_stages: bool, bases: dict[str, ImageConfig] | None = None) -> Report:
    attributes = case.get("frontend_attrs") or {}
    platform = attributes.get("platform", "").split(",")[0]
    ignore = case.get("dockerignore")
    sources = Sources(
        dockerfile=SourceFile("Dockerfile", case["dockerfile"]),
        ignore=SourceFile(".dockerignore", ignore) if ignore else None,
    )
    asked = Asked(
        build_platform=_HOST,
        platform=parse_platform(platform, host=_HOST) if platform else None,
        target=attributes.get("target", ""),
        build_args={
            name.removeprefix("build-arg:"): value
            for name, value in attributes.items()
            if name.startswith("build-arg:")
        },
        all_stages=all_stages,
    )
    project = Project(
        dockerfile=read_dockerfile(sources.dockerfile),
        sources=sources,
        asked=asked,
        bases=bases or {},
    )
    report = check_project(project, _RULES)
    assert not report.failed
    return report


@pytest.mark.parametrize("case", _cases("ruleset.json"))
def test_rule(case: Case) -> None:
    """Every rule has the reference's name, description and address, and is as experimental."""
    rule = next(rule for rule in _RULES if rule.name == case["name"])
    assert rule.title == case["description"]
    assert rule.url == (case["url"] or "")
    assert rule.experimental == case["experimental"]


@pytest.mark.parametrize("all_stages", [False, True], ids=["build", "check"])
@pytest.mark.parametrize("case", _cases("cases.json"))
def test_case(case: Case, *, all_stages: bool) -> None:
    """The warnings are the reference's, of a build and of a check without one."""
    report = _report(case, all_stages=all_stages)
    wanted = (all_stages and case["expected_lint_subrequest"]) or case["expected"]
    descriptions = {rule.name: (rule.title, rule.url) for rule in _RULES}
    assert sorted(
        (one.span.line, one.message, one.rule, *descriptions[one.rule]) for one in report.findings
    ) == sorted(
        (each["line"], each["detail"], each["rule"], each["description"], each["url"] or "")
        for each in wanted
    )
    refused = case["build_error"] or ""
    if refused and _VIOLATION not in refused:
        assert report.error is not None
    elif not case["build_error_regexp"]:
        assert report.error is None


@pytest.mark.parametrize("case", _cases("doc_examples.json"))
def test_example(case: Case) -> None:
    """The examples of the reference's documentation are judged as it judges them."""
    bare = ImageConfig(os="linux", architecture="amd64")
    names = {name for line in case["dockerfile"].splitlines() for name in line.split()[1:2]}
    report = _report(case, all_stages=True, bases=dict.fromkeys(names, bare))
    assert sorted((one.span.line, one.span.end_line, one.message) for one in report.findings) == (
        sorted((w["lines"][0][0], w["lines"][-1][1], w["detail"]) for w in case["lint"])
    )


def _violations() -> list[Any]:
    return [
        each
        for each in _cases("cases.json")
        if _VIOLATION in (each.values[0].get("build_error") or "")
    ] or _cases("cases.json")


@pytest.mark.root
@pytest.mark.parametrize("case", _violations())
def test_violation(case: Case, lamina: Lamina, tmp_path: Path) -> None:
    """A build that asks for it fails with the reference's words, at the right line."""
    (tmp_path / "Dockerfile").write_bytes(encode(case["dockerfile"]))
    attributes = case["frontend_attrs"] or {}
    arguments = [
        f"--build-arg={name.removeprefix('build-arg:')}={value}"
        for name, value in attributes.items()
        if name.startswith("build-arg:")
    ]
    outcome = run(lamina.build_command(tmp_path, *arguments), env=lamina.env())
    assert outcome.code == 1
    assert case["build_error"] in outcome.stderr
    assert f"Dockerfile:{case['build_error_line']}\n" in outcome.stderr
