"""`RUN --mount` and `RUN --device`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.instructions.mount import (
    Device,
    MountFlag,
    MountType,
    parse_device,
    parse_mount,
)
from lamina.dockerfile.instructions.parse import parse_instruction
from lamina.dockerfile.parser import parse_syntax
from lamina.dockerfile.problems import MountError
from lamina.graph.mounts import Sharing
from lamina.source import SourceFile


def mount(option: str) -> MountFlag:
    return parse_mount(option, lambda word: word)


CACHE, SECRET, SSH, TMPFS = MountType.CACHE, MountType.SECRET, MountType.SSH, MountType.TMPFS


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("target=/a", MountFlag(target="/a")),
        ("dst=/a,src=b,from=c,rw", MountFlag(target="/a", source="b", from_="c", read_only=False)),
        ("type=bind,readwrite=false", MountFlag(read_only=True)),
        ("TYPE=cache,destination=/a", MountFlag(type=CACHE, target="/a", read_only=False)),
        ("type=CACHE,ro,sharing=Locked", MountFlag(type=CACHE, sharing=Sharing.LOCKED)),
        (
            "type=cache,id=i,mode=0700,uid=1,gid=2",
            MountFlag(type=CACHE, id="i", mode=0o700, uid=1, gid=2, read_only=False),
        ),
        ("type=tmpfs,size=1.5m", MountFlag(type=TMPFS, size=3 << 19, read_only=False)),
        ("type=secret,id=s,env=E,required", MountFlag(type=SECRET, id="s", env="E", required=True)),
        ("type=secret,id=s,env=", MountFlag(type=SECRET, id="s", env="")),
        ("type=ssh,required=false", MountFlag(type=SSH)),
        ('"source=a,b",target="/c""d"', None),
        ('"source=a,b",target=/c', MountFlag(source="a,b", target="/c")),
    ],
)
def test_options(option: str, expected: MountFlag | None) -> None:
    """Every option has its field; bind, secret and ssh are read-only unless they say otherwise."""
    if expected is None:
        with pytest.raises(MountError):
            mount(option)
        return
    assert mount(option) == expected


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("", "failed to parse csv mounts: EOF"),
        (
            'a"b',
            (
                "failed to parse csv mounts: parse error on line 1, column 2: "
                'bare " in non-quoted-field'
            ),
        ),
        (
            '"a"b',
            (
                "failed to parse csv mounts: parse error on line 1, column 3: "
                'extraneous or missing " in quoted-field'
            ),
        ),
        ("foo", "invalid field 'foo' must be a key=value pair"),
        ("type=cash", 'unsupported mount type "cash" (did you mean cache?)'),
        ("tipe=cache", "unexpected key 'tipe' in 'tipe=cache' (did you mean type?)"),
        ("sharing=loked", 'unsupported sharing value "loked" (did you mean locked?)'),
        ("sharing=locked", "invalid cache sharing set for bind mount"),
        ("ro=x", "invalid value for ro: x"),
        ("required", "unexpected key 'required' for mount type 'bind'"),
        ("required=x", "unexpected key 'required' for mount type 'bind'"),
        ("size=1", "unexpected key 'size' for mount type 'bind'"),
        ("type=tmpfs,size=1q", "invalid value for size: 1q"),
        ("mode=0700", 'mode not allowed for "bind" type mounts'),
        ("type=cache,mode=8", "invalid value 8 for mode"),
        ("type=cache,uid=4294967296", "invalid value 4294967296 for uid"),
        ("type=cache,gid=-1", "invalid value -1 for gid"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,src=b", "both source and id can't be set"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
    ],
)
def test_wrong_options(option: str, reason: str) -> None:
    """Each has its sentence, and the nearest right word where there is one."""
    with pytest.raises(MountError) as caught:
        mount(option)
    assert caught.value.reason == reason


@given(st.text(alphabet='abcdeimnoprstuy=,"$0 /', max_size=30))
def test_any_text_is_a_mount_or_a_mount_error(option: str) -> None:
    """Nothing else comes out."""
    try:
        mount(option)
        parse_device(option)
    except MountError as error:
        assert error.reason  # noqa: PT017


def test_mounts_are_complete_once_expanded() -> None:
    """Before that only `from` is known, so that what a step needs can be told."""
    text = "RUN --mount=type=$T,from=s,target=/$A --mount=id=x,target=$B,type=cache x"
    (node,) = parse_syntax(SourceFile("Dockerfile", text)).instructions
    run = parse_instruction(node)
    assert isinstance(run, c.RunCommand)
    assert [m.from_ for m in run.mounts] == ["s", ""]
    values = {"$T": "cache", "/$A": "/a", "$B": "/b"}
    assert [(m.type, m.target) for m in run.expand(lambda w: values.get(w, w)).mounts] == [
        (MountType.CACHE, "/a"),
        (MountType.CACHE, "/b"),
    ]


def test_errors_of_expansion_stand_at_the_instruction() -> None:
    """A mount that is wrong only once it is expanded still has a span."""
    text = "FROM a\nRUN --mount=type=$T x\n"
    *_, node = parse_syntax(SourceFile("Dockerfile", text)).instructions
    run = parse_instruction(node)
    assert isinstance(run, c.RunCommand)
    with pytest.raises(MountError) as caught:
        run.expand(lambda _: "nothing")
    assert caught.value.span is not None
    assert caught.value.span.line == 2


@pytest.mark.parametrize("name", ["$a", "a$b"])
def test_from_takes_no_variables(name: str) -> None:
    """Stages must be known before anything is expanded; a dollar at the end is a dollar."""
    with pytest.raises(MountError, match="'from' doesn't support variable expansion"):
        parse_mount(f"from={name}", None)
    assert parse_mount("from=a$", None).from_ == "a$"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("vendor1.com/device=foo,required", Device(name="vendor1.com/device=foo", required=True)),
        ("name=v/d,required=false", Device(name="v/d")),
        ("v/d", Device(name="v/d")),
    ],
)
def test_devices(option: str, expected: Device) -> None:
    """The first field that is no key is the name."""
    assert parse_device(option) == expected


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("a,name=b", "device name already set to a"),
        ("a,b", "invalid field 'b' must be a key=value pair"),
        ("a,requird=1", "unexpected key 'requird' in 'requird=1' (did you mean required?)"),
        ("a,required=x", "invalid value for required: x"),
    ],
)
def test_wrong_devices(option: str, reason: str) -> None:
    """Each has its sentence."""
    with pytest.raises(MountError) as caught:
        parse_device(option)
    assert caught.value.reason == reason
