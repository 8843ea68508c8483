"""From the values of a step to the job of its process."""

from __future__ import annotations

import marshal
import resource

import pytest

from lamina.errors import UsageError, UserError
from lamina.executor import plan
from lamina.executor.spec import (
    BindMount,
    ContainerSpec,
    FileMount,
    Network,
    OverlayMount,
    Process,
    TmpfsMount,
    Ulimit,
)

ROOT = OverlayMount(lower=("/low",), upper="/up", work="/work")
MOUNTS = (
    OverlayMount(lower=("/a", "/b"), target="/m", subpath="/sub"),
    BindMount(source="/s", target="/t"),
    TmpfsMount(target="/tmp", size=5),
    FileMount(target="/run/secret", content=b"\0\xff", uid=7),
)


def spec(**others: object) -> ContainerSpec:
    return ContainerSpec(root=ROOT, process=Process(args=("sh",)), **others)  # type: ignore[arg-type]


def test_jobs_can_be_sent() -> None:
    """A job is made of what marshal knows, whatever mounts there are."""
    job = plan.job(spec(mounts=MOUNTS, extra_hosts=(("a", "10.0.0.1"),)), state="/s")
    assert marshal.loads(marshal.dumps(dict(job))) == job


@pytest.mark.parametrize("target", ["/", "", "//", "/a/..", "."])
def test_nothing_is_mounted_over_the_root(target: str) -> None:
    with pytest.raises(UserError, match="invalid mount target"):
        plan.job(spec(mounts=(TmpfsMount(target=target),)), state="/s")


def test_defaults() -> None:
    job = plan.job(spec(shm_size=0), state="/s")
    assert job["shm_size"] == 64 << 20
    assert job["hostname"] == "buildkitsandbox"
    assert job["env"] == [("PATH", plan.DEFAULT_PATH)]
    assert (job["staging"], job["scratch"]) == ("/s/root", "/s/scratch")
    assert not job["read_only"]
    assert not job["private_network"]
    assert [mount["target"] for mount in job["mounts"]] == ["/etc/resolv.conf", "/etc/hosts"]


def test_environment_of_terminals() -> None:
    """TERM is set behind a terminal, as Docker does; what is given wins."""
    job = plan.job(spec(), state="/s", terminal=True)
    assert dict(job["env"])["TERM"] == "xterm"
    process = Process(args=("sh",), env=(("TERM", "vt100"), ("PATH", "/x")))
    job = plan.job(ContainerSpec(root=ROOT, process=process), state="/s", terminal=True)
    assert dict(job["env"]) == {"TERM": "vt100", "PATH": "/x"}


def test_read_only_roots() -> None:
    """A root without an upper directory, or one that is bound read-only, takes no writes."""
    assert plan.job(spec(read_only=True), state="/s")["read_only"]
    for root in (OverlayMount(lower=("/low",)), BindMount(source="/x", target="/")):
        container = ContainerSpec(root=root, process=Process(args=("sh",)), network=Network.NONE)
        job = plan.job(container, state="/s")
        assert job["read_only"]
        assert job["private_network"]


def test_limits() -> None:
    """Docker's names become the numbers of setrlimit(2)."""
    assert plan.limit(Ulimit(name="nofile", soft=1, hard=-1)) == (resource.RLIMIT_NOFILE, 1, -1)
    with pytest.raises(UsageError, match="unknown ulimit files"):
        plan.limit(Ulimit(name="files", soft=1, hard=1))
