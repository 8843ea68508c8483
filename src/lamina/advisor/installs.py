"""Installs of what manifests list: the steps of a RUN that want these files of a project, and no
others.

    npm ci                              package.json and its lock
    pip install -r requirements.txt     requirements.txt
    uv sync                             pyproject.toml, uv.lock; and the project, unless told not to

A call that installs the project itself, or a package by its name, is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec
from msgspec.structs import replace

from lamina.advisor.manifests import (
    BY_TOOL,
    JS_LOCAL,
    Found,
    Manifests,
    find_manifests,
    find_requirements,
)
from lamina.advisor.project import Project
from lamina.advisor.runs import Run
from lamina.advisor.shell.script import Step
from lamina.advisor.stagestate import StageState
from lamina.advisor.tools.recognition import Call, calls

_ELSEWHERE = (
    *("--prefix", "-C", "--cwd", "--dir", "-w", "--workspace", "--workspaces", "--filter", "-F"),
    *("--project", "-P", "--directory", "-d", "--working-dir", "-f", "--file", "--gemfile", "-p"),
    *("--modules-folder", "--recursive", "--manifest-path", "--package", "--all-packages"),
)


_OFFLINE = (
    "--offline",
    "--local",
    "--no-index",
    "--no-network",
    "--dry-run",
    "--help",
    "--version",
)


class Install(msgspec.Struct, frozen=True, kw_only=True):
    """A step that installs what manifests list.

    `named` are the files that the call itself names. `whole`: it installs nothing else, whatever
    the manifests say.
    """

    tool: str
    call: Call
    step: Step
    manifests: Manifests
    named: tuple[str, ...] = ()
    whole: bool = True

    def find(self, project: Project, folder: str) -> Found | None:
        """Its manifests in a folder of the context, None where one of them is not there."""
        if self.named:
            return find_requirements(project, self.named, folder)
        found = find_manifests(project, self.manifests, folder)
        return replace(found, first=()) if found is not None and self.whole else found


def read_install(run: Run, state: StageState, step: Step) -> Install | None:
    """The install that a step is, None where it is none, or more than that."""
    inside = [call for call in calls(run, state) if call.invocation in step.invocations]
    if len(inside) != 1 or len(step.invocations) != 1 or "none" in run.command.network:
        return None
    (call,) = inside
    if call.invocation.inside or call.invocation.redirects or not _plain(call):
        return None
    reader = _READERS.get(call.program) if call.has(_OFFLINE) is None else None
    return reader(call, step) if reader is not None else None


def _plain(call: Call) -> bool:
    """Whether it is known what is called; variables may stand in values of options."""
    return all(word.value is not None for word in call.words[:2])


def _install(
    tool: str, call: Call, step: Step, *, named: tuple[str, ...] = (), whole: bool = True
) -> Install:
    manifests = BY_TOOL[tool]
    if call.has(("--ignore-scripts",)) is not None:
        manifests = replace(manifests, local=JS_LOCAL)
    return Install(tool=tool, call=call, step=step, manifests=manifests, named=named, whole=whole)


_NPM_VALUED = (
    *("--omit", "--include", "--only", "--cache", "--registry", "--loglevel", "--audit"),
    *("--fetch-timeout", "--network-timeout", "--fetch-retries", "--maxsockets", "--reporter"),
    *("--store-dir", "--cache-folder", "--network-concurrency", "--cache-dir", "--backend"),
)


def _node(
    tool: str, verbs: tuple[str, ...], *, alone: bool
) -> Callable[[Call, Step], Install | None]:
    def read(call: Call, step: Step) -> Install | None:
        words = call.arguments(_NPM_VALUED)
        if call.has((*_ELSEWHERE, "-g", "--global", "--version", "--help", "--mode")) is not None:
            return None
        verb_only = len(words) == 1 and words[0] in verbs
        nothing = alone and not words and all((w.value or "-x")[:1] == "-" for w in call.words[1:])
        return _install(tool, call, step) if verb_only or nothing else None

    return read


def _pip(call: Call, step: Step) -> Install | None:
    return _requirements("pip", call, step, call.words[1:])


def _uv(call: Call, step: Step) -> Install | None:
    words = [word.value for word in call.words[1:]]
    if words[:2] == ["pip", "install"]:
        return _requirements("pip", call, step, call.words[2:])
    if words[:2] == ["pip", "sync"] and len(words) > 2 and call.has(_ELSEWHERE) is None:
        names = tuple(w for w in words[2:] if w is not None and not w.startswith("-"))
        known = None not in words and bool(names) and not any(n.startswith("/") for n in names)
        return _install("pip", call, step, named=names) if known else None
    if words[:1] != ["sync"] or call.has(_ELSEWHERE) is not None:
        return None
    without = ("--no-install-project", "--no-install-workspace", "--no-install-local")
    return _install("uv", call, step, whole=call.has(without) is not None)


def _requirements(tool: str, call: Call, step: Step, words: tuple[object, ...]) -> Install | None:
    """`install -r FILE …` of pip, all of whose arguments are files of requirements."""
    values = [getattr(word, "value", None) for word in words]
    if values[:1] != ["install"]:
        return None
    named: list[str] = []
    rest = iter(values[1:])
    for value in rest:
        if value is None:
            return None
        match = _REQUIREMENT.fullmatch(value)
        if match is not None:
            named.append(match["path"] or next(rest, None) or "")
        elif value.split("=")[0] in _PIP_VALUED:
            if "=" not in value:
                next(rest, None)
        elif not value.startswith("-") or value.split("=")[0] in ("-e", "--editable", "-f"):
            return None
    plain = bool(named) and all(_PATH.fullmatch(name) for name in named)
    return _install(tool, call, step, named=tuple(_stripped(n) for n in named)) if plain else None


_REQUIREMENT = re.compile(r"(?:-r|--requirement|-c|--constraint)(?:=?(?P<path>[^=].*))?")
_PATH = re.compile(r"(?!.*\.\.)[\w.][\w./+-]*")
_PIP_VALUED = frozenset(
    (
        *("-i", "--index-url", "--extra-index-url", "--trusted-host", "--timeout", "--retries"),
        *("--cache-dir", "--proxy", "--platform", "--python-version", "--only-binary"),
        *("--no-binary", "--root-user-action", "--progress-bar", "--index-strategy", "--python"),
        *("--upgrade-strategy", "--config-settings", "--use-feature", "--torch-backend"),
    )
)


def _stripped(path: str) -> str:
    return path.removeprefix("./")


def _poetry(call: Call, step: Step) -> Install | None:
    words = call.arguments(("--without", "--with", "--only", "-E", "--extras"))
    if words != ("install",) or call.has((*_ELSEWHERE, "--only-root")) is not None:
        return None
    return _install(
        "poetry", call, step, whole=call.has(("--no-root", "--no-directory")) is not None
    )


def _pdm(call: Call, step: Step) -> Install | None:
    words = call.arguments(("-G", "--group", "--without", "-L", "--lockfile"))
    if words not in (("install",), ("sync",)) or call.has(_ELSEWHERE) is not None:
        return None
    return _install("pdm", call, step, whole=call.has(("--no-self",)) is not None)


def _bundler(call: Call, step: Step) -> Install | None:
    words = call.arguments(
        ("-j", "--jobs", "--retry", "--without", "--path", "--with", "-r", "--binstubs")
    )
    elsewhere = call.has((*(flag for flag in _ELSEWHERE if flag not in ("-p", "-w")), "--local"))
    if words not in ((), ("install",)) or elsewhere is not None or call.has(("--version",)):
        return None
    return _install("bundler", call, step)


def _composer(call: Call, step: Step) -> Install | None:
    words = call.arguments()
    if words != ("install",) or call.has(_ELSEWHERE) is not None:
        return None
    flags = BY_TOOL["composer"].first
    return _install("composer", call, step, whole=all(call.has((flag,)) for flag in flags))


def _go(call: Call, step: Step) -> Install | None:
    words = call.arguments()
    return _install("go", call, step) if words == ("mod", "download") else None


def _maven(call: Call, step: Step) -> Install | None:
    goals = call.arguments(("-s", "--settings", "-T", "--threads"))
    known = call.has((*_ELSEWHERE, "-pl", "-s", "--settings")) is None
    fetching = bool(goals) and all(re.match(r".*dependency(?:-plugin(?::.*)?)?:", g) for g in goals)
    return _install("maven", call, step) if known and fetching else None


def _gradle(call: Call, step: Step) -> Install | None:
    tasks = call.arguments()
    known = call.has(("-p", "--project-dir", "-b", "-c", "-I", "--init-script")) is None
    return _install("gradle", call, step) if known and tasks == ("dependencies",) else None


def _dotnet(call: Call, step: Step) -> Install | None:
    words = call.arguments(("-r", "--runtime", "-s", "--source", "--packages", "-v", "--verbosity"))
    if words[:1] == ("restore",) and call.has(("--configfile",)) is None:
        return _install("dotnet", call, step)
    return None


def _mix(call: Call, step: Step) -> Install | None:
    words = call.arguments(("--only",))
    if words in (("deps.get",), ("deps.compile",)):
        return _install("mix", call, step)
    return None


_READERS: Mapping[str, Callable[[Call, Step], Install | None]] = MappingProxyType(
    {
        "npm": _node("npm", ("install", "i", "ci", "clean-install"), alone=False),
        "yarn": _node("yarn", ("install",), alone=True),
        "pnpm": _node("pnpm", ("install", "i"), alone=False),
        "bun": _node("bun", ("install", "i", "ci"), alone=False),
        "pip": _pip,
        "pip3": _pip,
        "uv": _uv,
        "poetry": _poetry,
        "pdm": _pdm,
        "bundle": _bundler,
        "bundler": _bundler,
        "composer": _composer,
        "go": _go,
        "mvn": _maven,
        "mvnw": _maven,
        "gradle": _gradle,
        "gradlew": _gradle,
        "dotnet": _dotnet,
        "mix": _mix,
    }
)
