"""Values of single flags, parsed as Docker parses them."""

from __future__ import annotations

import pytest

from lamina.cli import flag_values as parse
from lamina.cli.key_values import choose, parse_environment_pairs, parse_pairs, parse_switch
from lamina.control.request import OutputRequest, SecretSource, SshSource
from lamina.errors import UsageError
from lamina.oci.platform import Platform


def output(type_: str, dest: str | None = None, **attributes: str) -> OutputRequest:
    return OutputRequest(type=type_, dest=dest, attributes=attributes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=oci,dest=x.tar", output("oci", "x.tar")),
        ("type=oci", output("oci")),
        ("type=oci,dest=dir,tar=false", output("oci", "dir", tar="false")),
        ("out", output("local", "out")),
        ("a=b", output("local", "a=b")),
        ("-", output("tar", "-")),
        ('type=local,"dest=a,b"', output("local", "a,b")),
        ("type=docker,dest=-", output("docker", "-")),
        ("type=docker", output("image")),
        ("type=image,name=a", output("image", name="a")),
        ("type=registry,name=a", output("image", push="true", name="a")),
        ("type=registry,push=false", output("image", push="false")),
        ("type=cacheonly", output("cacheonly")),
        ("TYPE=oci,rewrite-timestamp=true", None),
    ],
)
def test_outputs(text: str, expected: OutputRequest | None) -> None:
    """CSV with Docker's quoting, a bare path, or `-`."""
    if expected is None:
        assert parse.parse_output(text) == output("oci", **{"rewrite-timestamp": "true"})
    else:
        assert parse.parse_output(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type=oci,dest", "'dest' has no value"),
        ("a=b,dest=x", "type is required"),
        ("type=ocl,dest=x", "unknown type 'ocl'"),
        ("type=registry,dest=x", "has no dest"),
        ("type=local", "dest is required"),
        ("type=oci,tar=false", "dest is required"),
        ("type=local,dest=-", "cannot be written to -"),
        ("type=image,dest=x", "has no dest"),
        ('type=oci,"dest=x', "parse error"),
        ("type=oci,tar=perhaps,dest=x", "true or false"),
    ],
)
def test_outputs_that_make_no_sense(text: str, said: str) -> None:
    """Each is refused with what is wrong."""
    with pytest.raises(UsageError) as refused:
        parse.parse_output(text)
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id=a,src=f", SecretSource(id="a", path="f")),
        ("id=a,source=f", SecretSource(id="a", path="f")),
        ("type=file,id=a,src=f", SecretSource(id="a", path="f")),
        ("id=a,env=E", SecretSource(id="a", env="E")),
        ("type=env,id=a,src=E", SecretSource(id="a", env="E")),
        ("type=env,id=a", SecretSource(id="a", env="a")),
        ("id=SET", SecretSource(id="SET", env="SET")),
        ("id=unset", SecretSource(id="unset", path="unset")),
        ("type=file,id=SET", SecretSource(id="SET", path="SET")),
    ],
)
def test_secrets(text: str, expected: SecretSource) -> None:
    """Where nothing says otherwise, the variable of the secret's name, else the file."""
    assert parse.parse_secret(text, {"SET": "1"}) == expected


@pytest.mark.parametrize("text", ["src=f", "id=a,sorce=f", "id=a,src", "id=a,type=vault"])
def test_secrets_that_make_no_sense(text: str) -> None:
    """An unknown key is not passed over: the secret would be another one."""
    with pytest.raises(UsageError):
        parse.parse_secret(text, {})


def test_ssh() -> None:
    """The agent, a socket, or keys."""
    assert parse.parse_ssh("default") == SshSource(id="default")
    assert parse.parse_ssh("git=/a,/b") == SshSource(id="git", paths=("/a", "/b"))
    for text in ("", "=x", "a=", "a=raw=true,/s"):
        with pytest.raises(UsageError):
            parse.parse_ssh(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("busybox=oci-layout:///x", "busybox"),
        ("docker.io/library/busybox:latest=oci-layout:///x", "busybox"),
        ("alpine:3.20=oci-layout:///x", "alpine:3.20"),
        ("localhost:5000/a/b:c=oci-layout:///x", "localhost:5000/a/b:c"),
        ("base::linux/amd64=oci-layout:///x", "base::linux/amd64"),
    ],
)
def test_named_contexts_go_by_their_short_name(text: str, name: str) -> None:
    """However the name is written, FROM finds it."""
    assert parse.parse_named_context(text) == (name, "oci-layout:///x")


