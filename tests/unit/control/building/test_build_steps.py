from __future__ import annotations

import json

import pytest

from lamina.control.building.bases import ImageOrigin
from lamina.control.building.steps import redacted, steps_of
from lamina.graph.mounts import BindMount, CacheMount, SecretMount, Sharing, SshMount, TmpfsMount
from lamina.graph.ops import (
    CopyOp,
    EnvVar,
    ExecOp,
    HttpOp,
    ImageOp,
    InlineSource,
    Limits,
    LocalOp,
    MakeDirOp,
    MergeOp,
    ScratchOp,
    TreeSource,
)
from lamina.graph.vertex import Vertex
from lamina.oci.digest import digest_of
from lamina.oci.platform import Platform
from lamina.oci.reference import parse_reference
from lamina.source import SourceFile, Span

AMD64 = Platform(os="linux", architecture="amd64")
DIGEST, INDEX = digest_of(b"manifest"), digest_of(b"index")
IMAGE = ImageOp(reference="docker.io/library/alpine:3", digest=DIGEST, platform=AMD64)
ORIGIN = ImageOrigin(reference=parse_reference("alpine:3"), digest=INDEX, local=False)
BASE = Vertex(op=IMAGE)
SCRATCH = Vertex(op=ScratchOp())
LOCAL = Vertex(op=LocalOp(name="context"))


def test_images_are_named_by_what_the_name_meant() -> None:
    """The digest is the one that pins the name, which may be an index's."""
    (step, last) = steps_of(BASE, {IMAGE: ORIGIN}).definition()
    assert step == {
        "id": "step0",
        "op": {
            "Op": {"source": {"identifier": f"docker-image://docker.io/library/alpine:3@{INDEX}"}},
            "platform": {"Architecture": "amd64", "OS": "linux"},
        },
    }
    assert last == {"id": "step1", "inputs": ["step0:0"], "op": {"Op": {}}}
    local = ImageOrigin(reference=parse_reference("foo"), digest=INDEX, local=True)
    (step, _) = steps_of(BASE, {IMAGE: local}).definition()
    identifier = step["op"]["Op"]["source"]["identifier"]
    assert identifier == f"oci-layout://docker.io/library/foo@{INDEX}"


def test_inputs_stand_first_and_once() -> None:
    """A step that two others need is one step; every input names an earlier step."""
    made = Vertex(op=MakeDirOp(path="/a"), inputs=(BASE,))
    copied = CopyOp(sources=(TreeSource(input=1, path="/x"),), dest="/y")
    top = Vertex(op=copied, inputs=(made, Vertex(op=MakeDirOp(path="/b"), inputs=(BASE,))))
    steps = steps_of(top, {})
    assert len(steps.vertices) == 4
    seen: set[str] = set()
    for step in steps.definition():
        assert {name.partition(":")[0] for name in step.get("inputs", [])} <= seen
        seen.add(step["id"])
    assert set(steps.digests().values()) == seen


def test_what_is_empty_is_no_step() -> None:
    """An operation on nothing has the input -1; nothing at all has no steps."""
    copied = CopyOp(sources=(TreeSource(input=1, path="/x"),), dest="/y")
    step = steps_of(Vertex(op=copied, inputs=(SCRATCH, LOCAL)), {}).definition()[1]
    (action,) = step["op"]["Op"]["file"]["actions"]
    assert (action["input"], action["secondaryInput"], action["output"]) == (-1, 0, 0)
    assert step["inputs"] == ["step0:0"]
    assert steps_of(SCRATCH, {}).vertices == ()


def test_the_sources_of_a_copy_follow_each_other() -> None:
    """Each works on what the one before it left, and only the last gives a result."""
    sources = (TreeSource(input=1, path="/x"), InlineSource(name="eof", content=b"\xff"))
    copied = CopyOp(sources=sources, dest="/y/", chown="me:7", chmod="a+x", epoch=2)
    step = steps_of(Vertex(op=copied, inputs=(BASE, LOCAL)), {}).definition()[2]
    first, second = step["op"]["Op"]["file"]["actions"]
    assert [(a["input"], a["secondaryInput"], a["output"]) for a in (first, second)] == [
        (0, 1, -1),
        (2, -1, 0),
    ]
    assert second["Action"]["mkfile"] == {
        "path": "/y/eof",
        "data": "/w==",
        "owner": {"user": {"User": {"byName": {"name": "me"}}}, "group": {"User": {"byID": 7}}},
        "modeStr": "a+x",
        "timestamp": 2 * 10**9,
    }


