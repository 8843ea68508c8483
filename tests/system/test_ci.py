"""The action and the examples of docs/ci.md, as far as a shell can run them: each job begins with
nothing, and all that jobs share is a registry."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from action import build as action_build
from tests.support.actions_runner import Done, Job
from tests.support.commands import Outcome, program, run
from tests.support.gha import running_gha
from tests.support.registry import PASSWORD, USER, Registry, running_registry

pytestmark = pytest.mark.root

CHECKOUT = Path(__file__).resolve().parents[2]
ACTION = CHECKOUT / "action"
DOCKERFILE = """\
FROM {base} AS build
RUN echo tools > /tools
COPY main.txt /src/
RUN --mount=type=cache,id=words,target=/words cat /tools /src/main.txt > /program && \
    echo "mount: $(cat /words/seen)." && echo kept > /words/seen

FROM {base}
COPY --from=build /program /program
RUN cat /program > /ran
"""
STEPS = 5
MANY_INPUTS = """\
add-hosts allow annotations attests build-args build-contexts builder cache-from cache-to call
cgroup-parent context file github-token labels load network no-cache no-cache-filters outputs
platforms provenance pull push sbom secrets secret-envs secret-files shm-size ssh tags target ulimit
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A registry that asks for a login, a base image in it, and a repository in git."""

    folder: Path
    registry: Registry
    server: Path

    @property
    def login(self) -> Path:
        """A folder for $DOCKER_CONFIG, as docker/login-action leaves it."""
        folder = self.folder / "login"
        if not folder.exists():
            folder.mkdir()
            auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            entry = {"auths": {self.registry.address: {"auth": auth}}}
            (folder / "config.json").write_text(json.dumps(entry))
        return folder

    @property
    def commit(self) -> str:
        bare = self.server / "user" / "app.git"
        return git("--git-dir", bare, "rev-parse", "main").stdout.strip()

    def change(self, name: str, text: str) -> None:
        """One more commit on main."""
        work = self.folder / "work"
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
        git("-C", work, "add", ".")
        who = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")
        git("-C", work, *who, "commit", "--quiet", "-m", "a change")
        git("-C", work, "push", "--quiet", self.server / "user" / "app.git", "HEAD:main")

    def job(
        self,
        name: str,
        *,
        environment: Mapping[str, str] | None = None,
        foreign: Mapping[str, Mapping[str, str]] | None = None,
        token: str = "",
        installed: bool = True,
    ) -> Job:
        """A job of a workflow for the latest commit, on a machine of its own."""
        known = {
            "DOCKER_CONFIG": str(self.login),
            "GITHUB_SERVER_URL": f"file://{self.server}",
            "GITHUB_REPOSITORY": "user/app",
            "GITHUB_SHA": self.commit,
            "GITHUB_REF": "refs/heads/main",
            **(environment or {}),
        }
        return Job(
            action=ACTION,
            folder=self.folder / name,
            environment=known,
            foreign=foreign or {},
            token=token,
            installed=installed,
        )


def git(*words: str | Path) -> Outcome:
    return run([program("git"), *map(str, words)]).must_succeed()


@pytest.fixture
def world(tmp_path: Path, busybox_image: Path) -> Iterator[World]:
    with running_registry(tmp_path / "registry", login=True) as registry:
        bare, work = tmp_path / "server" / "user" / "app.git", tmp_path / "work"
        git("init", "--quiet", "--bare", bare)
        git("init", "--quiet", work)
        world = World(folder=tmp_path, registry=registry, server=tmp_path / "server")
        base = registry.repository("busybox")
        login = f"--dest-creds={USER}:{PASSWORD}"
        source, target = f"oci:{busybox_image}:latest", f"docker://{base}:latest"
        run(
            [program("skopeo"), "copy", "--quiet", "--dest-tls-verify=false", login, source, target]
        ).must_succeed()
        (work / "main.txt").write_text("main\n")
        world.change("Dockerfile", DOCKERFILE.format(base=base))
        yield world


def example(name: str) -> dict[str, Any]:
    """A block of YAML in docs/ci.md."""
    text = (CHECKOUT / "docs" / "ci.md").read_text()
    found = re.search(rf"<!-- {name} -->\n```yaml\n(.*?)```", text, re.DOTALL)
    assert found, name
    document: dict[str, Any] = yaml.safe_load(found[1])
    return document


def ran(outcome: Outcome) -> int:
    return len(re.findall(r"^#\d+ why:", outcome.said, re.MULTILINE))


def cached(outcome: Outcome) -> int:
    return len(re.findall(r"^#\d+ CACHED$", outcome.said, re.MULTILINE))


def workflow_inputs(world: World) -> dict[str, str]:
    """Those of the last step of the workflow in docs/ci.md, in our registry."""
    step = example("github")["jobs"]["docker"]["steps"][-1]
    assert step["uses"].endswith("/lamina/action@main")
    app = world.registry.repository("user/app")
    return {
        name: str(value).replace("user/app", app).replace("True", "true")
        for name, value in step["with"].items()
    }


def test_the_workflow_runs_nothing_the_second_time(world: World) -> None:
    """The guide's workflow with one changed line: on an empty machine every step is cached, the
    image is the same, and skopeo finds it under the digest that the action puts out."""
    inputs = workflow_inputs(world)
    first = world.job("first").run(inputs)
    first.last.must_succeed()
    assert ran(first.last) == STEPS
    second = world.job("second").run(inputs)
    second.last.must_succeed()
    assert (ran(second.last), cached(second.last)) == (0, STEPS)
    assert second.outputs["digest"] == first.outputs["digest"]
    inspected = run(
        [
            *(program("skopeo"), "inspect", "--tls-verify=false", f"--creds={USER}:{PASSWORD}"),
            *("--format={{.Digest}}", f"docker://{inputs['tags']}"),
        ]
    ).must_succeed()
    assert inspected.stdout.strip() == first.outputs["digest"]


def test_what_a_workflow_gets(world: World) -> None:
    """Outputs, a summary, and nothing of the secrets in what is said."""
    token = "ghs_nobody-may-see-this"
    mounts = " ".join(f"--mount=type=secret,id={name}" for name in ("one", "two", "three"))
    world.change(
        "Dockerfile",
        f"FROM {world.registry.repository('busybox')}\nARG A\n"
        f"RUN {mounts} cat /run/secrets/* | sha256sum\n"
        'LABEL said="$A"\n',
    )
    (world.folder / "three.txt").write_text("third-secret\n")
    job = world.job("job", token=token, environment={"SECOND": "second-secret"})
    app = world.registry.repository("user/app")
    done = job.run(
        {
            "push": "true",
            "tags": f"{app}:1\n{app}:2",
            "build-args": "A=x,y",
            "labels": "org.example.title=a title\norg.example.lines=1",
            "secrets": '"one=first-secret\nin two lines"',
            "secret-envs": "two=SECOND",
            "secret-files": f"three={world.folder}/three.txt",
            "builder": "builder-123",
            "cache-from": f"{app}:nothing",
        }
    )
    done.last.must_succeed()
    said = done.last.said
    assert all(secret not in said for secret in (token, "first-", "second-", "third-", PASSWORD))
    assert "::warning title=lamina build::builder: builder-123 has no effect" in said
    assert "::warning title=lamina build::the cache is not used" in said
    metadata = json.loads(done.outputs["metadata"])
    assert metadata["containerimage.digest"] == done.outputs["digest"]
    assert metadata["containerimage.config.digest"] == done.outputs["imageid"]
    assert done.summary.strip()
    for tag in ("1", "2"):
        found = run(
            [
                *(program("skopeo"), "inspect", "--config", "--tls-verify=false"),
                *(f"--creds={USER}:{PASSWORD}", f"docker://{app}:{tag}"),
            ]
        ).must_succeed()
        labels = json.loads(found.stdout)["config"]["Labels"]
        assert labels["said"] == "x,y"
        assert labels["org.example.title"] == "a title"


def test_a_failed_build_fails_the_job(world: World) -> None:
    """With the error on the page of the run, the exit code of the build, and no digest."""
    world.change("Dockerfile", "FROM scratch\nCOPY missing /\n")
    done = world.job("job").run({"tags": "app:1"})
    assert done.last.code == 1
    assert re.search(r"^::error title=lamina build::.*missing", done.last.said, re.MULTILINE)
    assert done.outputs["digest"] == ""


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"push": "yes"}, "push: 'yes' is neither true nor false"),
        ({"context": "{{defaultContext}}:nowhere"}, "there is no folder nowhere"),
        ({"context": "{{defaultContext}}:../.."}, "there is no folder ../.."),
        ({"secret-files": "a=/nowhere"}, "secret-files: a: there is no file /nowhere"),
        ({"cgroup-parent": "docker"}, "--cgroup-parent is not supported"),
        ({"sbom": "true"}, "sbom"),
        ({"call": "outline"}, "--call=outline is not supported"),
    ],
)
def test_a_wrong_input_is_an_error(world: World, inputs: dict[str, str], said: str) -> None:
    """It is said in one line."""
    done = world.job("job").run(inputs)
    assert done.last.code != 0
    assert re.search(rf"^::error .*{re.escape(said)}", done.last.said, re.MULTILINE)
    assert "Traceback" not in done.last.said


def test_a_folder_of_the_repository_is_the_context(world: World) -> None:
    """`{{defaultContext}}:folder`, with the Dockerfile in it; nothing of git is in the context."""
    world.change("below/other.Dockerfile", "FROM scratch\nCOPY . /\n")
    out = world.folder / "out"
    inputs = {
        "context": "{{defaultContext}}:below",
        "file": "other.Dockerfile",
        "outputs": f"type=local,dest={out}",
    }
    world.job("below").run(inputs).last.must_succeed()
    assert [path.name for path in out.iterdir()] == ["other.Dockerfile"]
    everything = world.folder / "everything"
    world.change("Dockerfile", "FROM scratch\nCOPY . /\n")
    world.job("all").run({"outputs": f"type=local,dest={everything}"}).last.must_succeed()
    assert {path.name for path in everything.iterdir()} == {"Dockerfile", "below", "main.txt"}


def test_the_cache_of_the_runner(world: World) -> None:
    """type=gha: the job's token reaches the build, and the second job is cached."""
    app = world.registry.repository("user/app")
    inputs = {"tags": f"{app}:1", "cache-from": "type=gha", "cache-to": "type=gha,mode=max"}

    def job(name: str, environment: Mapping[str, str]) -> Done:
        handed = {
            "token": environment["ACTIONS_RUNTIME_TOKEN"],
            "results": environment["ACTIONS_RESULTS_URL"],
        }
        return world.job(name, foreign={"service": handed}).run(inputs)

    with running_gha() as service:
        environment = service.environment()
        assert ran(job("first", environment).last.must_succeed()) == STEPS
        second = job("second", environment)
        assert (ran(second.last), cached(second.last)) == (0, STEPS)
        assert environment["ACTIONS_RUNTIME_TOKEN"] not in second.last.said


