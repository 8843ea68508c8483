"""The command line of `lamina build`, from words to a BuildRequest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click
import pytest

from lamina.cli.build_flags import build_options
from lamina.cli.build_request import build_request, check_files, progress_mode, writes_to_stdout
from lamina.cli.command import Command, Session
from lamina.cli.usage import usage_error
from lamina.cli.values import Values
from lamina.control.request import BuildRequest, OutputRequest
from lamina.errors import UsageError

NO_DOCKER = {"DOCKER_CONFIG": "/nonexistent"}


def parsed(*args: str) -> Values:
    """The flags as click leaves them."""
    seen: list[Mapping[str, object]] = []

    def run(session: Session, flags: Mapping[str, object]) -> int:
        seen.append(flags)
        return 0

    command = Command("build", params=build_options(), run=run, usage="")
    try:
        with command.make_context("build", list(args)) as context:
            command.invoke(context)
    except click.ClickException as problem:
        raise usage_error(problem) from None
    return Values(seen[0])


def requested(*args: str, **environ: str) -> BuildRequest:
    return build_request(parsed(*args), {**NO_DOCKER, **environ}, machine="x86_64")


def test_a_bare_build() -> None:
    """Nothing but a context: everything else is the default."""
    assert requested(".") == BuildRequest(context=".")


def test_flags_may_stand_anywhere_and_several_times() -> None:
    """Before and behind the context, with `=` or without."""
    request = requested("-t", "a", ".", "--tag=b:c", "-fx", "--label", "k=v", "--label=k2")
    assert [str(tag) for tag in request.tags] == [
        "docker.io/library/a:latest",
        "docker.io/library/b:c",
    ]
    assert request.dockerfile == "x"
    assert request.labels == {"k": "v", "k2": ""}


def test_what_the_conformance_runner_passes() -> None:
    """Its flags as it writes them."""
    request = requested(
        *("--progress=plain", "--platform", "linux/amd64,linux/arm64", "--target", "Stage1"),
        *("--ulimit", "nofile=1062:1062", "--no-cache-filter", "a,b", "--build-arg", "A=b=c"),
        *("--secret", "id=s,src=/f", "--allow", "network.host", "-f", "/w/Dockerfile2"),
        *("--build-context", "busybox=oci-layout:///b", "--build-context", "m=/dir"),
        *("--output", "type=oci,dest=/w/image.tar,rewrite-timestamp=true", "/w/context"),
    )
    assert request.context == "/w/context"
    assert request.platforms == ("linux/amd64", "linux/arm64")
    assert request.target == "Stage1"
    assert request.ulimits == (("nofile", 1062, 1062),)
    assert request.no_cache_filter == ("a", "b")
    assert request.build_args == {"A": "b=c"}
    assert request.secrets[0].path == "/f"
    assert request.named_contexts == {"busybox": "oci-layout:///b", "m": "/dir"}
    assert request.outputs[0].dest == "/w/image.tar"
    assert request.outputs[0].attributes == {"rewrite-timestamp": "true"}


@pytest.mark.parametrize(
    ("args", "pull"),
    [
        (["--pull"], True),
        (["--pull=true"], True),
        (["--pull=false"], False),
        (["--pull", "--pull=0"], False),
        (["--pull=false", "--pull"], True),
        (["--label", "--pull=true"], False),
        (["--rm=false", "--load=false"], False),
    ],
)
def test_boolean_flags_take_a_value(args: list[str], pull: bool) -> None:
    """As Go's do; the last one counts; the value of another flag is left alone."""
    request = requested(*args, ".")
    assert request.pull is pull
    assert request.outputs == ()


def test_the_environment_gives_what_buildx_takes_from_it() -> None:
    """SOURCE_DATE_EPOCH and the default platform, unless a flag says otherwise; no proxies."""
    environ = {
        "SOURCE_DATE_EPOCH": "7",
        "DOCKER_DEFAULT_PLATFORM": "linux/arm64",
        "HTTP_PROXY": "http://x",
    }
    request = requested(".", **environ)
    assert request.build_args == {"SOURCE_DATE_EPOCH": "7"}
    assert request.platforms == ("linux/arm64",)
    request = requested("--build-arg=SOURCE_DATE_EPOCH=8", "--platform=linux/amd64", ".", **environ)
    assert request.build_args == {"SOURCE_DATE_EPOCH": "8"}
    assert request.platforms == ("linux/amd64",)


def test_proxies_come_from_dockers_configuration(tmp_path: Path) -> None:
    """As build arguments in both cases, unless one is given."""
    proxies = {"default": {"httpProxy": "http://p", "noProxy": "x", "unknown": "y"}}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))
    request = requested("--build-arg", "no_proxy=mine", ".", DOCKER_CONFIG=str(tmp_path))
    assert request.build_args == {
        "HTTP_PROXY": "http://p",
        "http_proxy": "http://p",
        "no_proxy": "mine",
    }


def test_load_is_an_image_in_the_store() -> None:
    """Once, however often it is asked for."""
    assert [output.type for output in requested("--load", ".").outputs] == ["image"]
    outputs = requested("--load", "-o", "type=docker", ".").outputs
    assert [output.type for output in outputs] == ["image"]