def test_a_process_with_its_mounts() -> None:
    """Every kind of mount, by its id; an address of a proxy is no part of it."""
    op = ExecOp(
        args=("sh", "-c", "x"),
        env=(EnvVar(name="A", value="1"),),
        mounts=(
            BindMount(input=1, source="/s", target="/bind"),
            CacheMount(id="c", target="/cache", sharing=Sharing.LOCKED),
            TmpfsMount(target="/tmp", size=5),
            SecretMount(id="s", target="/run/s", env="S", required=True),
            SecretMount(id="t", target=None, env="T"),
            SshMount(id="default", target="/run/ssh"),
        ),
        network="none",
        extra_hosts=(("h", "1.2.3.4"),),
        proxies=(("HTTP_PROXY", "http://me:pass@proxy"),),
        limits=Limits(ulimits=(("nofile", 1, 2),)),
        platform=AMD64,
    )
    step = steps_of(Vertex(op=op, inputs=(BASE, LOCAL)), {}).definition()[2]
    process = step["op"]["Op"]["exec"]
    assert process["network"] == 2
    assert process["meta"]["env"] == ["A=1"]
    assert process["meta"]["ulimit"] == [{"Name": "nofile", "Soft": 1, "Hard": 2}]
    assert process["secretenv"] == [
        {"ID": "s", "name": "S"},
        {"ID": "t", "name": "T", "optional": True},
    ]
    root, bind, cache, tmpfs, secret, ssh = process["mounts"]
    assert root == {"dest": "/"}
    assert (bind["input"], bind["selector"], bind["readonly"]) == (1, "/s", True)
    assert cache["cacheOpt"] == {"ID": "c", "sharing": 2}
    assert tmpfs["TmpfsOpt"] == {"size": 5}
    assert secret["secretOpt"] == {"ID": "s", "mode": 0o400}
    assert ssh["SSHOpt"] == {"ID": "default", "mode": 0o600, "optional": True}
    assert "pass" not in json.dumps(step)


def test_merges_and_downloads() -> None:
    """A download is named without its password."""
    loaded = Vertex(op=HttpOp(url="https://me:pass@h/f", filename="f"))
    steps = steps_of(Vertex(op=MergeOp(), inputs=(BASE, loaded)), {}).definition()
    assert steps[1]["op"]["Op"]["source"] == {
        "identifier": "https://xxxxx:xxxxx@h/f",
        "attrs": {"http.filename": "f"},
    }
    assert steps[2]["op"]["Op"] == {"merge": {"inputs": [{"input": 0}, {"input": 1}]}}


def test_steps_know_their_lines() -> None:
    """Where they have some; both ends count."""
    file = SourceFile("Dockerfile", "FROM x\nRUN a \\\n  b\n")
    op = MakeDirOp(path="/a")
    steps = steps_of(Vertex(op=op, inputs=(BASE,), span=Span(file, 7, 18)), {})
    lines = {"start": {"line": 2}, "end": {"line": 3}}
    assert steps.locations() == {"step1": {"locations": [{"ranges": [lines]}]}}


def test_a_long_chain_is_no_deep_recursion() -> None:
    """There are Dockerfiles with thousands of steps."""
    vertex = BASE
    for number in range(3000):
        vertex = Vertex(op=MakeDirOp(path=f"/{number}"), inputs=(vertex,))
    assert len(steps_of(vertex, {}).vertices) == 3001


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h/a@b", "https://h/a@b"),
        ("https://me@h/a", "https://xxxxx@h/a"),
        ("https://me:pa@ss@h/a", "https://xxxxx:xxxxx@h/a"),
        ("https://:pass@h", "https://xxxxx:xxxxx@h"),
        ("docker-image://alpine@sha256:0", "docker-image://alpine@sha256:0"),
        ("https://h?a=b@c", "https://h?a=b@c"),
        ("me@h", "me@h"),
    ],
)
def test_urls_lose_their_passwords(url: str, expected: str) -> None:
    """What is no name of a user stays."""
    assert redacted(url) == expected
