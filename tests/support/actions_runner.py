"""What GitHub's runner does with a composite action, as far as a shell can do it.

Steps with `run` are run. A step with `uses` is an action in JavaScript, which nothing here can run:
it gives the outputs that the test says it gives. Of the expression language, what the action uses.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.commands import Outcome, run

EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
CONTAINS = re.compile(r"contains\(inputs\.([a-z-]+), '([^']*)'\)")
STEP_OUTPUT = re.compile(r"steps\.([a-z]+)\.outputs\.([a-z0-9]+)")
OUTPUT = re.compile(r"^([a-z]+)<<(\S+)\n(.*?)\n\2\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a job got of an action: its outputs, the summary, and what its last step said."""

    outputs: Mapping[str, str]
    summary: str
    last: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job on a machine of its own, whose files are in `folder`.

    `foreign` are the outputs of steps that cannot be run, by id. With `installed` the command under
    test is where the action would install it.
    """

    action: Path
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    foreign: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    token: str = ""
    installed: bool = True

    def run(self, given: Mapping[str, str]) -> Done:
        """The action with these inputs, to its end or to the first step that fails."""
        document = yaml.safe_load((self.action / "action.yml").read_text())
        unknown = set(given) - set(document["inputs"])
        assert not unknown, f"the runner warns of {unknown}"
        inputs = self._inputs(document, given)
        temp = self.folder / "temp"
        temp.mkdir(parents=True)
        if self.installed:
            (temp / "lamina").symlink_to(sys.prefix)
        steps: dict[str, Mapping[str, str]] = {}
        done: Outcome | None = None
        for step in document["runs"]["steps"]:
            if "if" in step and not self._holds(step["if"], inputs):
                continue
            if "uses" in step:
                steps[step["id"]] = self.foreign[step["id"]]
                continue
            env = {k: self._said(v, inputs, steps) for k, v in step.get("env", {}).items()}
            output, done = self._shell(step["run"], temp, env)
            if "id" in step:
                steps[step["id"]] = output
            if done.code:
                break
        assert done is not None
        outputs = {
            name: self._said(each["value"], inputs, steps)
            for name, each in document["outputs"].items()
        }
        summary = temp / "summary"
        return Done(
            outputs=outputs, summary=summary.read_text() if summary.exists() else "", last=done
        )

    def _inputs(self, document: dict[str, Any], given: Mapping[str, str]) -> dict[str, str]:
        defaults = {
            name: self._said(str(each.get("default", "")), {}, {})
            for name, each in document["inputs"].items()
        }
        return {**defaults, **given}

    def _shell(
        self, script: str, temp: Path, more: Mapping[str, str]
    ) -> tuple[dict[str, str], Outcome]:
        output = temp / "output"
        output.write_text("")
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "LAMINA_ROOT": str(self.folder / "store"),
            "RUNNER_TEMP": str(temp),
            "RUNNER_ENVIRONMENT": "self-hosted",
            "GITHUB_ACTION_PATH": str(self.action),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(temp / "summary"),
            **self.environment,
            **more,
        }
        workspace = self.folder / "workspace"
        workspace.mkdir(exist_ok=True)
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        done = run(command, cwd=workspace, env=env)
        return {name: value for name, _, value in OUTPUT.findall(output.read_text())}, done

    def _holds(self, condition: str, inputs: Mapping[str, str]) -> bool:
        parts = [part.strip() for part in condition.split("||")]
        found = [CONTAINS.fullmatch(part) for part in parts]
        assert all(found), f"not understood: {condition}"
        return any(match and match[2] in inputs[match[1]] for match in found)

    def _said(
        self, text: str, inputs: Mapping[str, str], steps: Mapping[str, Mapping[str, str]]
    ) -> str:
        def value(found: re.Match[str]) -> str:
            expression = found[1]
            if expression == "toJSON(inputs)":
                return json.dumps(inputs, indent=2)
            if expression == "github.token":
                return self.token
            output = STEP_OUTPUT.fullmatch(expression)
            assert output, f"not understood: {expression}"
            return steps.get(output[1], {}).get(output[2], "")

        return EXPRESSION.sub(value, text)
