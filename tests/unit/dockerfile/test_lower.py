"""A Dockerfile becomes a graph and a configuration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from lamina.dockerfile.base import Base
from lamina.errors import UserError
from lamina.graph import mounts as m
from lamina.graph.ops import (
    CopyOp,
    EnvVar,
    ExecOp,
    HttpOp,
    ImageOp,
    InlineSource,
    LocalOp,
    MakeDirOp,
    MergeOp,
    ScratchOp,
    TreeSource,
)
from lamina.graph.vertex import Vertex
from lamina.oci.config import ContainerConfig, ImageConfig
from tests.support.lowering import Images, lowered

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IMAGE = ImageConfig(architecture="amd64", os="linux")


def with_config(**fields: object) -> ImageConfig:
    return replace(IMAGE, config=ContainerConfig(**fields))  # type: ignore[arg-type]


def copy_of(vertex: Vertex) -> CopyOp:
    assert isinstance(vertex.op, CopyOp)
    return vertex.op


def step_of(vertex: Vertex) -> ExecOp:
    assert isinstance(vertex.op, ExecOp)
    return vertex.op


def all_of(vertex: Vertex) -> Iterator[Vertex]:
    yield vertex
    for each in vertex.inputs:
        yield from all_of(each)


def test_a_copy_stands_on_what_is_below_and_takes_from_its_source() -> None:
    """Input 0 is the stage so far; every source has an input of its own."""
    made = lowered("FROM scratch\nCOPY a b/ /to/\n").vertex
    assert copy_of(made) == CopyOp(
        sources=(TreeSource(input=1, path="/a"), TreeSource(input=2, path="/b")), dest="/to/"
    )
    assert [type(each.op) for each in made.inputs] == [ScratchOp, LocalOp, LocalOp]


def test_a_linked_copy_stands_on_nothing() -> None:
    """Its layer is merged on the stage's; a mode given beside it is asked of the tree below."""
    made = lowered("FROM busybox\nCOPY --link a /\n").vertex
    assert isinstance(made.op, MergeOp)
    below, copied = made.inputs
    assert isinstance(below.op, ImageOp)
    assert isinstance(copied.inputs[0].op, ScratchOp)
    moded = lowered("FROM busybox\nCOPY --link --chmod=755 a /\n").vertex
    assert isinstance(moded.op, CopyOp)


def test_paths_are_seen_from_the_working_directory() -> None:
    """Destinations and WORKDIRs are relative to the WORKDIR above; a slash at the end stays."""
    made = lowered("FROM scratch\nWORKDIR /a\nWORKDIR b\nCOPY x y/\n").vertex
    assert copy_of(made).dest == "/a/b/y/"
    assert isinstance(made.inputs[0].op, MakeDirOp)
    assert made.inputs[0].op.path == "/a/b"


def test_the_root_as_working_directory_makes_nothing() -> None:
    """Its line of history has no layer."""
    made = lowered("FROM busybox\nWORKDIR /\n")
    assert isinstance(made.vertex.op, ImageOp)
    assert made.config.history is not None
    assert made.config.history[-1].empty_layer


def test_parents_split_at_the_pivot() -> None:
    """What stands before `/./` is left out, what follows it is kept; patterns need not match."""
    plain = copy_of(lowered("FROM scratch\nCOPY --parents a/./b/c /\n").vertex).sources[0]
    assert plain == TreeSource(input=1, path="/a", include=("b/c",), required=("/a/b/c",))
    pattern = copy_of(lowered("FROM scratch\nCOPY --parents a/b* /\n").vertex).sources[0]
    assert pattern == TreeSource(input=1, path="/", include=("a/b*",))


def test_downloads_are_named_by_their_url() -> None:
    """ADD of a URL unpacks only when asked; a checksum is a part of the download."""
    made = lowered(f"FROM scratch\nADD --checksum=sha256:{'0' * 64} http://h/a%20b?c=d /\n").vertex
    source = copy_of(made).sources[0]
    assert source == TreeSource(input=1, path="/a b", wildcards=False)
    assert made.inputs[1].op == HttpOp(
        url="http://h/a%20b?c=d",
        filename="a b",
        checksum=made.inputs[1].op.checksum if isinstance(made.inputs[1].op, HttpOp) else None,
    )
    (nameless,) = copy_of(lowered("FROM scratch\nADD http://h/ /\n").vertex).sources
    assert isinstance(nameless, TreeSource)
    assert nameless.path == "/__unnamed__"


