"""Files that call builders are read with the place of everything."""

from __future__ import annotations

import pytest

from lamina.advisor.workflows.calls import BuildCall, Kind, same_file
from lamina.advisor.workflows.reading import read_workflow
from lamina.source import SourceFile


def calls(name: str, text: str) -> tuple[BuildCall, ...]:
    return read_workflow(SourceFile(name, text))


GITHUB = """\
on:
  pull_request:
  push: {branches: [main]}
jobs:
  ä-docker:
    runs-on: ${{ matrix.os }}
    if: github.actor != 'bot'
    strategy:
      matrix:
        os: [ubuntu-24.04, ubuntu-24.04-arm]
        include:
          - os: ubuntu-24.04
            arch: amd64
    steps:
      - uses: docker/setup-buildx-action@v3
      - uses: docker/build-push-action@v6
        if: always()
        with:
          context: app
          build-args: |
            X=ä
            ARCH=${{ matrix.arch }}
          cache-from: |
            type=gha

            type=registry,ref=a/b:c
          cache-to: "type=gha,mode=max"
      - run: |
          echo building
          docker buildx build --push -f app/docker/Dockerfile \\
            --cache-to=type=registry,ref=${{ github.repository }}:cache --target 'dev' app
"""


def test_an_action_is_read() -> None:
    """What a workflow says of a build is known, and where it says so."""
    action, command = calls(".github/workflows/ci.yml", GITHUB)
    assert action.kind is Kind.ACTION
    assert action.span.text == "docker/build-push-action@v6"
    assert action.dockerfiles == ("app/Dockerfile",)
    assert [option.span.text for option in action.cache_from] == [
        "type=gha",
        "type=registry,ref=a/b:c",
    ]
    assert [option.span.text for option in action.cache_to] == ["type=gha,mode=max"]
    assert action.varies
    job = action.job
    assert job is not None
    assert (job.ephemeral, job.builder, job.machine) == (True, True, True)
    assert job.matrix == ("os",)
    assert job.triggers == {"pull_request", "push"}
    assert "bot" in job.condition
    assert "always" in job.condition
    assert command.kind is Kind.COMMAND
    assert command.dockerfiles == ("app/docker/Dockerfile",)
    assert command.target == "dev"
    (option,) = command.cache_to
    assert option.type == "registry"
    assert option.text == option.span.text
    assert option.span.text == "type=registry,ref=${{ github.repository }}:cache"


@pytest.mark.parametrize(
    ("runs_on", "ephemeral"),
    [("ubuntu-latest", True), ("self-hosted", None), ("[self-hosted, linux]", None), ("big", None)],
)
def test_only_hosted_machines_are_known_to_end(runs_on: str, ephemeral: bool | None) -> None:
    """A runner that may be kept is not one whose builds start from nothing."""
    text = f"jobs: {{a: {{runs-on: {runs_on}, steps: [{{uses: docker/build-push-action@v6}}]}}}}"
    (call,) = calls(".github/workflows/a.yml", text)
    assert call.job is not None
    assert call.job.ephemeral is ephemeral
    assert call.options is None


def test_a_matrix_names_dockerfiles() -> None:
    """A call with a folder from its matrix builds the Dockerfiles of them all."""
    text = """\
jobs:
  a:
    runs-on: ubuntu-latest
    strategy: {matrix: {service: [web, api]}}
    steps:
      - uses: docker/build-push-action@v6
        with: {context: "services/${{ matrix.service }}"}
"""
    (call,) = calls("../.github/workflows/a.yml", text)
    assert call.dockerfiles == ("../services/web/Dockerfile", "../services/api/Dockerfile")


