from __future__ import annotations

import json
from typing import Any

import msgspec

from lamina.control.building.bases import ImageOrigin
from lamina.control.building.provenance import BuildFacts, provenance, steps_below
from lamina.control.request import BuildRequest, ProvenanceRequest
from lamina.graph.mounts import SecretMount
from lamina.graph.ops import ExecOp, ImageOp, LocalOp, MergeOp, ScratchOp
from lamina.graph.vertex import Vertex
from lamina.layer.stack import Layer
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import digest_of
from lamina.oci.platform import Platform
from lamina.oci.reference import parse_reference
from lamina.source import SourceFile

AMD64 = Platform(os="linux", architecture="amd64")
PULLED, MADE = digest_of(b"pulled"), digest_of(b"made")
BLOB = Descriptor(media_type="layer", digest=digest_of(b"blob"), size=4)
IMAGE = ImageOp(reference="docker.io/library/alpine:3", digest=digest_of(b"m"), platform=AMD64)
BASE = Vertex(op=IMAGE)
LOCAL = Vertex(op=LocalOp(name="extra"))
TOP = Vertex(
    op=ExecOp(
        args=("x",),
        mounts=(
            SecretMount(id="b", target="/b"),
            SecretMount(id="a", target="/a", required=True),
            SecretMount(id="b", target="/c", required=True),
        ),
        platform=AMD64,
    ),
    inputs=(BASE, LOCAL),
)
BELOW = (Layer(id=PULLED, blob=BLOB),)
FACTS = BuildFacts(
    request=BuildRequest(context="."),
    wanted=ProvenanceRequest(),
    dockerfile=SourceFile("Dockerfile", "FROM alpine:3\n"),
    origins={
        IMAGE: ImageOrigin(reference=parse_reference("alpine:3"), digest=IMAGE.digest, local=False)
    },
    results={BASE: BELOW, TOP: (*BELOW, Layer(id=MADE)), LOCAL: ()},
    content_of=lambda stack: MADE,
    builder=AMD64,
    name="name-of-the-build",
    started=1.25,
    finished=2.5,
)


def told(facts: BuildFacts = FACTS, epoch: int | None = None) -> dict[str, Any]:
    note = provenance(TOP, facts)
    assert note is not None
    return json.loads(note.predicate({MADE: BLOB}, epoch))  # type: ignore[no-any-return]


def requested(**flags: object) -> dict[str, Any]:
    """The parameters of a build with these flags."""
    request = msgspec.structs.replace(FACTS.request, **flags)
    said = told(msgspec.structs.replace(FACTS, request=request))
    return said["buildDefinition"]["externalParameters"]  # type: ignore[no-any-return]


def test_flags_have_the_names_that_buildkit_gives_them() -> None:
    """Those that make a difference; where folders lie, and passwords, are nobody's business."""
    found = requested(
        build_args={"A": "1", "http_proxy": "http://me:pass@proxy"},
        labels={"l": "2"},
        target="stage",
        no_cache_filter=("a", "b"),
        named_contexts={"d": "/home/me", "o": "oci-layout:///srv/x", "w": "https://u:p@h/f"},
        network="none",
        extra_hosts=(("h", "1.2.3.4"),),
        ulimits=(("nofile", 1, 2),),
        shm_size=5,
    )
    assert found["request"]["args"] == {
        "build-arg:A": "1",
        "build-arg:http_proxy": "http://xxxxx:xxxxx@proxy",
        "label:l": "2",
        "target": "stage",
        "no-cache": "a,b",
        "context:d": "local:d",
        "context:o": "oci-layout:o",
        "context:w": "https://xxxxx:xxxxx@h/f",
        "force-network-mode": "none",
        "add-hosts": "h=1.2.3.4",
        "ulimit": "nofile=1:2",
        "shm-size": "5",
    }
    assert "args" not in requested()["request"]


def test_a_remote_context_is_the_source() -> None:
    """Then neither context nor Dockerfile is a folder of this machine."""
    found = requested(context="https://me:pass@h/app.tar")
    source = {"uri": "https://xxxxx:xxxxx@h/app.tar", "path": "Dockerfile"}
    assert found["configSource"] == source
    assert found["request"]["locals"] == [{"name": "extra"}]
    here = requested()["request"]["locals"]
    assert [each["name"] for each in here] == ["context", "dockerfile", "extra"]


def test_secrets_are_told_once_by_their_ids() -> None:
    """One that a step must have is not optional, whatever other steps say."""
    assert requested()["request"]["secrets"] == [{"id": "a"}, {"id": "b"}]


def test_layers_are_told_where_all_have_a_blob() -> None:
    """Pulled ones have one; those made here have the one that the output wrote."""
    blob = {"mediaType": "layer", "digest": BLOB.digest, "size": 4}
    layers = told()["runDetails"]["metadata"]["buildkit_metadata"]["layers"]
    assert layers == {"step0:0": [[blob]], "step2:0": [[blob, blob]]}
    note = provenance(TOP, FACTS)
    assert note is not None
    without = json.loads(note.predicate({}, None))["runDetails"]["metadata"]
    assert without["buildkit_metadata"]["layers"].keys() == {"step0:0"}


def test_times() -> None:
    """Those of the build; SOURCE_DATE_EPOCH; none where the build is called reproducible."""
    keys = {"startedOn", "finishedOn", "invocationId"}

    def moments(facts: BuildFacts, epoch: int | None = None) -> dict[str, str]:
        metadata = told(facts, epoch)["runDetails"]["metadata"]
        return {key: value for key, value in metadata.items() if key in keys}

    assert moments(FACTS) == {
        "invocationId": "name-of-the-build",
        "startedOn": "1970-01-01T00:00:01.250000Z",
        "finishedOn": "1970-01-01T00:00:02.500000Z",
    }
    at = "1970-01-01T00:00:07Z"
    assert moments(FACTS, 7) == {"startedOn": at, "finishedOn": at}
    wanted = ProvenanceRequest(reproducible=True)
    assert moments(msgspec.structs.replace(FACTS, wanted=wanted)) == {}


def test_what_is_no_text_is_told_as_well_as_can_be() -> None:
    """An argument may hold any bytes, JSON may not."""
    assert requested(build_args={"A": "\udcff!"})["request"]["args"] == {"build-arg:A": "?!"}


def test_nothing_is_said_of_an_image_without_files() -> None:
    """It came from nowhere."""
    assert provenance(Vertex(op=ScratchOp()), FACTS) is None


def test_steps_below_several_images_are_counted_once() -> None:
    """Also those that images have in common; an empty tree is none."""
    other = Vertex(op=MergeOp(), inputs=(BASE, Vertex(op=ScratchOp())))
    assert steps_below([TOP, other]) == (BASE, LOCAL, TOP, other)
