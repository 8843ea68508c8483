"""Installs below a broad COPY: what is moved, for every tool, and what is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.advisor.fixing import Fixed, fix_project
from lamina.advisor.ruleset import all_rules, chosen_rules
from lamina.control.check import check, open_project

RULE = "install-before-source"


def project(folder: Path, dockerfile: str, files: dict[str, str]) -> Path:
    for name, text in {"src/main.txt": "x", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    path = folder / "Dockerfile"
    path.write_text(dockerfile, newline="")
    return path


def fixed(path: Path, *, unsafe: bool = False) -> Fixed:
    place = open_project(str(path))
    rules = chosen_rules(all_rules(), [RULE])
    return fix_project(place.sources, rules, read=place.read, unsafe=unsafe)


def found(path: Path) -> int:
    (checked,) = check([str(path)], rules=[RULE])
    return len(checked.report.findings)


@pytest.mark.parametrize(
    ("files", "install", "copies"),
    [
        (
            {"package.json": "{}", "yarn.lock": "", ".yarnrc.yml": "", ".yarn/releases/y.cjs": ""},
            "yarn install --frozen-lockfile",
            """COPY package.json yarn.lock .yarnrc.yml ./
COPY .yarn/releases/ .yarn/releases/
""",
        ),
        (
            {
                "package.json": '{"private": true}',
                "pnpm-lock.yaml": "",
                "pnpm-workspace.yaml": "packages:\n  - apps/*\n",
                "apps/web/package.json": "{}",
                "apps/web/node_modules/x/package.json": "{}",
            },
            "corepack enable && pnpm i --frozen-lockfile",
            """COPY package.json pnpm-lock.yaml pnpm-workspace.yaml ./
COPY apps/web/package.json apps/web/
""",
        ),
        ({"package.json": "{}", "bun.lock": ""}, "bun install", "COPY package.json bun.lock ./\n"),
        (
            {"requirements.txt": "flask", "dev.txt": "-c constraints.txt\n", "constraints.txt": ""},
            "pip install --no-cache-dir -r requirements.txt -rdev.txt",
            "COPY requirements.txt dev.txt constraints.txt ./\n",
        ),
        (
            {"requirements.txt": "flask"},
            "uv pip install --system -r requirements.txt",
            "COPY requirements.txt ./\n",
        ),
        (
            {"pyproject.toml": "[project]\nname='a'\n", "uv.lock": ""},
            "uv sync --locked",
            "COPY pyproject.toml uv.lock ./\n",
        ),
        (
            {"pyproject.toml": "[tool.poetry]\npackage-mode = false\n", "poetry.lock": ""},
            "pip install poetry && poetry install --only main",
            "COPY pyproject.toml poetry.lock ./\n",
        ),
        (
            {"Gemfile": "gem 'rails'\n", "Gemfile.lock": "", ".ruby-version": "3.4"},
            "bundle install --jobs 4",
            "COPY Gemfile Gemfile.lock .ruby-version ./\n",
        ),
        (
            {"composer.json": "{}", "composer.lock": "{}"},
            "composer install --no-dev --no-scripts --no-autoloader",
            "COPY composer.json composer.lock ./\n",
        ),
        ({"go.mod": "module a\n", "go.sum": ""}, "go mod download", "COPY go.mod go.sum ./\n"),
        (
            {"pom.xml": "<project/>", "mvnw": "", ".mvn/wrapper/w.jar": ""},
            "./mvnw -B dependency:go-offline",
            "COPY pom.xml mvnw ./\nCOPY .mvn/ .mvn/\n",
        ),
        (
            {"build.gradle.kts": "", "settings.gradle.kts": 'include("core")', "gradle/w.jar": "",
             "core/build.gradle.kts": ""},
            "gradle dependencies",
            """COPY build.gradle.kts settings.gradle.kts ./
