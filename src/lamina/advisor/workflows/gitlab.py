"""Pipelines of GitLab: command lines in `script`.

Source: "CI/CD YAML syntax reference" of GitLab.
"""

from __future__ import annotations

from collections.abc import Iterator

from lamina.advisor.workflows.calls import BuildCall, Job
from lamina.advisor.workflows.commandline import build_commands
from lamina.advisor.workflows.commands import called
from lamina.advisor.workflows.yamltext import Yaml, read_yaml
from lamina.source import SourceFile


def read_gitlab(source: SourceFile) -> Iterator[BuildCall]:
    """The calls in a pipeline. A builder in a service (`docker:dind`) ends with its job."""
    document = read_yaml(source)
    root = source.name.rpartition("/")[0] or "."
    shared = document.get("services") or document.get("default", "services")
    for key, job in document.items():
        if key.text != "default" and job.get("script"):
            yield from _job(root, job, shared)


def _job(root: str, job: Yaml, shared: Yaml) -> Iterator[BuildCall]:
    services = job.get("services") or shared
    names = [each.text or each.get("name").text for each in services.list()]
    dind = any("dind" in name for name in names)
    here = Job(ephemeral=True if dind else None, matrix=() if not job.get("parallel") else None)
    for line in (*job.get("before_script").list(), *job.get("script").list()):
        for command in build_commands(line.block()):
            yield called(command, root, here)
        if line.text.startswith(("cd ", "pushd ")):
            root = ""
