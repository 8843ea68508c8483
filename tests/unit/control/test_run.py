from __future__ import annotations

from pathlib import Path

import pytest

from lamina.control.request import RunMount, RunRequest
from lamina.control.run import planned_mounts, planned_process
from lamina.errors import UserError
from lamina.executor.spec import BindMount, TmpfsMount
from lamina.oci.config import ContainerConfig

IMAGE = ContainerConfig(
    entrypoint=("/entry", "--flag"),
    cmd=("default",),
    env=("PATH=/image", "KEPT=1", "CHANGED=old", "EMPTY=", "ODD=a=b"),
    working_dir="/work",
    user="app",
)


@pytest.mark.parametrize(
    ("entrypoint", "command", "expected"),
    [
        (None, (), ("/entry", "--flag", "default")),
        (None, ("mine", "x"), ("/entry", "--flag", "mine", "x")),
        ("/other", (), ("/other",)),
        ("/other", ("x",), ("/other", "x")),
        ("", ("x",), ("x",)),
    ],
)
def test_the_command_line(
    entrypoint: str | None, command: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """As docker run puts it together: an entry point of the user's own drops the image's CMD."""
    request = RunRequest(image="app", entrypoint=entrypoint, command=command)
    assert planned_process(request, IMAGE).args == expected


@pytest.mark.parametrize("config", [ContainerConfig(), ContainerConfig(cmd=())])
def test_no_command_at_all_is_an_error(config: ContainerConfig) -> None:
    """With the image's name in it."""
    with pytest.raises(UserError, match="no command: the image app"):
        planned_process(RunRequest(image="app"), config)
    with pytest.raises(UserError):
        planned_process(RunRequest(image="app", entrypoint=""), IMAGE)


def test_the_environment_is_the_images_under_the_users() -> None:
    """Values may be empty and hold equals signs; nothing else comes in but a PATH."""
    request = RunRequest(image="app", env={"CHANGED": "new", "MORE": ""})
    assert dict(planned_process(request, IMAGE).env) == {
        "PATH": "/image",
        "KEPT": "1",
        "CHANGED": "new",
        "EMPTY": "",
        "ODD": "a=b",
        "MORE": "",
    }
    plain = planned_process(RunRequest(image="app", command=("x",)), ContainerConfig())
    assert [name for name, _ in plain.env] == ["PATH"]
    assert (plain.cwd, plain.user) == ("/", "")


def test_a_terminal_and_a_host_name_show_in_the_environment() -> None:
    """As docker run sets them, below what the image and the user say."""
    request = RunRequest(image="app", terminal=True, hostname="box", env={"TERM": "dumb"})
    process = planned_process(request, IMAGE)
    assert dict(process.env)["TERM"] == "dumb"
    assert dict(process.env)["HOSTNAME"] == "box"
    assert process.terminal


def test_the_users_directory_and_user_win() -> None:
    """Over those of the image."""
    process = planned_process(RunRequest(image="app", workdir="/tmp", user="0"), IMAGE)
    assert (process.cwd, process.user) == ("/tmp", "0")
    process = planned_process(RunRequest(image="app"), IMAGE)
    assert (process.cwd, process.user) == ("/work", "app")


def test_outer_mounts_come_first(tmp_path: Path) -> None:
    """Or they would hide the inner ones."""
    mounts = (
        RunMount(type="tmpfs", target="/a/b/c", size=5),
        RunMount(type="bind", source=str(tmp_path), target="/a", read_only=True),
    )
    assert planned_mounts(mounts) == (
        BindMount(source=str(tmp_path), target="/a", read_only=True),
        TmpfsMount(target="/a/b/c", size=5),
    )


def test_a_source_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """And nothing is made in its place."""
    missing = tmp_path / "missing"
    with pytest.raises(UserError, match="there is no such file or directory"):
        planned_mounts((RunMount(type="bind", source=str(missing), target="/a"),))
    assert not missing.exists()