COPY core/build.gradle.kts core/
COPY gradle/ gradle/
""",
        ),
        (
            {"a.csproj": "<Project/>", "NuGet.config": "", "bin/b.csproj": ""},
            "dotnet restore a.csproj",
            "COPY a.csproj NuGet.config ./\n",
        ),
        (
            {"mix.exs": "defmodule A do end", "mix.lock": "", "config/config.exs": ""},
            "mix deps.get --only prod",
            "COPY mix.exs mix.lock ./\nCOPY config/ config/\n",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "COPY" not in value else "",
)  # fmt: skip
def test_every_tool_gets_its_manifests(
    files: dict[str, str], install: str, copies: str, tmp_path: Path
) -> None:
    """What an install reads is copied above it, each file where it belongs, and nothing else."""
    path = project(tmp_path, f"FROM x\nWORKDIR /a\nCOPY . ./\nRUN {install}\nRUN make\n", files)
    result = fixed(path)
    expected = f"FROM x\nWORKDIR /a\n{copies}RUN {install}\nCOPY . ./\nRUN make\n"
    assert result.project.sources.dockerfile.text == expected


@pytest.mark.parametrize(
    ("files", "install", "first"),
    [
        (
            {"pyproject.toml": "[build-system]\n", "poetry.lock": ""},
            "poetry install --only main",
            "poetry install --only main --no-root",
        ),
        (
            {"pyproject.toml": "[build-system]\n", "pdm.lock": ""},
            "pip install pdm && pdm sync --prod && make",
            "pip install pdm && pdm sync --prod --no-self",
        ),
        (
            {"composer.json": '{"scripts": {"post-install-cmd": "x"}}'},
            "composer install --no-dev --no-scripts",
            "composer install --no-dev --no-scripts --no-autoloader",
        ),
    ],
)
def test_a_project_that_is_installed_comes_second(
    files: dict[str, str], install: str, first: str, tmp_path: Path
) -> None:
    """Dependencies are installed without the project, and the same call takes it in below."""
    path = project(tmp_path, f"FROM x\nWORKDIR /a\nCOPY . .\nRUN {install}\n", files)
    text = fixed(path).project.sources.dockerfile.text
    again = install.removeprefix("pip install pdm && ")
    assert text.endswith(f"\nRUN {first}\nCOPY . .\nRUN {again}\n")
    path.write_text(text)
    assert found(path) == 0


@pytest.mark.parametrize(
    ("files", "install"),
    [
        ({"package.json": '{"scripts": {"postinstall": "node gen.js"}}'}, "npm ci"),
        ({"package.json": '{"dependencies": {"a": "file:lib/a"}}'}, "npm install"),
        ({"requirements.txt": "-e .\n"}, "pip install -r requirements.txt"),
        ({"requirements.txt": "./wheels/a.whl\n"}, "pip install -r requirements.txt"),
        ({"Gemfile": "gemspec\n"}, "bundle install"),
        ({"Gemfile": "gem 'a', path: 'a'\n"}, "bundle"),
        ({"go.mod": "replace a/b => ./b\n"}, "go mod download"),
        ({"pyproject.toml": "[tool.uv.workspace]\n", "uv.lock": ""}, "uv sync"),
        ({"pyproject.toml": '[tool.poetry.dependencies]\na = {path = "a"}\n'}, "poetry install"),
        ({"composer.json": '{"repositories": [{"type": "path"}]}'}, "composer install"),
        ({"a.csproj": '<Import Project="x.props"/>'}, "dotnet restore"),
        ({"mix.exs": "version: File.read!('V')"}, "mix deps.get"),
    ],
)
def test_what_wants_more_than_manifests_is_left_alone(
    files: dict[str, str], install: str, tmp_path: Path
) -> None:
    """No fix where the install would miss something of the source."""
    text = f"FROM x\nWORKDIR /a\nCOPY . .\nRUN {install}\n"
    path = project(tmp_path, text, files)
    assert found(path) == 1
    assert fixed(path, unsafe=True).project.sources.dockerfile.text == text


@pytest.mark.parametrize(
    "steps",
    [
        "COPY . .\nRUN pip install .",
        "COPY . .\nRUN pip install -e .[dev]",
        "COPY . .\nRUN pip install -r requirements.txt .",
        "COPY . .\nRUN npm install express",
        "COPY . .\nRUN npm install -g pnpm",
        "COPY . .\nRUN cd web && npm ci",
        "COPY . .\nRUN npm ci --prefix web",
        "COPY . .\nRUN ./configure.sh\nRUN npm ci",
        "COPY . .\nRUN --network=none npm ci",
        "COPY . .\nRUN pnpm install --offline",
        "COPY package.json ./\nRUN npm ci\nCOPY . .\nRUN npm ci --omit=dev",
        "COPY --from=other . .\nRUN npm ci",
        "COPY src .\nRUN npm ci",
        "COPY . /elsewhere\nRUN npm ci",
        'COPY . .\nRUN ["npm", "ci"]',
        "COPY . .\nRUN <<EOF python\nimport npm\nEOF",
        "COPY . .\nONBUILD RUN npm ci",
        "COPY . .\nRUN echo npm ci",
        "COPY . .\nRUN npm run build",
        "COPY . .\nRUN npm --version",
    ],
)
def test_no_alarm(steps: str, tmp_path: Path) -> None:
    """What needs the source, or is no install of the project's dependencies, is not named."""
    files = {"package.json": "{}", "requirements.txt": "flask"}
    path = project(tmp_path, f"FROM x AS other\nFROM x\nWORKDIR /a\n{steps}\n", files)
    assert found(path) == 0


