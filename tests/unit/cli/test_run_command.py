"""The command line of `lamina run`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from lamina.cli.command import Command, Session
from lamina.cli.commands import run as run_file
from lamina.cli.run_request import parse_mount, parse_volume, run_request
from lamina.cli.values import Values
from lamina.control.request import RunMount, RunRequest
from lamina.errors import UsageError


def requested(*args: str, cwd: str = "/", **environ: str) -> RunRequest:
    seen: list[Mapping[str, object]] = []

    def keep(session: Session, flags: Mapping[str, object]) -> int:
        seen.append(flags)
        return 0

    params = [p for p in run_file.command().params if p.name not in ("root", "debug")]
    command = Command("run", params=params, run=keep, usage="", intermixed=False)
    with command.make_context("run", list(args)) as context:
        command.invoke(context)
    return run_request(Values(seen[0]), environ, cwd=cwd)


def test_what_follows_the_image_belongs_to_the_command() -> None:
    """Also what looks like a flag of ours."""
    request = requested("--rm", "-it", "busybox", "ls", "-t", "--root", "x")
    assert request == RunRequest(
        image="busybox", command=("ls", "-t", "--root", "x"), interactive=True, terminal=True
    )


def test_the_flags_of_docker_run() -> None:
    """Each ends up in its field."""
    request = requested(
        *("-e", "A=1", "-e", "B", "-e", "C", "-w", "/w", "-u", "1:2", "-h", "me"),
        *("--entrypoint", "", "--network", "none", "--isolation=oci", "--read-only", "img"),
        B="2",
    )
    assert request == RunRequest(
        image="img",
        env={"A": "1", "B": "2"},
        workdir="/w",
        user="1:2",
        hostname="me",
        entrypoint="",
        network="none",
        isolation="oci",
        read_only=True,
    )


def test_the_two_bind_mounts_of_the_documentation(tmp_path: Path) -> None:
    """`-v $(pwd):/path` and `--mount=type=bind,src=.,dst=/path` are the same mount."""
    expected = (RunMount(type="bind", source=str(tmp_path), target="/path/in/container"),)
    here = str(tmp_path)
    assert requested("-v", f"{here}:/path/in/container", "i", cwd=here).mounts == expected
    mount = "type=bind,src=.,dst=/path/in/container"
    assert requested(f"--mount={mount}", "i", cwd=here).mounts == expected


def test_volumes(tmp_path: Path) -> None:
    """Relative paths, the home folder, options."""
    (tmp_path / "sub").mkdir()
    here = str(tmp_path)
    assert parse_volume("./sub:/x:ro,z", {}, cwd=here).read_only
    assert parse_volume("./sub:/x/", {}, cwd=here).target == "/x"
    assert parse_volume("~/sub:/x", {"HOME": here}, cwd="/").source == f"{here}/sub"
    for text in ("/a", "a:/x", "./gone:/x", "./sub:x", "./sub:/", "./sub:/x:or", ":/x"):
        with pytest.raises(UsageError):
            parse_volume(text, {}, cwd=here)


def test_mounts(tmp_path: Path) -> None:
    """All of Docker's names for the keys."""
    here = str(tmp_path)
    bind = RunMount(type="bind", source=here, target="/x", read_only=True)
    for text in (
        f"type=bind,source={here},target=/x,readonly",
        f"type=bind,src={here},dst=/x,ro=true",
        f"type=bind,src={here},destination=/x,readonly=1",
    ):
        assert parse_mount(text, cwd="/") == bind
    tmpfs = parse_mount("type=tmpfs,dst=/x,tmpfs-size=1m", cwd="/")
    assert tmpfs == RunMount(type="tmpfs", target="/x", size=1 << 20)
    for text in ("dst=/x", "type=bind,dst=/x", "type=bnd,dst=/x", "type=bind,src=.,dts=/x"):
        with pytest.raises(UsageError):
            parse_mount(text, cwd=here)


@pytest.mark.parametrize("args", [[], ["-w", "x", "i"], ["--network=bridge", "i"]])
def test_what_makes_no_sense_is_refused(args: list[str]) -> None:
    """A missing image, a relative working directory, an unknown network."""
    with pytest.raises(UsageError):
        requested(*args)
