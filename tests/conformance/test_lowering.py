"""The reference implementation's own cases of lowering: what configuration a Dockerfile gives.

They stand in a folder outside of this repository, named by the variable LAMINA_CONFORMANCE.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lamina.errors import UserError
from tests.support.lowering import lowered

Case = dict[str, Any]

_FOLDER = os.environ.get("LAMINA_CONFORMANCE")
# A check that fails a build by a rule of style, and checks of files that are not there.
_OTHER_MATTERS = ("lint violation", "failed to compute cache key")


def _cases(*path: str) -> list[Any]:
    if _FOLDER is None:
        reason = "NO CONFORMANCE CASES WERE RUN: LAMINA_CONFORMANCE names no folder"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason))]
    cases = json.loads(Path(_FOLDER).joinpath(*path).read_text())
    return [pytest.param(case, id=f"{n}-{case['source']}") for n, case in enumerate(cases)]


@pytest.mark.parametrize("case", _cases("units", "dockerfile2llb_convert.json"))
def test_configuration(case: Case) -> None:
    """The configuration and its history are the reference's, or the error is."""
    target, build_args = case["target"] or "", case["build_args"] or {}
    if case.get("error"):
        with pytest.raises(UserError) as caught:
            lowered(case["dockerfile"], target=target, build_args=build_args)
        assert case["error"] in caught.value.message
        return
    got = json.loads(
        msgspec.json.encode(
            lowered(case["dockerfile"], target=target, build_args=build_args).config
        )
    )
    wanted = case["image"]
    assert _stated(got["config"]) == _stated(wanted["config"])
    assert got["history"] == wanted["history"]


@pytest.mark.parametrize("case", _cases("lint", "cases.json"))
def test_verdict(case: Case) -> None:
    """What the reference lowers is lowered; what it refuses is refused, in its words."""
    attributes = case["frontend_attrs"] or {}
    build_args = {
        name.removeprefix("build-arg:"): value
        for name, value in attributes.items()
        if name.startswith("build-arg:")
    }
    target = attributes.get("target", "")
    problem = ""
    for platform in attributes.get("platform", "").split(","):
        try:
            lowered(case["dockerfile"], target=target, build_args=build_args, platform=platform)
        except UserError as error:
            problem = problem or error.message
    refused = case["recorded_error"] or ""
    if any(other in refused for other in _OTHER_MATTERS):
        refused = ""
    assert bool(problem) == bool(refused), problem or refused
    assert (case["build_error"] or "") in problem or not refused


def _stated(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if value}
