"""Arguments, litter, copies and caches: what is no mistake is not called one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.advisor.fixing import fix_project
from lamina.advisor.ruleset import all_rules, chosen_rules
from lamina.control.check import check, open_project


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "Dockerfile"


def said(path: Path, rule: str) -> list[str]:
    (checked,) = check([str(path)], rules=[rule])
    assert not checked.report.failed
    return [finding.message for finding in checked.report.findings]


APT = "RUN apt-get update && apt-get install -y curl"


@pytest.mark.parametrize(
    "steps",
    [
        f"ARG CACHEBUST=1\n{APT}",
        f"ARG NODE_VERSION=22\n{APT}\nRUN echo $NODE_VERSION",
        "ARG GIT_SHA\nRUN make",
        "ARG GIT_SHA\nRUN ./build.sh\nRUN echo $GIT_SHA",
        f"ARG GIT_SHA\nRUN echo $GIT_SHA\n{APT}",
        f"ARG BUILD_DATE\nENV X=1 D=$BUILD_DATE\n{APT}",
        "ARG GIT_SHA\nCOPY a /a\nRUN echo $GIT_SHA",
        f"ARG VERSION=1.2\n{APT}\nRUN echo $VERSION",
        f"{APT}\nARG GIT_SHA\nLABEL a=$GIT_SHA",
        f"ARG GIT_SHA\nONBUILD RUN echo\n{APT}",
    ],
)
def test_arguments_that_are_where_they_belong(steps: str, tmp_path: Path) -> None:
    """An argument that may be wanted above, or is meant to be there, is left alone."""
    path = write(tmp_path, {"Dockerfile": f"FROM debian\n{steps}\n", "a": ""})
    assert said(path, "volatile-argument-above-work") == []


@pytest.mark.parametrize(
    "steps",
    [
        f"ARG CHANNEL\nENV CHANNEL=$CHANNEL\n{APT}",
        "ARG CHANNEL\nRUN ./setup",
        f"ARG DEBIAN_FRONTEND=noninteractive\n{APT}",
        f"ARG http_proxy\n{APT}",
        f"ARG CACHE_BUST\n{APT}",
        f"ARG CHANNEL\n{APT}\nFROM one\nRUN echo $CHANNEL",
        f"ARG CHANNEL\n{APT} # for CHANNEL",
        "ARG CHANNEL\nCOPY a /a",
        "ARG CHANNEL\nRUN npm ci",
        f"ARG CHANNEL\n{APT}\nHEALTHCHECK CMD echo $CHANNEL",
        f"ARG CHANNEL\nSHELL ['pwsh']\n{APT}",
    ],
)
def test_arguments_that_may_be_used(steps: str, tmp_path: Path) -> None:
    """An argument that something may read is not called unused."""
    path = write(tmp_path, {"Dockerfile": f"FROM debian AS one\n{steps}\n", "a": ""})
    assert said(path, "unused-argument") == []


@pytest.mark.parametrize(
    "steps",
    [
        "RUN apt-get update && apt-get install -y curl",
        "RUN apt-get update\nRUN apt-get update && apt-get install -y curl",
        "RUN apt-get update",
        "RUN apt-get update\nRUN make",
        "RUN --mount=type=cache,target=/var/lib/apt apt-get update\nRUN apt-get install -y curl",
    ],
)
def test_an_update_that_is_used_at_once(steps: str, tmp_path: Path) -> None:
    """Only an update whose lists a later install relies on is named."""
    path = write(tmp_path, {"Dockerfile": f"FROM debian\n{steps}\n"})
    assert said(path, "update-in-layer-of-its-own") == []


BROAD = "FROM node:22\nWORKDIR /a\nCOPY . .\n"


@pytest.mark.parametrize(
    ("steps", "files"),
    [
        ("RUN go build -ldflags $(git describe)", {".git/HEAD": "x"}),
        ("RUN git rev-parse HEAD > /rev", {".git/HEAD": "x"}),
        ("RUN pip install .", {".git/HEAD": "x", "pyproject.toml": "requires = ['hatch-vcs']"}),
        ("RUN node build.js", {"node_modules/a/i.js": "x"}),
        ("CMD venv/bin/python a.py", {"venv/bin/python": "x"}),
    ],
)
def test_litter_that_is_wanted(steps: str, files: dict[str, str], tmp_path: Path) -> None:
    """History that a version is made of, and packages that nothing installs, are no litter."""
    path = write(tmp_path, {"Dockerfile": f"{BROAD}{steps}\n", **files})
    assert said(path, "no-ignore-file") == []
    (tmp_path / ".dockerignore").write_text("x\n")
    assert said(path, "litter-in-context") == []


@pytest.mark.parametrize(
    "files",
    [
        {".env": "PORT=80\nDEBUG=1\n"},
        {".env": "API_TOKEN=\nSECRET=changeme-please\nPASSWORD=${PASSWORD}\n"},
        {".env.example": "API_TOKEN=abcdefghijkl\n"},
        {".npmrc": "registry=https://r.example\n//r.example/:_authToken=${NPM_TOKEN}\n"},
        {"ca.pem": "-----BEGIN CERTIFICATE-----\n"},
    ],
)
def test_files_without_secrets(files: dict[str, str], tmp_path: Path) -> None:
    """A file is judged by what stands in it."""
    path = write(tmp_path, {"Dockerfile": BROAD, ".dockerignore": "x", **files})
    assert said(path, "secret-in-context") == []


@pytest.mark.parametrize(
    "files",
    [
        {"k/id_rsa": "-----BEGIN OPENSSH PRIVATE KEY-----\n"},
        {"tls.key": "-----BEGIN PRIVATE KEY-----\n"},
        {".npmrc": "//r.example/:_authToken=npm_abcdef\n"},
        {".env.local": "export DB_PASSWORD='hunter2hunter2'\n"},
    ],
)
def test_files_with_secrets(files: dict[str, str], tmp_path: Path) -> None:
    """What is one is named, and never shown."""
    path = write(tmp_path, {"Dockerfile": BROAD, ".dockerignore": "x", **files})
    (message,) = said(path, "secret-in-context")
    assert next(iter(files)) in message
    assert "hunter2" not in message
    assert "npm_" not in message


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        ("add-instead-of-copy", "ADD rootfs.tar.gz /"),
        ("add-instead-of-copy", "ADD rootfs /"),
        ("add-instead-of-copy", "ADD https://example.com/a.txt /"),
        ("add-instead-of-copy", "ADD *.txt /"),
        ("add-instead-of-copy", "ADD --unpack=false a.txt /"),
        ("add-remote-without-checksum", "ADD https://github.com/a/b.git /"),
        ("add-remote-without-checksum", "ADD https://github.com/a/b.git#v1 /"),
        ("add-remote-without-checksum", "ADD a.txt /"),
        ("copy-whole-filesystem", "COPY --from=alpine / /"),
        ("copy-whole-filesystem", "COPY / /"),
        ("copy-link", f"{APT}\nCOPY --from=one /x /etc/x"),
        ("copy-link", f"{APT}\nCOPY --from=one /x x"),
        ("copy-link", f"{APT}\nCOPY --from=one --chown=app /x /app/x"),
        ("copy-link", "RUN ln -s /data /app\nCOPY --from=one /x /app/x"),
        ("copy-link", "RUN mkdir -p -m 700 /opt/app\nCOPY --from=one /x /opt/app/x"),
        ("copy-link", "COPY --from=one /x /app/x"),
    ],
)
def test_copies_that_are_right(rule: str, steps: str, tmp_path: Path) -> None:
    """Archives, repositories and copies that hang on what is there are as they should be."""
    text = f"FROM scratch AS one\nFROM debian\n{steps}\n"
    path = write(tmp_path, {"Dockerfile": text, "a.txt": "", "rootfs": "", "rootfs.tar.gz": ""})
    assert said(path, rule) == []


STAGES = "FROM debian AS b\nRUN make\nFROM scratch\nCOPY --from=b /x /x\n"
ONE = "FROM debian AS b\nRUN make\nFROM b\nCOPY x /x\n"
ACTION = """\
on: [{events}]
jobs:
  a:
    runs-on: {machine}
    {matrix}
    steps:
      - uses: docker/setup-buildx-action@v3
      - uses: docker/build-push-action@v6
        with:
          context: .
          {inputs}
