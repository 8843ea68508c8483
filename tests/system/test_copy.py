"""COPY, ADD and the build context, as whole builds make them."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.support.commands import Outcome
from tests.support.copying import Files, lay_out
from tests.support.images import Image, Node, read_image
from tests.support.lamina import Lamina

pytestmark = pytest.mark.root

CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
Member = tuple[str, bytes | str | None, int, int, int]
"""Name; content, a link's target, or None for a directory; mode, uid, gid."""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "context", {})


Build = Callable[..., Image]


@pytest.fixture
def build(lamina: Lamina, context: Path, tmp_path: Path) -> Build:
    """Builds the context with this Dockerfile; the image that comes out."""

    def run(dockerfile: str, *options: str, said: list[str] | None = None) -> Image:
        lay_out(context, {"Dockerfile": dockerfile})
        image = tmp_path / "image.tar"
        outcome = lamina.build(context, f"--output=type=oci,dest={image}", *options)
        outcome.must_succeed()
        if said is not None:
            said.append(outcome.said)
        return read_image(image)

    return run


def fail(lamina: Lamina, context: Path, dockerfile: str) -> Outcome:
    lay_out(context, {"Dockerfile": dockerfile})
    return lamina.build(context, "--output=type=cacheonly").must_fail()


def tar(*members: Member, hard: tuple[str, str] | None = None, xattr: str = "") -> bytes:
    """`hard` is one more name, and the name that it repeats; `xattr` the file with capabilities."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content, mode, uid, gid in members:
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid = mode, uid, gid
            if name == xattr:
                value = CAPABILITY.decode("utf-8", "surrogateescape")
                info.pax_headers = {"SCHILY.xattr.security.capability": value}
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
        if hard is not None:
            info = tarfile.TarInfo(hard[0])
            info.type, info.linkname = tarfile.LNKTYPE, hard[1]
            archive.addfile(info)
    return stream.getvalue()


def digest(content: bytes | str) -> str:
    data = content if isinstance(content, bytes) else content.encode()
    return hashlib.sha256(data).hexdigest()


def files(image: Image) -> dict[str, Node]:
    return {path: node for path, node in image.tree().items() if path}


def modes(image: Image, *paths: str) -> list[str]:
    tree = image.tree()
    return [f"{tree[path].mode:o} {tree[path].owner[0]}:{tree[path].owner[1]}" for path in paths]


def links_of(image: Image) -> dict[str, str]:
    """The hard links of the last layer."""
    with tarfile.open(fileobj=io.BytesIO(image.layers[-1])) as layer:
        return {member.name: member.linkname for member in layer if member.islnk()}


def cached(said: str, step: str) -> bool:
    """Whether the progress says that the step was cached."""
    number = re.search(rf"^#(\d+) \[[^\]]*\] {re.escape(step)}$", said, re.MULTILINE)
    assert number, said
    return f"#{number[1]} CACHED" in said


def test_wildcards_and_destinations(build: Build, context: Path) -> None:
    """What is copied where, for patterns, directories and slashes."""
    lay_out(context, {"foo.go": "foo", "bar.go": "bar", "sub/dir1/dir2/foo": "deep"})
    image = build(
        "FROM scratch\nCOPY *.go /gofiles/\nCOPY f*.go foo2.go\nCOPY sub/* /subdest/\n"
        "COPY sub/*/dir2/foo /subdest2/\nCOPY sub/*/dir2/foo /subdest3/bar\n"
        "COPY sub/dir1/ subdest4\nCOPY sub/dir1/. subdest5\nCOPY sub/dir1 subdest6\n"
        "COPY nomatch* foo.go /last/\n"
    )
    got = {path: node.content for path, node in files(image).items() if node.kind == "file"}
    assert got == {
        "gofiles/foo.go": digest("foo"),
        "gofiles/bar.go": digest("bar"),
        "foo2.go": digest("foo"),
        "subdest/dir2/foo": digest("deep"),
        "subdest2/foo": digest("deep"),
        "subdest3/bar": digest("deep"),
        "subdest4/dir2/foo": digest("deep"),
        "subdest5/dir2/foo": digest("deep"),
        "subdest6/dir2/foo": digest("deep"),
        "last/foo.go": digest("foo"),
    }


def test_from_a_stage_everything_is_kept(build: Build, context: Path) -> None:
    """Owners, special modes, capabilities and hard links travel from stage to stage."""
    archive = tar(
        ("dir", None, 0o2750, 100, 200),
        ("dir/file", b"x", 0o4755, 101, 201),
        ("dir/link", "../nowhere", 0o777, 102, 202),
        ("dir/able", b"y", 0o755, 0, 0),
        hard=("dir/same", "dir/file"),
        xattr="dir/able",
    )
    lay_out(context, {"t.tar": archive})
    image = build("FROM scratch AS one\nADD t.tar /\nFROM scratch\nCOPY --from=one / /out/\n")
    assert modes(image, "out", "out/dir", "out/dir/file", "out/dir/same", "out/dir/link") == [
        "755 0:0",
        "2750 100:200",
        "4755 101:201",
        "4755 101:201",
        "777 102:202",
    ]
    names = [name for name, _ in image.tree()["out/dir/able"].xattrs]
    assert [name.removeprefix("SCHILY.xattr.") for name in names] == ["security.capability"]
    assert links_of(image) == {"out/dir/same": "out/dir/file"}
    image = build(
        "FROM scratch AS one\nADD t.tar /\nFROM scratch\nCOPY --exclude=x --from=one / /\n"
    )
    assert links_of(image) == {"dir/same": "dir/file"}


def test_owners_of_directories_that_were_there(build: Build, context: Path) -> None:
    """New things belong to --chown, or to whom the source says; what was there to whom it did."""
    source = tar(
        ("dir", None, 0o755, 100, 200),
        ("dir/subdir", None, 0o755, 101, 201),
        ("dir/subdir/nested", b"", 0o644, 102, 202),
    )
    base = tar(
        ("existing", None, 0o755, 500, 600),
        ("existing/subdir", None, 0o700, 501, 601),
        ("existing/other", None, 0o755, 502, 602),
    )
    lay_out(context, {"source.tar": source, "base.tar": base})
    head = "FROM scratch AS source\nADD source.tar /\nFROM scratch\nADD base.tar /\n"
    paths = ("existing", "existing/other", "existing/subdir", "existing/subdir/nested", "dir")
    copies = "COPY --from=source {0} /dir /dir\nCOPY --from=source {0} /dir/. /existing\n"
    assert modes(build(head + copies.format("")), *paths) == [
        "755 500:600",
        "755 502:602",
        "755 101:201",
        "644 102:202",
        "755 0:0",
    ]
    assert modes(build(head + copies.format("--chown=300:400")), *paths) == [
        "755 500:600",
        "755 502:602",
        "755 300:400",
        "644 300:400",
        "755 300:400",
    ]


@pytest.mark.parametrize(
    ("copied", "there", "missing"),
    [
        ("/test/a/b/./c/d /out/", ["out/c/d/e", "out/c/d/foo"], ["out/a", "out/e"]),
        ("/test/a/b/c/d/. /out/", ["out/test/a/b/c/d/e", "out/test/a/b/c/d/foo"], []),
        ("./test/a/b/c/d /out/", ["out/test/a/b/c/d/foo"], ["out/test/a/b2"]),
        ("/test/a/./b/./c /out/", ["out/b/c/d/foo"], ["out/b/c2"]),
        ("/test/a/./*/c /out/", ["out/b/c/d/e", "out/b2/c/d/e/bar"], ["out/b/c2"]),
        ("/test/a/b*/./c/**/e /out/", ["out/c/d/e/bay", "out/c/d/e/bar"], ["out/c/d/foo"]),
        (
            "/test/a/b/c*/./d/**/baz /test/a/b*/./c/**/bar /out/",
            ["out/d/e/baz", "out/d/e2/baz", "out/c/d/e/bar"],
            ["out/d/e/bay"],
        ),
        ("/test/a/b9*/c /out/", ["out"], ["out/test"]),
    ],
)
def test_parents(
    build: Build, context: Path, copied: str, there: list[str], missing: list[str]
) -> None:
    """--parents keeps the directories behind the pivot."""
    names = ("b/c/d/foo", "b/c/d/e/bay", "b2/c/d/e/bar", "b/c2/d/e/baz", "b/c2/d/e2/baz")
    lay_out(context, {f"test/a/{name}": "" for name in names})
    head = "FROM scratch AS base\nCOPY test /test\nFROM scratch\n"
    tree = build(f"{head}COPY --from=base --parents {copied}\n").tree()
    assert [path for path in there if path not in tree] == []
    assert [path for path in missing if path in tree] == []


@pytest.mark.parametrize(
    ("instruction", "left"),
    [
        (
            "COPY --exclude=*/*.png --exclude=*/*.jpeg . /1",
            {"1/dir1/a.txt", "1/dir2/b.pdf", "1/dir3/c.mp3"},
        ),
        ("ADD --exclude=*.mp3 dir3/ /3/", set()),
        ("COPY --exclude=*.txt --exclude=*.p* dir* /4/", {"4/a.jpeg", "4/c.mp3"}),
        ("ADD --exclude=* dir* /6", set()),
        ("COPY --exclude=* --exclude=!dir1/a.txt . /7/", {"7/dir1/a.txt"}),
        ("COPY --parents --exclude=**/*.p* dir1 dir2 /8/", {"8/dir1/a.txt", "8/dir1/a.jpeg"}),
    ],
)
def test_exclude(build: Build, context: Path, instruction: str, left: set[str]) -> None:
    """Patterns of --exclude are relative to what is copied."""
    names = ("dir1/a.png", "dir1/a.txt", "dir1/a.jpeg", "dir2/b.pdf", "dir2/b.png", "dir3/c.mp3")
    lay_out(context, {**dict.fromkeys(names, ""), ".dockerignore": "Dockerfile\n.dockerignore\n"})
    tree = build(f"FROM scratch\n{instruction}\n").tree()
    assert {path for path, node in tree.items() if node.kind == "file"} == left


class TestArchives:
    """ADD of tars."""

    def test_several_by_a_wildcard(self, build: Build, context: Path) -> None:
        """Every one is unpacked into the destination."""
        lay_out(
            context,
            {f"t{n}.tar": tar((f"f{n}", b"%d" % n, 0o600, n, n)) for n in (1, 2)},
        )
        tree = build("FROM scratch\nADD t*.tar /dest\n").tree()
        assert tree["dest/f1"].content == digest("1")
        assert tree["dest/f2"].owner == (2, 2)

    def test_through_an_absolute_link(self, build: Build, context: Path) -> None:
        """A link of the image leads within the image, hard links included."""
        rootfs = tar(("run", None, 0o755, 0, 0), ("var/run", "/run", 0o777, 0, 0))
        head = ("var/run/act/HEAD", b"ref", 0o644, 0, 0)
        lay_out(
            context,
            {"rootfs.tar": rootfs, "payload.tar": tar(head, hard=("var/run/act/copy", head[0]))},
        )
        tree = build("FROM scratch\nADD rootfs.tar /\nADD payload.tar /\n").tree()
        assert tree["run/act/HEAD"].content == tree["run/act/copy"].content == digest("ref")
        assert tree["var/run"].kind == "symlink"

    @pytest.mark.parametrize("name", ["../escaped", "a/../../escaped", "link/escaped"])
    def test_that_leave_their_directory(
        self, lamina: Lamina, context: Path, tmp_path: Path, name: str
    ) -> None:
        """Nothing is written outside, and the error is one line."""
        link = ("link", f"../../../../../../..{tmp_path}", 0o777, 0, 0)
        lay_out(context, {"t.tar": tar(link, (name, b"", 0o644, 0, 0))})
        fail(lamina, context, "FROM scratch\nADD t.tar /out/\n")
        assert not (tmp_path / "escaped").exists()


class TestContext:
    """What a build may see of the machine."""

    @pytest.mark.parametrize("source", ["../secret", "link", "dir/secret", "absolute"])
    def test_nothing_outside_is_copied(
        self, lamina: Lamina, context: Path, tmp_path: Path, source: str
    ) -> None:
        """Neither `..` nor a link leads out of the context."""
        lay_out(tmp_path, {"secret": "secret"})
        lay_out(
            context,
            {"link": "-> ../secret", "dir": "-> ..", "absolute": f"-> {tmp_path}/secret"},
        )
        said = fail(lamina, context, f"FROM scratch\nCOPY {source} /\n").said
        assert re.search(r'failed to calculate checksum of ref \w+: "/.*": not found', said)

    def test_an_ignored_file_says_why(self, lamina: Lamina, context: Path) -> None:
        """The line of the ignore file stands in the error."""
        lay_out(context, {"app.log": "", ".dockerignore": "# logs\n*.log\n"})
        said = fail(lamina, context, "FROM scratch\nCOPY app.log /\n").said
        assert '"/app.log": not found' in said
        assert "excluded by .dockerignore line 2" in said

    def test_a_mistyped_name(self, lamina: Lamina, context: Path) -> None:
        """The nearest name is offered."""
        lay_out(context, {"src/main.py": ""})
        said = fail(lamina, context, "FROM scratch\nCOPY src/mian.py /\n").said
        assert "did you mean /src/main.py?" in said

    def test_special_files(self, build: Build, context: Path) -> None:
        """Links, modes, attributes and names that are no text."""
        lay_out(context, {"d/file": "x", "d/link": "-> /absolute"})
        (context / "d/file").chmod(0o6711)
        (context / os.fsdecode(b"d/\xff")).write_bytes(b"y")
        subprocess.run(["mkfifo", "-m", "640", context / "d/fifo"], check=True)
        tree = build("FROM scratch\nCOPY d /d\n").tree()
        assert tree["d/file"].mode == 0o6711
        assert tree["d/link"].link == "/absolute"
        assert tree["d/fifo"].kind == "fifo"
        assert tree[os.fsdecode(b"d/\xff")].content == digest("y")

    def test_a_tar_on_standard_input(self, lamina: Lamina, tmp_path: Path) -> None:
        """It is the context, with its Dockerfile."""
        dockerfile = b"FROM scratch\nCOPY file /\n"
        archive = tar(("Dockerfile", dockerfile, 0o644, 0, 0), ("file", b"x", 0o640, 0, 0))
        image = tmp_path / "image.tar"
        lamina.build("-", f"--output=type=oci,dest={image}", stdin=archive).must_succeed()
        assert modes(read_image(image), "file") == ["640 0:0"]

    def test_a_dockerfile_on_standard_input(self, lamina: Lamina, tmp_path: Path) -> None:
        """Alone it has an empty context."""
        image = tmp_path / "image.tar"
        text = b"FROM scratch\nWORKDIR /made\n"
        lamina.build("-", f"--output=type=oci,dest={image}", stdin=text).must_succeed()
        assert set(files(read_image(image))) == {"made"}


class TestCache:
    """Which steps a change of the context reaches."""

    DOCKERFILE = "FROM scratch\nCOPY a* /a/\nCOPY b /b/\nCOPY c/. /c/\n"
    FILES: ClassVar[Files] = {"a1": "1", "b": "2", "c/d/e": "3", "unused": ""}

    def steps(self, said: str) -> list[bool]:
        return [cached(said, step) for step in self.DOCKERFILE.splitlines()[1:]]

    @pytest.mark.parametrize(
        ("change", "want"),
        [
            (lambda root: None, [True, True, True]),
            (lambda root: os.utime(root / "b", ns=(1, 1)), [True, True, True]),
            (lambda root: (root / "unused").write_text("x"), [True, True, True]),
            (lambda root: (root / "b").write_text("x"), [True, False, False]),
            (lambda root: (root / "b").chmod(0o755), [True, False, False]),
            (lambda root: (root / "c/d/new").write_text(""), [True, True, False]),
            (lambda root: (root / "c").chmod(0o700), [True, True, True]),
            (lambda root: (root / "c/d").chmod(0o700), [True, True, False]),
            (lambda root: (root / "a1").rename(root / "a2"), [False, False, False]),
        ],
    )
    def test_changes(
        self, build: Build, context: Path, change: Callable[[Path], object], want: list[bool]
    ) -> None:
        """Only what is copied matters, and times do not."""
        lay_out(context, self.FILES)
        said: list[str] = []
        build(self.DOCKERFILE, said=said)
        assert self.steps(said[0]) == [False, False, False]
        change(context)
        build(self.DOCKERFILE, said=said)
        assert self.steps(said[1]) == want


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """The address of a web server, its directory, and the requests that it gets."""
    root = lay_out(tmp_path / "web", {})
    seen: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            seen.append(format % args)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", root, seen
        server.shutdown()


def test_add_from_the_web(build: Build, web: tuple[str, Path, list[str]]) -> None:
    """A file is 0600 and dated by the server; the next build only asks whether it changed."""
    url, root, seen = web
    lay_out(root, {"file": "content"})
    os.utime(root / "file", (1_000_000_000, 1_000_000_000))
    said: list[str] = []
    dockerfile = f"FROM scratch\nADD {url}/file /dest/\nADD --chmod=755 {url}/file /other\n"
    tree = build(dockerfile, said=said).tree()
    assert (tree["dest/file"].mode, tree["dest/file"].mtime) == (0o600, 1_000_000_000)
    assert tree["other"].mode == 0o755
    assert len(seen) == 1
    build(dockerfile, said=said)
    assert cached(said[1], f"ADD {url}/file /dest/")
    assert "304" in seen[1]


def test_add_with_a_checksum(
    lamina: Lamina, context: Path, web: tuple[str, Path, list[str]]
) -> None:
    """A file with another digest fails the build."""
    url, root, _ = web
    lay_out(root, {"file": "content"})
    wrong = f"sha256:{digest('other')}"
    said = fail(lamina, context, f"FROM scratch\nADD --checksum={wrong} {url}/file /\n").said
    assert "digest mismatch" in said
