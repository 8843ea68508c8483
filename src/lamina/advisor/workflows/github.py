"""Workflows of GitHub Actions: docker/build-push-action, and command lines in `run`.

Source: "Workflow syntax for GitHub Actions"; the README of docker/build-push-action.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec.structs import replace

from lamina.advisor.workflows.calls import (
    BuildCall,
    CacheOption,
    Job,
    Kind,
    dockerfile_paths,
)
from lamina.advisor.workflows.commandline import build_commands
from lamina.advisor.workflows.commands import called
from lamina.advisor.workflows.yamltext import Yaml, read_yaml
from lamina.source import SourceFile, Span

_ACTION = "docker/build-push-action"
_BUILDER = "docker/setup-buildx-action"
_HOSTED = re.compile(r"(?:ubuntu|windows|macos)-[\w.-]+")
_MATRIX_VALUE = re.compile(r"\$\{\{\s*matrix\.([\w-]+)\s*\}\}")
_DEFAULT_CONTEXT = re.compile(r"\{\{\s*defaultContext\s*\}\}:?")
_CONTAINER = ("", "docker-container")
_CHOSEN = re.compile(r"\$\{\{[^']*(?:'\w*'[^']*)*'(?P<option>type=[^']*)'(?:[^']|'')*\}\}")
_INPUTS = ("context", "file", "build-args", "build-contexts", "platforms", "target")


def read_github(source: SourceFile) -> Iterator[BuildCall]:
    """The calls in a workflow."""
    document = read_yaml(source)
    root = source.name.rpartition(".github/workflows/")[0] or "."
    triggers = frozenset(_names(document.get("on")))
    for job in document.get("jobs").values():
        yield from _job(root, job, triggers)


def _names(value: Yaml) -> Iterator[str]:
    if value.is_mapping:
        yield from (key.text for key, _ in value.items())
    else:
        yield from (each.text for each in value.list())


def _job(root: str, job: Yaml, triggers: frozenset[str]) -> Iterator[BuildCall]:
    matrix = job.get("strategy", "matrix")
    known = Job(
        ephemeral=_ephemeral(job.get("runs-on"), matrix),
        matrix=_variables(matrix),
        machine="matrix." in job.get("runs-on").text,
        triggers=triggers,
    )
    builder = False
    for step in job.get("steps").list():
        uses = step.get("uses")
        action = uses.text.partition("@")[0].lower()
        if action == _BUILDER:
            driver = step.get("with", "driver").text
            builder = driver in _CONTAINER and not step.get("with", "endpoint")
            known = replace(known, ephemeral=known.ephemeral if builder else None)
        here = replace(
            known,
            builder=builder,
            condition=f"{job.get('if').text} {step.get('if').text}".strip(),
        )
        if action == _ACTION:
            yield _action(root, step, here, matrix)
        elif step.get("run"):
            folder = _directory(job, step)
            for command in build_commands(step.get("run").block()):
                paths = dockerfile_paths(root, folder, ".")
                yield called(command, paths[0] if paths else "", here)


def _directory(job: Yaml, step: Yaml) -> str:
    own = step.get("working-directory").text
    return own or job.get("defaults", "run", "working-directory").text or "."


def _action(root: str, step: Yaml, job: Job, matrix: Yaml) -> BuildCall:
    given = step.get("with")
    context = _DEFAULT_CONTEXT.sub("", given.get("context").text) or "."
    file = given.get("file").text
    where = file or f"{context}/Dockerfile"
    tags = [text for text, _ in given.get("tags").lines()]
    pushed = given.get("push").text == "true" and len(tags) == 1 and "$" not in tags[0]
    return BuildCall(
        kind=Kind.ACTION,
        span=step.get("uses").span,
        dockerfiles=tuple(
            path
            for name in _of_all_jobs(where, matrix)
            for path in dockerfile_paths(root, ".", name)
        ),
        varies=any("matrix." in given.get(name).text for name in _INPUTS),
        target=given.get("target").text,
        cache_from=_options(given.get("cache-from")),
        cache_to=_options(given.get("cache-to")),
        inline=any(
            "BUILDKIT_INLINE_CACHE=1" in text for text, _ in given.get("build-args").lines()
        ),
        quiet=bool(given.get("call")) or given.get("no-cache").text not in ("", "false"),
        job=job,
        options=_end_of(given),
        image=_repository(tags[0]) if pushed else "",
    )


def _of_all_jobs(text: str, matrix: Yaml) -> Iterator[str]:
    """The text with the values of the matrix in it, as far as they are known."""
    used = _MATRIX_VALUE.search(text)
    if used is None:
        yield text
        return
    listed = [each.text for each in matrix.get(used[1]).list()]
    listed += [each.get(used[1]).text for each in matrix.get("include").list()]
    for value in dict.fromkeys(filter(None, listed)):
        yield from _of_all_jobs(text.replace(used[0], value), matrix)


def _options(value: Yaml) -> tuple[CacheOption, ...]:
    return tuple(_option(text, span) for text, span in value.lines())


def _option(text: str, span: Span) -> CacheOption:
    """An option, also one that an expression gives under a condition."""
    chosen = _CHOSEN.fullmatch(text)
    if chosen is None or span.text != text:
        return CacheOption(text=text, span=span)
    start = span.start + chosen.start("option")
    inner = Span(span.file, start, start + len(chosen["option"]))
    return CacheOption(text=chosen["option"], span=inner, conditional=True)


def _repository(reference: str) -> str:
    """A reference without its tag."""
    folder, slash, name = reference.rpartition("/")
    return folder + slash + name.partition("@")[0].partition(":")[0]


def _end_of(mapping: Yaml) -> tuple[Span, str] | None:
    """The line below the last pair of a mapping in block style, and the indent of its keys."""
    pairs = list(mapping.items())
    if not pairs or mapping.is_flow:
        return None
    key, last = pairs[0][0], (pairs[-1][1] if pairs[-1][1].text else pairs[-1][0])
    text = mapping.source.text
    start = key.span.start - (key.span.column - 1)
    end = text.find("\n", max(last.span.start, last.span.end - 1))
    if end < 0 or text[start : key.span.start].strip():
        return None
    return Span(mapping.source, end + 1, end + 1), text[start : key.span.start]


def _variables(matrix: Yaml) -> tuple[str, ...] | None:
    """The variables that make several jobs; None where they are not known, or no plain values."""
    if not matrix:
        return ()
    if not matrix.is_mapping:
        return None
    names: dict[str, list[str]] = {}
    for key, value in matrix.items():
        if key.text == "exclude":
            continue
        if key.text == "include":
            for each in value.list():
                if not each.is_mapping:
                    return None
                for name, one in each.items():
                    names.setdefault(name.text, []).append(one.text)
        else:
            names.setdefault(key.text, []).extend(each.text for each in value.list())
    several = {name: values for name, values in names.items() if len(set(values)) > 1}
    if any("" in values or any("$" in v for v in values) for values in names.values()):
        return None
    return tuple(several)


def _ephemeral(runs_on: Yaml, matrix: Yaml) -> bool | None:
    labels = [each.text for each in runs_on.list()]
    if len(labels) != 1:
        return None
    variable = _MATRIX_VALUE.fullmatch(labels[0])
    if variable is not None:
        labels = [each.text for each in matrix.get(variable[1]).list()]
    return True if labels and all(_HOSTED.fullmatch(label) for label in labels) else None