def test_the_action_installs_lamina(world: World) -> None:
    """From the repository that it is part of, in a virtual environment of the job. (What pip would
    download is taken from here.)"""
    offline = {
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # which is how pip spells "none"
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PATH": f"{Path(sys.prefix, 'bin')}:{os.environ['PATH']}",
    }
    job = world.job("job", installed=False, environment=offline)
    done = job.run({"tags": "app:1"})
    done.last.must_succeed()
    assert (job.folder / "temp/lamina/bin/lamina").exists()
    assert ran(done.last) == STEPS


def test_every_input_of_the_other_action_is_there() -> None:
    """So a workflow needs one changed line."""
    document = yaml.safe_load((ACTION / "action.yml").read_text())
    assert set(document["inputs"]) == set(MANY_INPUTS.split()) == set(action_build.INPUTS)
    assert set(document["outputs"]) == {"imageid", "digest", "metadata"}


@pytest.mark.parametrize(
    ("text", "whole", "separated"),
    [
        ("", [], []),
        ("a=1\nb=2", ["a=1", "b=2"], ["a=1", "b=2"]),
        ("type=local,dest=x", ["type=local,dest=x"], ["type=local", "dest=x"]),
        ('"a=1\n2"\nb', ["a=1\n2", "b"], ["a=1\n2", "b"]),
        ('A="quoted"', ['A="quoted"'], ['A="quoted"']),
        ('"a=""x"""', ['a="x"'], ['a="x"']),
        ("\n\n  a  \n\n", ["a"], ["a"]),
        ("a\r\nb", ["a", "b"], ["a", "b"]),
        ("a,,b", ["a,,b"], ["a", "b"]),
    ],
)
def test_lists_are_read_as_the_other_action_reads_them(
    text: str, whole: list[str], separated: list[str]
) -> None:
    """Newlines and commas separate, quotes keep together."""
    assert action_build.entries(text, separated=False) == whole
    assert action_build.entries(text, separated=True) == separated


