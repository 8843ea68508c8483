"""The rules about mounts: the guides' own examples, and what must be left alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lamina.advisor.checking import check_project
from lamina.advisor.fixing import Fixed, fix_project
from lamina.advisor.ruleset import all_rules
from lamina.control.check import open_project

MOUNT_RULES = re.compile(r"use-cache-mount-.+|cache-.+|apt-packages-deleted|bind-mount-.+")
RULES = [rule for rule in all_rules() if MOUNT_RULES.fullmatch(rule.name)]
APT = """\
FROM debian:bookworm-slim

RUN apt-get update && apt-get install -y --no-install-recommends \\
    build-essential \\
    libpq-dev \\
    libxml2-dev \\
    libxslt1-dev \\
    curl \\
    ca-certificates \\
    && rm -rf /var/lib/apt/lists/*
"""
APT_FIXED = [
    "FROM debian:bookworm-slim",
    (
        "RUN rm -f /etc/apt/apt.conf.d/docker-clean;"
        " echo 'Binary::apt::APT::Keep-Downloaded-Packages \"true\";'"
        " > /etc/apt/apt.conf.d/keep-cache"
    ),
    (
        "RUN --mount=type=cache,target=/var/cache/apt,sharing=locked"
        " --mount=type=cache,target=/var/lib/apt,sharing=locked"
        " apt-get update && apt-get install -y --no-install-recommends build-essential libpq-dev"
        " libxml2-dev libxslt1-dev curl ca-certificates"
    ),
]
# The six examples of the guide to cache mounts, after an image that they are meant for.
GUIDE = [
    "FROM node:latest\nWORKDIR /app\nRUN --mount=type=cache,target=/root/.npm npm install",
    "FROM golang\nRUN --mount=type=cache,target=/go/pkg/mod \\\n    go build -o /app/hello",
    (
        "FROM debian\nRUN rm -f /etc/apt/apt.conf.d/docker-clean\n"
        "RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \\\n"
        "  --mount=type=cache,target=/var/lib/apt,sharing=locked \\\n"
        "  apt update && apt-get --no-install-recommends install -y gcc"
    ),
    (
        "FROM python\nRUN --mount=type=cache,target=/root/.cache/pip \\\n"
        "    pip install -r requirements.txt"
    ),
    "FROM ruby\nRUN --mount=type=cache,target=/root/.gem \\\n    bundle install",
    (
        "FROM rust\nRUN --mount=type=cache,target=/app/target/ \\\n"
        "    --mount=type=cache,target=/usr/local/cargo/git/db \\\n"
        "    --mount=type=cache,target=/usr/local/cargo/registry/ \\\n    cargo build"
    ),
    (
        "FROM mcr.microsoft.com/dotnet/sdk\n"
        "RUN --mount=type=cache,target=/root/.nuget/packages \\\n    dotnet restore"
    ),
    "FROM php\nRUN --mount=type=cache,target=/tmp/cache \\\n    composer install",
]


def fixed(text: str, folder: Path, *, unsafe: bool = False) -> Fixed:
    (folder / "Dockerfile").write_text(text, newline="")
    place = open_project(str(folder / "Dockerfile"))
    return fix_project(place.sources, RULES, read=place.read, unsafe=unsafe)


def said(text: str, folder: Path) -> list[str]:
    (folder / "Dockerfile").write_text(text)
    place = open_project(str(folder / "Dockerfile"))
    report = check_project(place.read(place.sources), RULES)
    assert not report.failed
    return [finding.rule for finding in report.findings]


def test_the_guide_to_apt(tmp_path: Path) -> None:
    """The wrong example of the guide becomes its right one, comments aside."""
    result = fixed(APT, tmp_path)
    syntax = result.project.dockerfile.syntax
    assert [re.sub(r"\s+", " ", each.original) for each in syntax.instructions] == APT_FIXED
    assert not result.left.findings


@pytest.mark.parametrize("text", GUIDE, ids=lambda text: text.partition("\n")[0])
def test_the_guide_is_clean(text: str, tmp_path: Path) -> None:
    """Nothing is said against the examples of the guide."""
    assert said(f"{text}\n", tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        # Somebody else reads the folder, or fills it.
        "FROM python AS a\nRUN pip download x\nFROM b\nCOPY --from=a /root/.cache/pip /c\n",
        "FROM python\nCOPY wheels /root/.cache/pip\nRUN pip install x\n",
        "FROM python\nRUN pip install x && ls /root/.cache/pip\n",
        "FROM golang AS a\nRUN go mod download\nFROM b\nCOPY --from=a /go /go\n",
        # It is needed where containers run.
        'FROM maven\nRUN mvn package\nCMD ["mvn", "exec:java"]\n',
        "FROM mcr.microsoft.com/dotnet/sdk\nRUN dotnet build\nENTRYPOINT dotnet run\n",
        # A later step has no network.
        "FROM maven\nRUN mvn dependency:go-offline\nRUN mvn -o package\n",
        "FROM node\nRUN pnpm fetch\nRUN pnpm install --offline\n",
        # It is mounted already, in some way or other.
        "FROM python\nRUN --mount=type=cache,target=/root/.cache pip install x\n",
        "FROM python\nRUN --mount=type=tmpfs,target=/root/.cache/pip pip install x\n",
        "FROM python\nARG D\nRUN --mount=type=cache,target=$D pip install x\n",
        (
            "FROM gradle\nRUN --mount=type=cache,target=/home/gradle/.gradle,sharing=locked"
            " gradle build\n"
        ),
        # Nobody knows.
        "ARG BASE\nFROM $BASE\nUSER $U\nRUN pip install x\n",
        "FROM node\nRUN npm config set cache /x && npm ci\n",
        'FROM python\nSHELL ["pwsh", "-c"]\nRUN pip install x\n',
        "FROM mcr.microsoft.com/windows/servercore\nRUN pip install x\n",
        "FROM python\nONBUILD RUN pip install x\n",
        "FROM node\nCOPY .yarnrc.yml .\nRUN yarn install --immutable\n",
        # No call at all.
        "FROM debian\nRUN echo pip install x; cat <<EOF > /etc/motd\npip install x\nEOF\n",
        "FROM debian\nRUN apt-get update\n",
    ],
)
def test_silence(text: str, tmp_path: Path) -> None:
    """Where a mount would do harm, or where nobody can tell, nothing is said."""
    assert said(text, tmp_path) == []


@pytest.mark.parametrize(
    "run",
    [
        "apt-get update && apt-get install -y x && rm -rf /var/cache/*",
        "apt-get update && apt-get install -y x && rm -rf /var/lib/{apt,dpkg}/",
        "apt-get update && apt-get install -y x && (apt-get clean; ls)",
        "apt-get update && apt-get install -y x && rm -rf /var/lib/apt/lists/* || true",
        "if x; then apt-get update && apt-get install -y x && apt-get clean; fi",
        "sudo apt-get install -y x && rm -rf /var/cache",
    ],
)
def test_no_fix_that_breaks(run: str, tmp_path: Path) -> None:
    """Commands that would empty the mount, or fail on it, and cannot be taken out: no fix."""
    text = f"FROM debian\nRUN {run}\n"
    assert "use-cache-mount-apt" in said(text, tmp_path)
    assert not fixed(text, tmp_path, unsafe=True).changes


@pytest.mark.parametrize(
    ("run", "left"),
    [
        ("apt-get update && apt-get install x && apt-get clean && rm -rf /var/lib/apt/lists/*",
         "apt-get update && apt-get install x"),
        ("apt-get update; apt-get install x; apt-get clean; rm -rf /var/lib/apt/lists/*",
         "apt-get update; apt-get install x"),
        ("apt-get update && apt-get install x && rm -rf /var/lib/apt/lists/* /tmp/* /var/tmp/*",
         "apt-get update && apt-get install x && rm -rf /tmp/* /var/tmp/*"),
        ("apt-get update && apt-get install x && apt-get clean && make",
         "apt-get update && apt-get install x && make"),
        ("apt-get clean && apt-get update && apt-get install x",
         "apt-get update && apt-get install x"),
    ],
)  # fmt: skip
def test_cleaning_goes(run: str, left: str, tmp_path: Path) -> None:
    """With the mount goes what empties it; everything else stays."""
    result = fixed(f"FROM debian\nRUN {run}\n", tmp_path)
    assert result.project.sources.dockerfile.text.endswith(f"    {left}\n")


def test_lists_that_a_later_step_needs(tmp_path: Path) -> None:
    """Lists stay in the layer where a later step installs from them."""
    text = "FROM debian\nRUN apt-get update && apt-get install a\nRUN apt-get install b\n"
    result = fixed(text, tmp_path).project.sources.dockerfile.text
    assert "/var/lib/apt" not in result
    assert result.count("target=/var/cache/apt,sharing=locked") == 2
    assert result.count("docker-clean;") == 1


def test_one_file_with_everything(tmp_path: Path) -> None:
    """Fixes of many rules meet in one file and come to an end; line ends stay as they are."""
    text = (
        "FROM node:22 AS web\n"
        "RUN apt-get update && apt-get install -y git && rm -rf /var/lib/apt/lists/*\n"
        "WORKDIR /web\nCOPY package.json package-lock.json ./\n"
        "RUN npm ci && npm cache clean --force\nCOPY . .\nRUN npm run build\n"
        "FROM python:3.12\nWORKDIR /app\nCOPY . .\n"
        'RUN ["pip", "install", "--no-cache-dir", "."]\nRUN pip install --no-cache-dir x\n'
        "COPY --from=web /web/dist /app/static\n"
    ).replace("\n", "\r\n")
    result = fixed(text, tmp_path)
    after = result.project.sources.dockerfile.text
    assert "\n" not in after.replace("\r\n", "")
    assert {one.rule for one in result.applied} >= {
        "use-cache-mount-apt",
        "use-cache-mount-npm",
        "use-cache-mount-pip",
        "bind-mount-instead-of-copy",
    }
    assert fixed(after, tmp_path).changes == ()
    # The exec form keeps its arguments: it is for its author to take the flag out.
    assert [finding.fix for finding in result.left.findings] == [None]


@pytest.mark.parametrize(
    "text",
    [
        # Its files are in the image, or somebody takes them.
        "FROM golang\nWORKDIR /s\nCOPY . .\nRUN go build -o /b\n",
        "FROM golang AS a\nWORKDIR /s\nCOPY . .\nRUN go build -o /b\nFROM a\n",
        (
            "FROM golang AS a\nWORKDIR /s\nCOPY . .\nRUN go build -o /b\nFROM b\n"
            "COPY --from=a /s/web /web\n"
        ),
        # The command writes there.
        "FROM golang AS a\nWORKDIR /s\nCOPY . .\nRUN go build -o bin/b\nFROM b\n",
        "FROM golang AS a\nWORKDIR /s\nCOPY . .\nRUN go generate && go build -o /b\nFROM b\n",
        "FROM node AS a\nWORKDIR /s\nCOPY package.json .\nRUN npm install\nCOPY . .\nFROM b\n",
        # Another step reads them, too.
        "FROM golang AS a\nWORKDIR /s\nCOPY . .\nRUN go build -o /b\nRUN go vet\nFROM b\n",
        (
            "FROM python AS a\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\n"
            "RUN cat requirements.txt\nFROM b\n"
        ),
    ],
)
def test_copies_that_stay(text: str, tmp_path: Path) -> None:
    """A COPY whose files are needed later, or written to, is no bind mount."""
    assert "bind-mount-instead-of-copy" not in said(text, tmp_path)


@pytest.mark.parametrize(
    ("user", "run", "safe"),
    [
        ("root", "mvn package", True),
        ("app", "pip install x", True),
        ("app", "npm ci && npx cypress install", True),
        ("app", "pip install x && playwright install", False),
        ("app", "mvn package", False),
        ("app", "cargo install x", False),
    ],
)
def test_folders_above_a_mount(user: str, run: str, safe: bool, tmp_path: Path) -> None:
    """Folders that are made for a mount belong to root: no safe fix takes them from the user."""
    text = f"FROM debian\nRUN useradd -m -u 1000 app\nUSER {user}\nRUN {run}\n"
    assert bool(fixed(text, tmp_path).changes) is safe
    assert fixed(text, tmp_path, unsafe=True).changes