def test_line_ends_and_comments_stay(tmp_path: Path) -> None:
    """A file from Windows stays one, and comments stay where they belong."""
    text = (
        "FROM x\r\nWORKDIR /a\r\n\r\n# all\r\nCOPY . .\r\n\r\n# deps\r\n"
        "RUN npm ci && \\\r\n    npm run build\r\n"
    )
    path = project(tmp_path, text, {"package.json": "{}"})
    assert fixed(path).project.sources.dockerfile.text == (
        "FROM x\r\nWORKDIR /a\r\n\r\nCOPY package.json .\r\n\r\n# deps\r\n"
        "RUN npm ci\r\n\r\n# all\r\nCOPY . .\r\nRUN npm run build\r\n"
    )


def test_a_file_without_a_last_line_end(tmp_path: Path) -> None:
    """The end of the file is as it was."""
    path = project(tmp_path, "FROM x\nWORKDIR /a\nCOPY . .\nRUN npm ci", {"package.json": "{}"})
    text = "FROM x\nWORKDIR /a\nCOPY package.json .\nRUN npm ci\nCOPY . ."
    assert fixed(path).project.sources.dockerfile.text == text


def test_a_folder_of_a_larger_context(tmp_path: Path) -> None:
    """Manifests are found where the COPY takes them from, and where the install looks."""
    files = {"app/web/package.json": "{}", "app/a.txt": "", "package.json": "{}"}
    text = "FROM x\nCOPY app /srv\nWORKDIR /srv/web\nRUN npm ci\n"
    path = project(tmp_path, text, files)
    assert fixed(path).project.sources.dockerfile.text == (
        "FROM x\nCOPY app/web/package.json /srv/web/\nWORKDIR /srv/web\nRUN npm ci\nCOPY app /srv\n"
    )


def test_an_ignored_manifest_is_not_copied(tmp_path: Path) -> None:
    """What the ignore file keeps out cannot be copied first."""
    path = project(tmp_path, "FROM x\nCOPY . .\nRUN npm ci\n", {"package.json": "{}"})
    (tmp_path / ".dockerignore").write_text("package.json\n")
    assert found(path) == 0


def test_without_the_project_nothing_is_changed(tmp_path: Path) -> None:
    """A lone Dockerfile is judged, but which manifests there are is not guessed."""
    path = tmp_path / "Dockerfile"
    path.write_text("FROM x\nCOPY . .\nRUN npm ci\n")
    assert found(path) == 1
    assert not fixed(path, unsafe=True).applied