def shell(script: str, env: Mapping[str, str], cwd: Path) -> Outcome:
    """A job's commands, on a machine where `pip install "$LAMINA"` finds the command under test."""
    tools = cwd / "tools"
    tools.mkdir()
    (tools / "pip").write_text(
        '#!/bin/sh\n[ "$1 $3" = "install $LAMINA" ] || exit 9\n'
        f"ln -s {Path(sys.prefix, 'bin', 'lamina')} {tools}/lamina\n"
    )
    (tools / "pip").chmod(0o755)
    base = {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(cwd), "LAMINA": "git+file:///x"}
    return run(["sh", "-euc", script], env={**base, **env}, cwd=cwd)


def gitlab_job(world: World, name: str, job: str) -> Outcome:
    """A job of the example for GitLab, on a machine of its own."""
    pipeline = example("gitlab")
    folder = world.folder / name
    git("clone", "--quiet", "--branch=main", world.server / "user" / "app.git", folder / "app")
    env = {
        "CI_BUILDS_DIR": str(folder),
        "CI_REGISTRY": world.registry.address,
        "CI_REGISTRY_IMAGE": world.registry.repository("user/app"),
        "CI_REGISTRY_USER": USER,
        "CI_REGISTRY_PASSWORD": PASSWORD,
        "CI_COMMIT_REF_SLUG": "main",
        "CI_DEFAULT_BRANCH": "main",
    }
    for variable, text in pipeline["variables"].items():
        env[variable] = re.sub(r"\$(\w+)", lambda found: env[found[1]], text)
    commands = [*pipeline["default"]["before_script"], *pipeline[job]["script"]]
    return shell("\n".join(["cd app", *commands]), env, folder).must_succeed()