@pytest.mark.parametrize(
    ("checksum", "reason"),
    [
        ("md5:0", "unsupported digest algorithm"),
        ("0123", "invalid checksum digest format"),
        ("sha256:0123", "invalid checksum digest format"),
    ],
)
def test_bad_checksums(checksum: str, reason: str) -> None:
    """Only sha256 is known."""
    with pytest.raises(UserError, match=reason):
        lowered(f"FROM scratch\nADD --checksum={checksum} http://h/f /\n")


def test_a_step_has_what_the_stage_has() -> None:
    """Its variables say whether they came from ARG; the user and the directory are the stage's."""
    made = lowered(
        "ARG g=1\nFROM busybox\nUSER app\nWORKDIR /w\nENV e=2\nARG g\nRUN echo $g\n",
        build_args={"g": "3"},
    )
    step = step_of(made.vertex)
    assert step.args == ("/bin/sh", "-c", "echo $g")
    assert (step.user, step.cwd) == ("app", "/w")
    assert step.env[-2:] == (
        EnvVar(name="e", value="2"),
        EnvVar(name="g", value="3", argument=True),
    )
    assert made.config.config.env == (PATH, "e=2")


def test_a_stage_sees_the_environment_of_its_base_again() -> None:
    """An ARG that hides an ENV does so in its own stage alone."""
    text = "FROM busybox AS a\nENV v=env\nARG v=arg\nRUN 1\nFROM a\nRUN 2\n"
    second = lowered(text).vertex
    first = second.inputs[0]
    assert [v.value for v in step_of(first).env if v.name == "v"] == ["arg"]
    assert [v.value for v in step_of(second).env if v.name == "v"] == ["env"]


def test_a_heredoc_of_run_is_its_script() -> None:
    """One with a shebang is a file in a mount, any other one the shell's command."""
    shell = step_of(lowered("FROM busybox\nRUN <<EOF\none\ntwo\nEOF\n").vertex)
    assert shell.args == ("/bin/sh", "-c", "one\ntwo\n")
    script = lowered("FROM busybox\nRUN <<EOF\n#!/bin/awk -f\nEOF\n").vertex
    assert step_of(script).args[-1] == "/dev/pipes/EOF"
    (mount,) = step_of(script).mounts
    assert isinstance(mount, m.BindMount)
    (source,) = copy_of(script.inputs[mount.input]).sources
    assert source == InlineSource(name="EOF", content=b"#!/bin/awk -f\n")


def test_a_cache_mount_is_its_id() -> None:
    """Without an id it is the target; a namespace stands before it."""
    text = (
        "FROM busybox\nRUN --mount=type=cache,target=/a/../c --mount=type=cache,id=i,target=d 1\n"
    )
    step = step_of(lowered(text, build_args={"BUILDKIT_CACHE_MOUNT_NS": "n"}).vertex)
    found = [(each.id, each.target) for each in step.mounts if isinstance(each, m.CacheMount)]
    assert found == [("n//c", "/c"), ("n/i", "/d")]


def test_only_what_the_target_needs_is_asked_for() -> None:
    """Bases of other stages are not resolved, but they must be names."""
    images = Images()
    text = "FROM unused AS u\nFROM used AS v\nFROM other\nCOPY --from=v a /\nCOPY --from=far b /\n"
    lowered(text, images=images)
    assert sorted(images.asked) == ["far", "other", "used"]
    with pytest.raises(UserError) as caught:
        lowered("FROM No AS unused\nFROM scratch\n")
    assert caught.value.message.startswith('failed to parse stage name "No"')


def test_a_context_takes_the_place_of_a_stage() -> None:
    """It is resolved where it is needed, and the stage's own needs are none."""
    context = Base(vertex=Vertex(op=LocalOp(name="c")))
    images = Images(contexts={"c": context, "idle": context})
    text = "FROM a AS idle\nFROM a AS c\nCOPY --from=gone x /\nFROM scratch\nCOPY --from=c y /\n"
    made = lowered(text, images=images)
    assert images.asked == ["c"]
    assert made.vertex.inputs[1] == context.vertex


def test_triggers_run_in_front_and_are_not_inherited() -> None:
    """They may need stages of their own; the configuration that is made has none of them."""
    triggers = ("COPY --from=other a /", "ENV seen=1")
    images = Images(configs={"base": with_config(on_build=triggers)})
    made = lowered("FROM base\nRUN $seen\n", images=images)
    assert sorted(images.asked) == ["base", "other"]
    assert isinstance(made.vertex.inputs[0].op, CopyOp)
    assert made.config.config.on_build is None
    assert "seen=1" in (made.config.config.env or ())