def test_push_is_a_registry() -> None:
    """`--push` changes an image output that is there, else it adds one; so does `--load`, and what
    is pushed comes last.
    """
    pushing = OutputRequest(type="image", attributes={"push": "true"})
    named = ["-t", "r.io/a", "."]
    assert requested("--push", *named).outputs == (pushing,)
    assert requested("-o", "type=registry", *named).outputs == (pushing,)
    assert requested("--push", "--load", *named).outputs == (pushing,)
    archive = OutputRequest(type="oci", dest="x.tar")
    assert requested("--push", "-o", "type=oci,dest=x.tar", *named).outputs == (archive, pushing)
    both = requested("-o", "type=registry", "-o", "type=oci,dest=x.tar", *named).outputs
    assert both == (archive, pushing)
    [zstd] = requested("--push", "-o", "type=image,compression=zstd", *named).outputs
    assert zstd.attributes == {"compression": "zstd", "push": "true"}
    assert not requested("-o", "type=registry,push=false", ".").outputs[0].pushes


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "the build context is missing"),
        ([""], "the build context is missing"),
        (["a", "b"], "one build context is needed, not 2"),
        (["-f", "-", "-"], "cannot both come from standard input"),
        (["--network=bridge", "."], "unknown mode 'bridge'"),
        (["--isolation=hyperv", "."], "unknown driver"),
        (["--jobs=-1", "."], "--jobs"),
        (["--jobs=two", "."], "--jobs"),
        (["--iidfile=x", "-o", "out", "."], "--iidfile cannot be used"),
        (["-o", "-", "-o", "type=oci", "."], "only one output"),
        (["-t"], "requires an argument"),
        (["--push", "."], "tag is needed when pushing to registry"),
        (["-o", "type=registry", "."], "tag is needed when pushing to registry"),
        (
            ["-t", "r.io/a:1", "-o", "type=image,push-by-digest=true", "--push", "."],
            "can't push tagged ref r.io/a:1 by digest",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(args: list[str], said: str) -> None:
    """With a plain sentence."""
    with pytest.raises(UsageError) as refused:
        requested(*args)
    assert said in refused.value.message


@pytest.mark.parametrize(
    "args",
    [
        ["--builder=default"],
        ["--policy", "x"],
        ["--cgroup-parent=x"],
        ["--squash"],
        ["--security-opt=x"],
        ["--sbom=true"],
        ["--attest=type=sbom"],
    ],
)
def test_flags_of_buildx_that_do_not_work_yet_are_known(args: list[str]) -> None:
    """They are refused as such, never passed over and never called unknown."""
    with pytest.raises(UsageError) as refused:
        requested(*args, ".")
    assert "not supported yet" in refused.value.message


def test_flags_that_change_nothing_are_accepted() -> None:
    """They ask for what happens anyway."""
    args = ["--rm", "--force-rm", "--compress", "--provenance=false", "--sbom=0", "--call=build"]
    assert requested(*args, "--push=false", ".") == BuildRequest(context=".")


def test_an_unknown_flag_names_the_nearest() -> None:
    """Its hint is the flag that was meant."""
    with pytest.raises(UsageError) as refused:
        requested("--no-cahce", ".")
    assert refused.value.message == "unknown flag: --no-cahce"
    assert refused.value.hint == "did you mean --no-cache?"


@pytest.mark.parametrize(
    ("args", "environ", "expected"),
    [
        ([], {}, "auto"),
        ([], {"BUILDKIT_PROGRESS": "plain"}, "plain"),
        (["--progress=tty"], {"BUILDKIT_PROGRESS": "plain"}, "tty"),
        (["-q"], {}, "quiet"),
        (["-q", "--progress=auto"], {"BUILDKIT_PROGRESS": "plain"}, "quiet"),
        (["--progress=quiet"], {}, "quiet"),
    ],
)
def test_progress_modes(args: list[str], environ: dict[str, str], expected: str) -> None:
    """The flag, else BUILDKIT_PROGRESS, else `auto`; `-q` is `quiet`."""
    assert progress_mode(parsed(*args, "."), environ) == expected


def test_progress_modes_that_make_no_sense() -> None:
    """An unknown one, in the flag or the variable; quiet and not quiet at once."""
    with pytest.raises(UsageError, match="--progress"):
        progress_mode(parsed("--progress=plian", "."), {})
    with pytest.raises(UsageError, match="BUILDKIT_PROGRESS"):
        progress_mode(parsed("."), {"BUILDKIT_PROGRESS": "plian"})
    with pytest.raises(UsageError, match="together"):
        progress_mode(parsed("-q", "--progress=plain", "."), {})


def test_secret_files_are_looked_for_before_the_build(tmp_path: Path) -> None:
    """A missing one is said at once, by its id and path."""
    (tmp_path / "there").touch()
    check_files(requested("--secret", f"id=a,src={tmp_path}/there", "--secret=id=b,env=B", "."))
    with pytest.raises(UsageError, match=f"secret a: cannot read {tmp_path}/gone"):
        check_files(requested("--secret", f"id=a,src={tmp_path}/gone", "."))


def test_which_outputs_take_standard_output() -> None:
    """Archives without a file; then the image's ID is not printed."""
    assert writes_to_stdout(requested("-o", "type=oci", "."))
    assert writes_to_stdout(requested("-o", "-", "."))
    assert not writes_to_stdout(requested("-o", "out", "-t", "a", "."))
