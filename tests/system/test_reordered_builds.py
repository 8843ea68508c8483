"""Fixes of the order of layers and of copying, proven by building.

Each project is built as it is and as `lamina fix` leaves it: the images hold the same files. Then
the source changes, and what only depends on the manifests is still there. The tools are stand-ins
that read what the real ones read, and note every run in the build's output.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.images import Image, differences, read_image
from tests.support.lamina import Lamina
from tests.support.packages import write

pytestmark = pytest.mark.root

TOOL = """\
FROM busybox AS tools
COPY --chmod=755 <<'SCRIPT' /bin/{tool}
#!/bin/sh -e
# Installs one file for every line of the manifests; `run build` and the like use the source.
case " $* " in
*" run "*|*" publish "*) cat src/* > /built ;;
*) echo "INSTALLING {tool} $*"
   mkdir -p /deps
   cat {manifests} > /deps/all
   case "$* {whole}" in *--no-root*|*" ") ;; *) cp src/main /deps/self ;; esac ;;
esac
SCRIPT
"""

PROJECTS = {
    "npm": (
        "package.json package-lock.json",
        "COPY . .\nRUN npm ci && npm run build\n",
        {"package.json": "{}\n", "package-lock.json": "{}\n"},
    ),
    "pip": (
        "requirements/*.txt",
        "COPY . .\nRUN pip install -r requirements/prod.txt\n",
        {"requirements/prod.txt": "-r base.txt\n", "requirements/base.txt": "one\n"},
    ),
    "poetry": (
        "pyproject.toml poetry.lock",
        "COPY . .\nRUN poetry install\n",
        {"pyproject.toml": "[build-system]\n", "poetry.lock": "one\n"},
    ),
    "dotnet": (
        "a/a.csproj b/b.csproj",
        "COPY . .\nRUN dotnet restore\nRUN dotnet publish\n",
        {"a/a.csproj": "<Project/>\n", "b/b.csproj": "<Project/>\n"},
    ),
    "bundle": (
        "Gemfile Gemfile.lock",
        "ADD . .\nRUN bundle install\n",
        {"Gemfile": "gem 'one'\n", "Gemfile.lock": "one\n"},
    ),
}


class Project:
    def __init__(self, lamina: Lamina, context: Path) -> None:
        self.lamina = lamina
        self.context = context
        self._count = 0

    def build(self, *options: str) -> tuple[Image, bool]:
        """The image, and whether something was installed for it."""
        self._count += 1
        image = self.context.parent / f"image-{self._count}.tar"
        output = f"--output=type=oci,dest={image}"
        built = self.lamina.build(self.context, output, *options).must_succeed()
        return read_image(image), " INSTALLING " in built.said

    def fix(self, *options: str) -> str:
        self.lamina.run("fix", "--write", *options, self.context).must_succeed()
        return (self.context / "Dockerfile").read_text()


def same_files(before: Image, after: Image) -> None:
    assert differences(after.tree(), before.tree()) == []


@pytest.mark.parametrize("tool", PROJECTS)
def test_installs_before_the_source(tool: str, lamina: Lamina, tmp_path: Path) -> None:
    """The image is the same, and a change of the source does not install anything again."""
    manifests, steps, files = PROJECTS[tool]
    head = TOOL.format(tool=tool, manifests=manifests, whole="1" if tool == "poetry" else "")
    dockerfile = f"{head}FROM tools\nWORKDIR /app\n{steps}"
    write(tmp_path / "p", {"Dockerfile": dockerfile, "src/main": "one\n", **files})
    project = Project(lamina, tmp_path / "p")
    before, installed = project.build()
    assert installed
    write(tmp_path / "p", {"src/main": "two\n"})
    changed, again = project.build()
    assert again

    fixed = project.fix("--rule=install-before-source", "--rule=add-instead-of-copy")
    assert fixed != dockerfile
    ignored = tmp_path / "p" / "Dockerfile.dockerignore"
    ignored.write_text("Dockerfile*\n")
    after, _ = project.build()
    write(tmp_path / "p", {"src/main": "one\n"})
    first, again = project.build("--build-arg=X=1")
    assert again is (tool == "poetry")  # its second call takes the project in
    trees = [
        {path: node for path, node in image.tree().items() if "Dockerfile" not in path}
        for image in (before, first, changed, after)
    ]
    assert differences(trees[1], trees[0]) == []
    assert differences(trees[3], trees[2]) == []


VOLATILE = """\
FROM busybox AS build
RUN mkdir -p /out && echo program > /out/app

FROM busybox
ARG GIT_SHA
LABEL revision=$GIT_SHA
ENV GIT_SHA=$GIT_SHA
RUN mkdir -p /var/state && echo WORKING
COPY --from=build /out/app /usr/local/bin/app
"""


def test_volatile_arguments_below_work(lamina: Lamina, tmp_path: Path) -> None:
    """Another commit changes the label, and no step runs for it; the image is the same."""
    write(tmp_path / "p", {"Dockerfile": VOLATILE})
    project = Project(lamina, tmp_path / "p")
    before, _ = project.build("--build-arg=GIT_SHA=1")
    fixed = project.fix()
    assert fixed.index("RUN mkdir -p /var/state") < fixed.index("ARG GIT_SHA")
    after, _ = project.build("--build-arg=GIT_SHA=1")
    same_files(before, after)
    assert after.config["Labels"] == before.config["Labels"]
    assert sorted(after.env.items()) == sorted(before.env.items())
    built = lamina.build(tmp_path / "p", "--build-arg=GIT_SHA=2").must_succeed()
    assert re.search(r"(?m)^#\d+ [\d.]+ WORKING", built.said) is None