def test_an_onbuild_of_a_stage_runs_in_stages_upon_it() -> None:
    """It stays in the configuration of its own stage, and runs once."""
    text = "FROM busybox AS a\nONBUILD RUN 1\nFROM a AS b\nFROM b\n"
    assert lowered(text, target="a").config.config.on_build == ("RUN 1",)
    steps = [v for v in all_of(lowered(text).vertex) if isinstance(v.op, ExecOp)]
    assert len(steps) == 1


def test_entrypoint_clears_an_inherited_command() -> None:
    """But not one that this stage has set."""
    images = Images(configs={"base": with_config(cmd=("old",))})
    cleared = lowered('FROM base\nENTRYPOINT ["e"]\n', images=images).config.config
    assert (cleared.entrypoint, cleared.cmd) == (("e",), None)
    kept = lowered('FROM base\nCMD ["new"]\nENTRYPOINT ["e"]\n', images=images).config.config
    assert kept.cmd == ("new",)


def test_windows_has_no_path_and_another_shell() -> None:
    """The platform that is built for decides."""
    made = lowered("FROM scratch\nENTRYPOINT a b\n", platform="windows/amd64").config
    assert made.config.entrypoint == ("cmd", "/S", "/C", "a b")
    assert made.config.env is None
    assert made.os == "windows"


@pytest.mark.parametrize(
    ("value", "epoch"),
    [("12", 12), ("at", 34), ("AT", 34), ("named", 56), ("context", 78), ("", None)],
)
def test_epoch(value: str, epoch: int | None) -> None:
    """SOURCE_DATE_EPOCH is a number, or the name of a stage, a context, or the context."""
    web = Base(vertex=Vertex(op=HttpOp(url="http://named", filename="context")))
    images = Images(
        contexts={"named": web}, times={"http://h/f": 34, "http://named": 56, "context": 78}
    )
    text = (
        "ARG SOURCE_DATE_EPOCH=1\nARG host=g\n"
        "FROM scratch AS at\nARG host=h\nADD http://$host/f /\n"
        "FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN 1\n"
    )
    made = lowered(text, images=images, build_args={"SOURCE_DATE_EPOCH": value})
    assert made.epoch == epoch
    seen = {v.name: v.value for v in step_of(made.vertex).env}
    assert seen.get("SOURCE_DATE_EPOCH") == (None if epoch is None else str(epoch))


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ("FROM busybox AS at\nADD http://h/f /\n", "must use FROM scratch"),
        ("FROM scratch AS at\nRUN 1\n", "does not meet source-only requirements"),
        ("FROM scratch AS at\n", "must contain exactly one remote ADD"),
        ("FROM scratch AS at\nADD http://h/f /\nADD http://h/f /\n", "exactly one remote ADD"),
        ("FROM scratch AS at\nADD http://h/f http://h/g /\n", "exactly one remote ADD source"),
        ("FROM scratch AS at\nADD f /\n", "must be a single HTTP"),
        ("FROM scratch AS other\n", "invalid SOURCE_DATE_EPOCH: at"),
    ],
)
def test_a_stage_without_a_time(stage: str, reason: str) -> None:
    """The stage that is named must be one download and nothing else."""
    with pytest.raises(UserError, match=reason):
        lowered(f"ARG SOURCE_DATE_EPOCH=at\n{stage}FROM scratch\n")


def test_stages_without_cache() -> None:
    """--no-cache-filter forces the steps of a stage, whatever its case, and no other's."""
    text = "FROM busybox AS One\nRUN 1\nFROM one\nRUN 2\n"
    second = lowered(text, no_cache_stages=("ONE",)).vertex
    assert (second.forced, second.inputs[0].forced) == ("", "--no-cache-filter")


@pytest.mark.parametrize(
    ("word", "ports"),
    [
        ("[::1]:8080:80/udp", {"80/udp"}),
        ("::1:8080:80", {"80/tcp"}),
        ("8000-8001", {"8000/tcp", "8001/tcp"}),
        ("1.2.3.4::80", {"80/tcp"}),
    ],
)
def test_exposed_ports(word: str, ports: set[str]) -> None:
    """Addresses and ports of the host are understood, and left out."""
    assert set(lowered(f"FROM scratch\nEXPOSE {word}\n").config.config.exposed_ports or ()) == ports