@pytest.mark.parametrize("text", ["x", "x=", "Bad Name=y", "x=target:y"])
def test_named_contexts_that_make_no_sense(text: str) -> None:
    """Name and value are both needed."""
    with pytest.raises(UsageError):
        parse.parse_named_context(text)


def test_tags_are_spelled_out() -> None:
    """Docker Hub and `latest` are filled in; a digest cannot be chosen."""
    assert str(parse.parse_tag("a")) == "docker.io/library/a:latest"
    assert str(parse.parse_tag("r.io/a:b")) == "r.io/a:b"
    for text in ("A", "a:", "a@sha256:" + "0" * 64):
        with pytest.raises(UsageError):
            parse.parse_tag(text)


def test_platforms_are_a_list() -> None:
    """Commas and repetition mean the same; each is kept once, as written."""
    host = Platform(os="linux", architecture="amd64")
    texts = ["linux/amd64,linux/arm64", "linux/amd64", "windows(10.0.1)/amd64"]
    expected = ("linux/amd64", "linux/arm64", "windows(10.0.1)/amd64")
    assert parse.parse_platforms(texts, host=host) == expected
    with pytest.raises(UsageError, match="not a platform"):
        parse.parse_platforms(["linux/amd64,"], host=host)


def test_ulimits() -> None:
    """One number is both limits; -1 is unlimited; soft is not above hard."""
    assert parse.parse_ulimit("nofile=1") == ("nofile", 1, 1)
    assert parse.parse_ulimit("core=1:-1") == ("core", 1, -1)
    for text in ("nofile", "nofile=", "nofiles=1", "nofile=2:1", "nofile=-1:1", "nofile=1:2:3"):
        with pytest.raises(UsageError):
            parse.parse_ulimit(text)


def test_hosts() -> None:
    """Both separators, IPv6 with and without brackets, this machine by Docker's name for it."""
    assert parse.parse_host("a:1.2.3.4") == (("a", "1.2.3.4"),)
    assert parse.parse_host("a=::1") == (("a", "::1"),)
    assert parse.parse_host("a:[::1]") == (("a", "::1"),)
    assert parse.parse_host("a=1.1.1.1,b=2.2.2.2") == (("a", "1.1.1.1"), ("b", "2.2.2.2"))
    assert parse.parse_host("h:host-gateway") == (("h", "127.0.0.1"),)
    for text in ("a", "a:", ":1.1.1.1", "a:b"):
        with pytest.raises(UsageError):
            parse.parse_host(text)


def test_annotations_keep_their_types() -> None:
    """`index:k=v` and `manifest[linux/amd64]:k=v` are checked and passed on."""
    assert parse.parse_annotation("k=v=w") == ("k", "v=w")
    name = "index,manifest[linux/amd64]:k"
    assert parse.parse_annotation(f"{name}=v") == (name, "v")
    for text in ("k", "=v", "indx:k=v", "index[:k=v"):
        with pytest.raises(UsageError):
            parse.parse_annotation(text)


def test_sizes() -> None:
    """Units are powers of 1024."""
    assert parse.parse_bytes("--shm-size", "64m") == 64 << 20
    with pytest.raises(UsageError, match="--shm-size"):
        parse.parse_bytes("--shm-size", "much")


def test_entitlements() -> None:
    """Only those that weaken nothing."""
    assert parse.parse_entitlement("network.host") == "network.host"
    for text in ("security.insecure", "device", "device=x", "network.hots"):
        with pytest.raises(UsageError):
            parse.parse_entitlement(text)


def test_pairs() -> None:
    """A name alone is empty for labels, and the environment's value for build arguments."""
    assert parse_pairs("--label", ["a=1", "b", "a=2=3"]) == {"a": "2=3", "b": ""}
    environ = {"B": "x"}
    assert parse_environment_pairs("--build-arg", ["A=", "B", "C"], environ) == {"A": "", "B": "x"}
    with pytest.raises(UsageError):
        parse_pairs("--label", ["=x"])


def test_booleans_are_spelled_as_in_go() -> None:
    """`1`, `t`, `TRUE` and their opposites."""
    assert parse_switch("--x", "T")
    assert not parse_switch("--x", "False")
    with pytest.raises(UsageError):
        parse_switch("--x", "yes")


def test_an_unknown_choice_names_the_nearest() -> None:
    """Else all there are."""
    with pytest.raises(UsageError) as near:
        choose("--progress", "plian", ("plain", "tty"))
    assert near.value.hint == "did you mean plain?"
    with pytest.raises(UsageError) as far:
        choose("--progress", "xxxxxxxxx", ("plain", "tty"))
    assert far.value.hint == "it is one of plain, tty"
