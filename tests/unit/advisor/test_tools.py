"""Calls of package tools: recognised where they are, and with the folders that they use."""

from __future__ import annotations

import pytest

from lamina.advisor.needs import needed
from lamina.advisor.project import Project, Sources
from lamina.advisor.reading import read_dockerfile
from lamina.advisor.stagestate import walk
from lamina.advisor.tools.recognition import uses
from lamina.advisor.tools.table import TOOLS
from lamina.source import SourceFile


def project(text: str) -> Project:
    source = SourceFile("Dockerfile", text)
    return Project(dockerfile=read_dockerfile(source), sources=Sources(dockerfile=source))


def last_uses(text: str) -> list[str]:
    """The tools that the last RUN calls to fill their caches."""
    place = walk(project(text))[-1]
    assert place.run is not None
    return [use.tool.name for use in uses(place.run, place.state, TOOLS)]


def last_folders(text: str) -> tuple[str, ...]:
    """The folders that the calls of the last RUN keep things in."""
    place = walk(project(text))[-1]
    assert place.run is not None
    found = tuple(uses(place.run, place.state, TOOLS))
    return tuple(need.folder for need in needed(place, found))


@pytest.mark.parametrize(
    ("run", "tools"),
    [
        ("pip install flask", ["pip"]),
        ("pip3.12 install flask", ["pip"]),
        ("python3 -m pip install flask", ["pip"]),
        ("/opt/venv/bin/pip install flask", ["pip"]),
        ("/opt/venv/bin/python -m pip install flask", ["pip"]),
        ("pip --cache-dir /c install flask", ["pip"]),
        ("uv pip install flask", ["uv"]),
        ("sudo -E apt-get -y install gcc", ["apt"]),
        ("env DEBIAN_FRONTEND=noninteractive apt-get install -y gcc", ["apt"]),
        ("DEBIAN_FRONTEND=noninteractive apt-get -o A::B=c install -y gcc", ["apt"]),
        ("if true; then npm ci; fi", ["npm"]),
        ("(cd /app && npm --prefix web install)", ["npm"]),
        ("set -e; yarn; pnpm i", ["yarn", "pnpm"]),
        ("corepack pnpm install", ["pnpm"]),
        ('["pip", "install", "flask"]', ["pip"]),
        ("exec bundle", ["bundler"]),
        ("CGO_ENABLED=0 go build ./...", ["go"]),
        ("cargo +nightly build --release", ["cargo"]),
        ("./mvnw -B package", ["maven"]),
        ("./gradlew build", ["gradle"]),
        ("mix do deps.get, compile", []),
        ("<<EOF\napt-get update\npip install x\nEOF", ["apt", "pip"]),
        ("pip --version", []),
        ("yarn --version", []),
        ("npm run build", []),
        ("echo pip install flask", []),
        ("echo 'apt-get install gcc' > install.sh", []),
        ("$PIP install flask", []),
        ("su app -c 'pip install flask'", []),
        ("sudo -u app pip install flask", []),
        ("pip install --no-index flask", []),
        ("--network=none pip install flask", []),
        ("cargo build --offline", []),
    ],
)
def test_calls(run: str, tools: list[str]) -> None:
    """What fills a cache is seen through wrappers, and nothing else is taken for it."""
    assert last_uses(f"FROM debian\nRUN {run}\n") == tools


@pytest.mark.parametrize(
    ("above", "run", "folders"),
    [
        ("FROM python", "pip install x", ("/root/.cache/pip",)),
        ("FROM python\nENV PIP_CACHE_DIR=/c", "pip install x", ("/c",)),
        ("FROM python\nENV XDG_CACHE_HOME=/x", "pip install x", ("/x/pip",)),
        ("FROM python\nENV HOME=/h", "pip install x", ("/h/.cache/pip",)),
        ("FROM python\nENV PIP_CACHE_DIR=$UNKNOWN", "pip install x", ()),
        ("FROM python", "pip install --cache-dir=/f x", ("/f",)),
        ("FROM python", "pip install --cache-dir /f x", ("/f",)),
        ("FROM python", "pip install --cache-dir $F x", ()),
        ("FROM python", "export PIP_CACHE_DIR=/e && pip install x", ("/e",)),
        ("FROM python", "PIP_CACHE_DIR=/e pip install x", ("/e",)),
        ("FROM python\nUSER nobody", "pip install x", ()),
        ("FROM python\nUSER 1000", "pip install x", ()),
        ("FROM python\nRUN useradd -m app\nUSER app", "pip install x", ("/home/app/.cache/pip",)),
        ("FROM python\nRUN useradd -d /srv app\nUSER app", "pip install x", ("/srv/.cache/pip",)),
        (
            "FROM python\nRUN useradd -rms /bin/sh -G x -u 7 app\nUSER app",
            "pip install x",
            ("/home/app/.cache/pip",),
        ),
        ("FROM python\nRUN adduser -S -h /h app\nUSER app", "pip install x", ("/h/.cache/pip",)),
        ("FROM python\nRUN adduser --system app\nUSER app", "pip install x", ()),
        ("FROM jupyter/base-notebook", "pip install x", ()),
        ("FROM node\nUSER node", "npm ci", ("/home/node/.npm",)),
        ("FROM node\nENV npm_config_cache=/n", "npm ci", ("/n",)),
        ("FROM node", "yarn", ("/usr/local/share/.cache/yarn",)),
        ("FROM node\nUSER node", "yarn", ("/home/node/.cache/yarn",)),
        ("FROM node\nENV PNPM_HOME=/pnpm", "pnpm i", ("/pnpm/store",)),
        ("FROM golang", "go build", ("/go/pkg/mod", "/root/.cache/go-build")),
        ("FROM debian", "go build", ("/root/go/pkg/mod", "/root/.cache/go-build")),
        ("FROM golang\nENV GOMODCACHE=/m GOCACHE=/c", "go build", ("/m", "/c")),
        ("FROM rust", "cargo fetch", ("/usr/local/cargo/git/db", "/usr/local/cargo/registry")),
        ("FROM debian", "cargo fetch", ("/root/.cargo/git/db", "/root/.cargo/registry")),
        ("FROM composer", "composer install", ("/tmp/cache",)),
        ("FROM php\nENV COMPOSER_HOME=/c", "composer install", ("/c/cache",)),
        ("FROM ruby", "bundle", ("/root/.gem", "/usr/local/bundle/cache")),
        ("FROM maven", "mvn -Dmaven.repo.local=/r package", ("/r",)),
        ("FROM gradle\nENV GRADLE_USER_HOME=/g", "gradle build", ("/g/caches",)),
        ("FROM debian\nENV NUGET_PACKAGES=/p", "dotnet restore", ("/p",)),
        ("ARG H=/a\nFROM python\nARG H\nENV HOME=$H", "pip install x", ("/a/.cache/pip",)),
        ("FROM python AS a\nENV HOME=/b\nFROM a", "pip install x", ("/b/.cache/pip",)),
    ],
)
def test_folders(above: str, run: str, folders: tuple[str, ...]) -> None:
    """A folder is the one of this tool, user and environment; what is not known is not guessed."""
    assert last_folders(f"{above}\nRUN {run}\n") == folders


@pytest.mark.parametrize("shell", ['["pwsh", "-Command"]', '["cmd", "/S", "/C"]', '["python"]'])
def test_other_shells(shell: str) -> None:
    """Nothing is said of a script that no POSIX shell reads."""
    assert last_uses(f"FROM debian\nSHELL {shell}\nRUN pip install x\n") == []