def test_the_gitlab_pipeline(world: World) -> None:
    """The second pipeline is cached; where a step has to run it finds its cache mount; the
    scheduled job leaves what is of use."""
    assert "mount: ." in gitlab_job(world, "first", "build").said
    second = gitlab_job(world, "second", "build")
    assert (ran(second), cached(second)) == (0, STEPS)
    gitlab_job(world, "scheduled", "prune")
    world.change("main.txt", "changed\n")
    third = gitlab_job(world, "third", "build")
    assert "mount: kept." in third.said
    assert cached(third) == 1  # RUN echo tools: the rest stands on what has changed
    assert PASSWORD not in second.said + third.said


def kubernetes_job(world: World, name: str) -> Outcome:
    """The container of the Job, its volumes as folders."""
    pod = example("kubernetes")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    folder = world.folder / name
    folder.mkdir()
    given = {"BRANCH": "main", "IMAGE": world.registry.repository("user/k8s")}
    given["REPOSITORY"] = f"file://{world.server}/user/app.git"
    env = given | {each["name"]: each["value"] for each in container["env"]}
    assert {volume["mountPath"] for volume in container["volumeMounts"]} == {"/login", "/store"}
    env |= {"DOCKER_CONFIG": str(world.login), "LAMINA_ROOT": str(folder / "store")}
    assert container["command"] == ["sh", "-euc"]
    return shell(container["args"][0].replace("/tmp/source", f"{folder}/source"), env, folder)


def test_the_kubernetes_job(world: World) -> None:
    """Twice: the second pod runs nothing."""
    kubernetes_job(world, "first").must_succeed()
    second = kubernetes_job(world, "second").must_succeed()
    assert (ran(second), cached(second)) == (0, STEPS)
