"""The examples in the documentation of rules, as projects on disk."""

from __future__ import annotations

from pathlib import Path

from lamina.advisor.fixing import Fixed, fix_project
from lamina.advisor.project import Project, Sources
from lamina.advisor.rule import Example, Rule
from lamina.control.check import open_project

LISTING, IGNORE = "files", "dockerignore"


def write_example(example: Example, folder: Path) -> Path:
    """Makes the files of an example; returns its Dockerfile. `files` lists `PATH [SIZE]`."""
    folder.mkdir(parents=True)
    for name, text in example.files:
        if name == LISTING:
            for line in text.splitlines():
                path, _, size = line.partition(" ")
                _write(folder / path, "x" * int(size or 1))
        elif name in ("dockerfile", IGNORE):
            _write(folder / {"dockerfile": "Dockerfile", IGNORE: ".dockerignore"}[name], text)
        else:
            _write(folder / name, text)
    dockerfile = folder / "Dockerfile"
    if not dockerfile.exists():
        dockerfile.write_text("FROM scratch\n")
    return dockerfile


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def project_of(example: Example, folder: Path) -> Project:
    place = open_project(str(write_example(example, folder)))
    return place.read(place.sources)


def fixed(example: Example, rule: Rule, folder: Path) -> Fixed:
    """What the rule's fixes, unsafe ones too, make of an example."""
    place = open_project(str(write_example(example, folder)))
    return fix_project(place.sources, [rule], read=place.read, unsafe=True)


def texts(sources: Sources, folder: Path) -> dict[str, str]:
    """The texts of a project by their names in the example."""
    found = {}
    for source in sources.all():
        name = str((folder / source.name).resolve().relative_to(folder.resolve()))
        found[{"Dockerfile": "dockerfile", ".dockerignore": IGNORE}.get(name, name)] = source.text
    return found
