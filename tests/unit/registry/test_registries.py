"""registries.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.errors import UserError
from lamina.oci.reference import parse_reference
from lamina.registry.hosts import Place
from lamina.registry.registries import Registries, load_registries

MIRROR = '[[registry]]\nlocation = "a.b"\n[[registry.mirror]]\nlocation = "c.d"\n'
DIGEST = f"sha256:{'0' * 64}"


def load(tmp_path: Path, text: str) -> Registries:
    """As the only file of a system and a user who have no others."""
    path = tmp_path / "registries.conf"
    path.write_text(text)
    environ = {"CONTAINERS_REGISTRIES_CONF": str(path)}
    return load_registries(environ, system=str(tmp_path / "none"))


def to_read(registries: Registries, name: str) -> list[str]:
    places = registries.to_read(parse_reference(name))
    return [f"{place}{' insecure' if place.insecure else ''}" for place in places]


def test_no_file_changes_nothing(tmp_path: Path) -> None:
    """A repository is where its name says."""
    registries = load_registries({"HOME": str(tmp_path)}, system=str(tmp_path))
    assert to_read(registries, "alpine") == ["docker.io/library/alpine"]
    assert registries.to_write(parse_reference("a.b/c")) == Place(domain="a.b", path="c")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("example.com/foo/app", "other.example/bar/app"),
        ("example.com/foo/app:v1", "other.example/bar/app"),
        ("example.com/foo", "other.example/bar"),
        ("example.com/foobar/app", "example.com/foobar/app"),
        ("example.com/foo/deep/app", "deep.example:5000/app"),
        ("alpine", "hub.example/library/alpine"),
        ("a.internal.example/x", "one.example/all/x"),
        ("b.c.internal.example/x/y", "one.example/all/x/y"),
        ("internal.example/x", "internal.example/x"),
        ("exact.internal.example/x", "exact.example/x"),
    ],
)
def test_the_longest_prefix_decides(tmp_path: Path, name: str, place: str) -> None:
    """The location stands in its place; whole components count; `*.` stands for any host."""
    registries = load(
        tmp_path,
        """
        unqualified-search-registries = ["quay.io"]
        [[registry]]
        prefix = "example.com/foo"
        location = "other.example/bar"
        [[registry]]
        prefix = "example.com/foo/deep/"
        location = "deep.example:5000/"
        [[registry]]
        prefix = "docker.io"
        location = "hub.example"
        [[registry]]
        prefix = "*.internal.example"
        location = "one.example/all"
        [[registry]]
        prefix = "exact.internal.example"
        location = "exact.example"
        """,
    )
    assert to_read(registries, name) == [place]
    assert str(registries.to_write(parse_reference(name))) == place


def test_mirrors_are_read_first_and_never_written(tmp_path: Path) -> None:
    """In order, each secure or not by itself."""
    registries = load(
        tmp_path,
        """
        [[registry]]
        location = "example.com"
        insecure = true
        [[registry.mirror]]
        location = "one.example/copy"
        [[registry.mirror]]
        location = "localhost:5000"
        insecure = true
        """,
    )
    assert to_read(registries, "example.com/app:v1") == [
        "one.example/copy/app",
        "localhost:5000/app insecure",
        "example.com/app insecure",
    ]
    written = registries.to_write(parse_reference("example.com/app:v1"))
    assert written == Place(domain="example.com", path="app", insecure=True)


@pytest.mark.parametrize(
    ("registry", "mirror", "by_tag", "by_digest"),
    [
        ("", "", 1, 1),
        ("mirror-by-digest-only = true", "", 0, 1),
        ("", 'pull-from-mirror = "digest-only"', 0, 1),
        ("", 'pull-from-mirror = "tag-only"', 1, 0),
        ("", 'pull-from-mirror = "all"', 1, 1),
    ],
)
def test_mirrors_may_be_for_tags_or_digests(
    tmp_path: Path, registry: str, mirror: str, by_tag: int, by_digest: int
) -> None:
    """A mirror that is not trusted to know what a tag means is not asked."""
    text = f"""
        [[registry]]
        location = "example.com"
        {registry}
        [[registry.mirror]]
        location = "mirror.example"
        {mirror}
    """
    registries = load(tmp_path, text)
    assert len(to_read(registries, "example.com/app:v1")) == 1 + by_tag
    assert len(to_read(registries, f"example.com/app@{DIGEST}")) == 1 + by_digest


def test_a_blocked_registry(tmp_path: Path) -> None:
    """Neither read nor written, and the file is named."""
    text = '[[registry]]\nlocation = "example.com/bad"\nblocked = true\n'
    registries = load(tmp_path, text)
    for use in (registries.to_read, registries.to_write):
        with pytest.raises(UserError, match=r"registries\.conf blocks example\.com/bad"):
            use(parse_reference("example.com/bad/app"))
    assert registries.to_read(parse_reference("example.com/good"))


def test_files_in_order(tmp_path: Path) -> None:
    """The user's file stands for the system's; drop-ins of both are added, the later one wins."""

    def write(path: str, prefix: str, location: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'[[registry]]\nprefix = "{prefix}"\nlocation = "{location}"\n')

    def place(name: str) -> str:
        environ = {"HOME": str(tmp_path / "home")}
        return to_read(load_registries(environ, system=str(tmp_path / "etc")), name)[0]

    write("etc/containers/registries.conf", "a.example", "system.example")
    assert place("a.example/x") == "system.example/x"
    write("home/.config/containers/registries.conf", "b.example", "user.example")
    assert place("a.example/x") == "a.example/x"
    assert place("b.example/x") == "user.example/x"
    write("etc/containers/registries.conf.d/10-a.conf", "b.example", "drop.example")
    write("etc/containers/registries.conf.d/20-a.conf", "c.example", "early.example")
    write("home/.config/containers/registries.conf.d/00-a.conf", "c.example", "late.example")
    write("etc/containers/registries.conf.d/other.txt", "c.example", "ignored.example")
    assert place("b.example/x") == "drop.example/x"
    assert place("c.example/x") == "late.example/x"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[registry", "not a valid registries.conf"),
        ("[registry]\n", "not a valid registries.conf"),
        ("[[registry]]\nlocation = 3\n", "not a valid registries.conf"),
        ("[[registry]]\ninsecure = true\n", "neither a prefix nor a location"),
        ('[[registry]]\nprefix = "a.b"\n', "has no location"),
        ('[[registry]]\nlocation = "https://a.b"\n', "only a name can stand"),
        ('[[registry]]\nlocation = "a.b"\n[[registry.mirror]]\nlocation = ""\n', "no location"),
        (
            f'{MIRROR}pull-from-mirror = "never"\n',
            "not a valid registries.conf",
        ),
        (
            f'[[registry]]\nmirror-by-digest-only = true\n{MIRROR[13:]}pull-from-mirror = "all"\n',
            "both mirror-by-digest-only and pull-from-mirror",
        ),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    """What is wrong is said, and where; nothing is guessed."""
    with pytest.raises(UserError, match=words) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "registries.conf") in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Whoever chooses one means it."""
    with pytest.raises(UserError, match="missing"):
        load_registries({"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "missing")})


@pytest.mark.parametrize("location", ["mirror", "a.b/Case", "a.b/_"])
def test_a_location_that_makes_no_name(tmp_path: Path, location: str) -> None:
    """It is not taken for something at Docker Hub."""
    registries = load(tmp_path, f'[[registry]]\nprefix = "a.b"\nlocation = "{location}"\n')
    with pytest.raises(UserError, match=r"registries\.conf"):
        registries.to_read(parse_reference("a.b/app"))