def test_scripts_of_gitlab_are_read() -> None:
    """Commands in a pipeline are calls; a service that holds the builder ends with its job."""
    text = """\
build:
  services: [docker:27-dind]
  script:
    - docker login
    - docker buildx build --cache-to type=inline .
    - cd sub
    - docker buildx build .
"""
    first, second = calls(".gitlab-ci.yml", text)
    assert first.dockerfiles == ("Dockerfile",)
    assert [option.type for option in first.cache_to] == ["inline"]
    assert first.job is not None
    assert first.job.ephemeral
    assert second.dockerfiles == ()


def test_compose_is_read() -> None:
    """A service's build, in both its forms."""
    text = """\
services:
  db: {image: postgres}
  web: {build: ./web}
  app:
    build:
      context: .
      dockerfile: docker/app.Dockerfile
      target: prod
      args: [BUILDKIT_INLINE_CACHE=1]
      cache_from: [a/b]
"""
    web, app = calls("x/compose.yaml", text)
    assert web.dockerfiles == ("x/web/Dockerfile",)
    assert app.dockerfiles == ("x/docker/app.Dockerfile",)
    assert app.inline
    assert app.target == "prod"
    assert [option.type for option in app.cache_from] == ["registry"]


HCL = """\
variable "TAG" { default = "latest" }
# target "no" {}
group "default" { targets = ["app", "tool"] }
function "f" { params = [x] result = "${x}" }
target "_base" {
  context = "src"
  dockerfile = "docker/Dockerfile"
}
target "app" {
  inherits = ["_base"]
  args = { A = "1", B = upper("}") }
  target = "prod"
  cache-to = [
    "type=registry,ref=a/b:c", // a comment
    "type=inline",
  ]
}
target "tool" {
  dockerfile = "tool.${TAG}"
  cache-to = ["type=gha,scope=${TAG}"]
}
"""


def test_hcl_is_read_as_far_as_it_is_plain() -> None:
    """Strings and lists are known, expressions are not; what is inherited counts."""
    base, app, tool = calls("docker-bake.hcl", HCL)
    assert base.dockerfiles == app.dockerfiles == ("src/docker/Dockerfile",)
    assert [option.span.text for option in app.cache_to] == [
        "type=registry,ref=a/b:c",
        "type=inline",
    ]
    assert app.span.text == "app"
    assert app.target == "prod"
    assert tool.dockerfiles == ()
    assert tool.cache_to == ()


def test_json_of_bake_is_read() -> None:
    """The same in JSON."""
    text = '{"target": {"app": {"context": "a", "cache-to": ["type=gha,mode=min"]}}}'
    (call,) = calls("docker-bake.json", text)
    assert call.dockerfiles == ("a/Dockerfile",)
    assert [option.span.text for option in call.cache_to] == ["type=gha,mode=min"]


@pytest.mark.parametrize(
    "name", [".github/workflows/a.yml", ".gitlab-ci.yml", "compose.yaml", "docker-bake.hcl"]
)
@pytest.mark.parametrize(
    "text",
    ["", "a", "- 1", "a: [", "\x00", "jobs: 1", "jobs: {a: 1}", "services: {a: 1}", "--- a\n--- b",
     "target", 'target "a" {', 'target "a" { b = ', "a: &a [*a]", "? {a: b}\n: c", "\udcff: 1",
     "jobs: {a: {steps: [{uses: docker/build-push-action@v1, with: 3}, 4]}}", "[" * 3000],
)  # fmt: skip
def test_whatever_stands_in_a_file(name: str, text: str) -> None:
    """A file that is not what it is called breaks nothing."""
    for call in calls(name, text):
        assert call.span.file.name == name


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Dockerfile", "./Dockerfile", True),
        ("../app/Dockerfile", "Dockerfile", True),
        ("../Dockerfile", "Dockerfile", False),
        ("../../a/b/docker/Dockerfile", "docker/Dockerfile", True),
        ("a/Dockerfile", "Dockerfile", False),
    ],
)
def test_files_are_the_same(one: str, other: str, same: bool) -> None:
    """A path that goes up and down again names what lies here."""
    assert same_file(one, other) is same