"""


@pytest.mark.parametrize(
    ("rule", "dockerfile", "inputs"),
    [
        ("mode-min-with-stages", ONE, "cache-to: type=gha"),
        ("mode-min-with-stages", STAGES, "cache-to: type=gha,mode=${{ vars.MODE }}"),
        ("mode-min-with-stages", STAGES, "cache-to: type=inline"),
        ("mode-min-with-stages", STAGES + "FROM debian AS dev\n", "cache-to: type=gha"),
        ("inline-cache-with-stages", ONE, "cache-to: type=inline"),
        ("build-without-cache", ONE, "no-cache: true"),
        ("build-without-cache", ONE, "call: check"),
        ("build-without-cache", ONE, "cache-from: type=gha"),
        ("build-without-cache", ONE, "file: other/Dockerfile"),
        ("one-cache-for-matrix", ONE, "cache-to: type=gha,scope=${{ matrix.v }}"),
        ("one-cache-for-matrix", ONE, "cache-to: type=gha,scope=${{ steps.x.outputs.y }}"),
        ("cache-writable-from-pull-requests", ONE, "cache-to: type=gha"),
        (
            "cache-writable-from-pull-requests",
            ONE,
            "cache-to: type=registry,ref=a/${{ github.ref }}",
        ),
    ],
)
def test_caches_that_are_right(rule: str, dockerfile: str, inputs: str, tmp_path: Path) -> None:
    """What a workflow does on purpose is no mistake."""
    workflow = ACTION.format(
        events="push, pull_request",
        machine="ubuntu-latest",
        matrix="strategy: {matrix: {v: [a, b]}}",
        inputs=inputs,
    )
    path = write(tmp_path, {"Dockerfile": dockerfile, "x": "", ".github/workflows/a.yml": workflow})
    assert said(path, rule) == []


def test_a_matrix_that_builds_one_thing_may_share(tmp_path: Path) -> None:
    """Jobs that only test the same image differently write the same cache."""
    workflow = ACTION.format(
        events="push",
        machine="ubuntu-latest",
        matrix="strategy: {matrix: {suite: [unit, all]}}",
        inputs="cache-to: type=gha",
    )
    path = write(tmp_path, {"Dockerfile": ONE, "x": "", ".github/workflows/a.yml": workflow})
    assert said(path, "one-cache-for-matrix") == []


def test_fixes_of_a_workflow_compose(tmp_path: Path) -> None:
    """A workflow with every mistake is mended whole, and is then left alone."""
    workflow = ACTION.format(
        events="push, pull_request",
        machine="ubuntu-latest",
        matrix="strategy: {matrix: {arch: [amd64, arm64]}}",
        inputs="platforms: linux/${{ matrix.arch }}\n          cache-to: type=registry,ref=a/b:c",
    )
    files = {"Dockerfile": STAGES, ".github/workflows/a.yml": workflow}
    place = open_project(str(write(tmp_path, files)))
    rules = chosen_rules(all_rules(), ["mode-min-with-stages", "cache-writable-from-pull-requests"])
    result = fix_project(place.sources, rules, read=place.read)
    (text,) = (source.text for source in result.project.sources.workflows)
    wanted = (
        "${{ github.event_name != 'pull_request' && 'type=registry,ref=a/b:c,mode=max' || '' }}"
    )
    assert f"cache-to: {wanted}\n" in text
    assert not result.left.findings
