"""What bad input gets: one clear error, a stable exit code, a store that still works."""

from __future__ import annotations

import io
import os
import shutil
import socket
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.commands import Outcome, program, run
from tests.support.images import read_image
from tests.support.lamina import Lamina
from tests.support.users import OrdinaryUser

pytestmark = pytest.mark.root

USER, USAGE, STEP, REMOTE, HOST = 1, 2, 3, 4, 5  # lamina.errors
PATIENCE = 60.0  # seconds
F = "FROM busybox\n"
CARET = "     | "


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory, busybox_image: Path) -> Lamina:
    """One store for all cases: what one of them breaks, the next ones show."""
    store = tmp_path_factory.mktemp("one") / "store"
    return Lamina(store=store, bases={"busybox": busybox_image})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A bad build. `files`: content, or a link's target as `-> target`, or None for a folder."""

    name: str
    dockerfile: str | bytes | None
    code: int
    words: tuple[str, ...]
    files: Mapping[str, str | bytes | None] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    line: int | None = None
    caret: str = ""


def archive(*members: tuple[str, bytes, str]) -> bytes:
    """A tar of members: name, type, and content or link."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, kind, text in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
            else:
                member.linkname = text
                tar.addfile(member)
    return stream.getvalue()


FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
ADD = F + "ADD a.tar /d/\n"

IN_THE_DOCKERFILE = [
    Case(
        name="a syntax error",
        dockerfile=F + "ENV a\n",
        code=USER,
        words=("ENV must have two arguments",),
        line=2,
    ),
    Case(
        name="an unknown instruction",
        dockerfile=F + "COPI a b\n",
        code=USER,
        words=("unknown instruction: COPI", "did you mean COPY?"),
        line=2,
        caret="COPI",
    ),
    Case(
        name="an unknown flag",
        dockerfile=F + "COPY --chwn=1 a b\n",
        code=USER,
        words=("unknown flag: --chwn", "did you mean chown?"),
        line=2,
        caret="--chwn",
    ),
    Case(
        name="an unknown mount option",
        dockerfile=F + "RUN --mount=typ=bind,target=/x true\n",
        code=USER,
        words=("unexpected key 'typ'", "did you mean type?"),
        line=2,
    ),
    Case(
        name="an unterminated heredoc",
        dockerfile=F + "RUN <<END\necho\n",
        code=USER,
        words=("unterminated heredoc", "just END"),
    ),
    Case(
        name="a stage that no FROM made",
        dockerfile="FROM busybox AS builder\nFROM busybox\nCOPY --from=bulder /a /b\n",
        code=REMOTE,
        words=("bulder", "did you mean the stage builder?"),
        line=3,
        caret="bulder",
    ),
    Case(
        name="a target that is no stage",
        dockerfile="FROM busybox AS builder\n",
        options=("--target=bulder",),
        code=USER,
        words=('target stage "bulder" could not be found', "did you mean builder?"),
    ),
    Case(
        name="stages in a circle",
        dockerfile="FROM busybox AS a\nCOPY --from=b / /x\nFROM busybox AS b\nCOPY --from=a / /x\n",
        code=USER,
        words=("circular dependency detected on stage: a",),
        line=2,
    ),
    Case(
        name="a malformed reference",
        dockerfile="FROM BusyBox\n",
        code=USER,
        words=("invalid reference format", "lower case"),
        line=1,
        caret="BusyBox",
    ),
    Case(
        name="a registry that is not there",
        dockerfile="FROM localhost:1/x\n",
        code=REMOTE,
        words=("localhost:1 cannot be reached", "oci-layout://"),
        line=1,
        caret="localhost:1/x",
    ),
    Case(
        name="a malformed platform",
        dockerfile="FROM --platform=a/b/c/d busybox\n",
        code=USER,
        words=("'a/b/c/d' is not a platform", "linux/arm64"),
        line=1,
    ),
    Case(
        name="an instruction before FROM",
        dockerfile="RUN x\n",
        code=USER,
        words=("no build stage", "before the first FROM"),
        line=1,
    ),
    Case(name="an empty file", dockerfile="", code=USER, words=("file with no instructions",)),
    Case(
        name="binary garbage",
        dockerfile=bytes(range(1, 256)) * 20,
        code=USER,
        words=("dockerfile parse error on line", "unknown instruction"),
    ),
    Case(
        name="a NUL byte",
        dockerfile=F + "RUN echo a\0b\n",
        code=USER,
        words=("cannot hold a NUL byte", "a\\x00b"),
        line=2,
    ),
    Case(
        name="a line of 10 MB",
        dockerfile=F + "RUN echo " + "x" * 10_000_000,
        code=USER,
        words=("line greater than max allowed size",),
        line=2,
    ),
    Case(
        name="a file of 17 MB",
        dockerfile=F + "#\n" * 8_500_000,
        code=USER,
        words=("larger than 16 MiB",),
    ),
    Case(
        name="no Dockerfile",
        dockerfile=None,
        files={"Dockerfil": F},
        code=USER,
        words=("open Dockerfile: no such file", "did you mean -f", "Dockerfil?"),
    ),
    Case(
        name="a folder",
        dockerfile=None,
        files={"Dockerfile": None},
        code=USER,
        words=("failed to read Dockerfile: it is a directory",),
    ),
    Case(
        name="a Dockerfile outside of the context",
        dockerfile=None,
        files={"Dockerfile": "-> /etc/passwd"},
        code=USER,
        words=("no such file", "a symlink that leads to nothing within the context"),
    ),
]

IN_THE_CONTEXT = [
    Case(
        name="a missing file",
        dockerfile=F + "COPY a missing.txt /x/\n",
        files={"a": "a", "missing.tx": ""},
        code=USER,
        words=('"/missing.txt": not found', "did you mean /missing.tx?"),
        line=2,
        caret="missing.txt",
    ),
    Case(
        name="above the context",
        dockerfile=F + "COPY ../x /\n",
        code=USER,
        words=('"/x": not found', "outside of the build context"),
        line=2,
        caret="../x",
    ),
    Case(
        name="through an absolute symlink",
        dockerfile=F + "COPY l/passwd /\n",
        files={"l": "-> /etc"},
        code=USER,
        words=('"/l/passwd": not found', "/l is a symlink to /etc"),
        line=2,
        caret="l/passwd",
    ),
    Case(
        name="a symlink to a file of the machine",
        dockerfile=F + "COPY l /\n",
        files={"l": "-> /etc/passwd"},
        code=USER,
        words=('"/l": not found', "/l is a symlink to /etc/passwd"),
        line=2,
    ),
    Case(
        name="an ignored file",
        dockerfile=F + "COPY b/secret.txt /\n",
        files={"b/secret.txt": "x", ".dockerignore": "# c\n\nfoo\n*.md\nz\n\n**/secret*\n"},
        code=USER,
        words=('"/b/secret.txt": not found', "excluded by .dockerignore line 7"),
        line=2,
        caret="b/secret.txt",
    ),
    Case(
        name="an archive with ..",
        dockerfile=ADD,
        files={"a.tar": archive(("../../evil", FILE, "x"))},
        code=USER,
        words=("the tar is malformed", "has .. in it"),
        line=2,
    ),
    Case(
        name="an archive with a symlink that leads out",
        dockerfile=ADD,
        files={"a.tar": archive(("l", LINK, "../../../../tmp"), ("l/evil", FILE, "x"))},
        code=USER,
        words=("the tar is malformed", "goes through a symlink that leaves it"),
        line=2,
    ),
    Case(
        name="an archive with a hard link to a file of the machine",
        dockerfile=ADD,
        files={"a.tar": archive(("h", HARD, "/etc/passwd"))},
        code=USER,
        words=("the tar is malformed", "no file in it"),
        line=2,
    ),
    Case(
        name="an archive that ends in the middle",
        dockerfile=ADD,
        files={"a.tar": archive(("f", FILE, "x" * 5000))[:4000]},
        code=USER,
        words=("the tar is malformed", "ends in the middle"),
        line=2,
    ),
    Case(
        name="a mode that is none",
        dockerfile=F + "COPY --chmod=999 a /\n",
        files={"a": ""},
        code=USER,
        words=("invalid chmod parameter: '999'",),
        line=2,
    ),
    Case(
        name="a file in the way",
        dockerfile=F + "COPY a /etc/passwd/x\n",
        files={"a": ""},
        code=USER,
        words=("/etc/passwd", "not a directory"),
        line=2,
    ),
]

ELF_OF_ANOTHER = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x16\x00\1\0\0\0" + bytes(200)

IN_A_STEP = [
    Case(
        name="a failure",
        dockerfile=F + "RUN echo decisive; exit 7\n",
        code=STEP,
        words=("did not complete successfully: exit code: 7", "decisive", "whole output is in"),
        line=2,
    ),
    Case(
        name="killed by a signal",
        dockerfile=F + "RUN sh -c 'kill -KILL $$'; exit $?\n",
        code=STEP,
        words=("exit code: 137",),
        line=2,
    ),
    Case(
        name="a missing secret",
        dockerfile=F + "RUN --mount=type=secret,id=tok,required=true true\n",
        code=USER,
        words=("secret tok: not found", "--secret id=tok,src=FILE"),
        line=2,
    ),
    Case(
        name="a secret that cannot be a variable",
        dockerfile=F + "RUN --mount=type=secret,id=tok,env=TOK true\n",
        files={"tok": b"a\0b"},
        options=("--secret=id=tok,src={context}/tok",),
        code=USER,
        words=("the value of TOK holds a NUL byte", "mounted as a file"),
        line=2,
    ),
    Case(
        name="a missing agent",
        dockerfile=F + "RUN --mount=type=ssh,required=true true\n",
        code=USER,
        words=("unset ssh forward key default", "--ssh default"),
        line=2,
    ),
    Case(
        name="an unknown user",
        dockerfile=F + "USER nobodyhere\nRUN id\n",
        code=USER,
        words=("unable to find user nobodyhere", "/etc/passwd"),
        line=3,
    ),
    Case(
        name="no shell",
        dockerfile="FROM scratch\nRUN echo hi\n",
        code=USER,
        words=('exec: "/bin/sh"', "the image has no /bin/sh"),
        line=2,
    ),
    Case(
        name="a missing program",
        dockerfile=F + 'RUN ["nosuch"]\n',
        code=USER,
        words=('exec: "nosuch": executable file not found in $PATH',),
        line=2,
    ),
    Case(
        name="a program for another processor",
        dockerfile=F + 'COPY --chmod=755 a /a\nRUN ["/a"]\n',
        files={"a": ELF_OF_ANOTHER},
        code=USER,
        words=("exec /a: exec format error", "another processor"),
        line=3,
    ),
    Case(
        name="a missing source of a bind mount",
        dockerfile=F + "RUN --mount=type=bind,source=nosuch,target=/m true\n",
        code=USER,
        words=('"/nosuch": not found',),
        line=2,
        caret="nosuch",
    ),
]

ON_THE_COMMAND_LINE = [
    Case(name=f"{option} {word}", dockerfile=F, options=(option,), code=code, words=(word,))
    for option, code, word in (
        ("--platfrom=linux/amd64", USAGE, "did you mean --platform?"),
        ("--output=type=bogus", USAGE, "unknown type 'bogus'"),
        ("--output=type=local", USAGE, "dest is required"),
        ("--output=type=oci,foo=bar", USAGE, "no attribute 'foo'"),
        ("--output=type=oci,dest={context}", USAGE, "is a directory"),
        ("--output=type=local,dest={context}/Dockerfile", USAGE, "is a file"),
        ("--output=type=oci,dest=/dev/full", HOST, "No space left on device"),
        ("--tag=UPPER", USAGE, "lower case"),
        ("--tag=a:b:c", USAGE, "invalid tag 'a:b:c'"),
        ("--iidfile=/proc/nosuch/x", USAGE, "there is no folder /proc/nosuch"),
        ("--metadata-file=/proc/nosuch/x", USAGE, "there is no folder /proc/nosuch"),
        ("--secret=id=x,src=/nosuch", USAGE, "cannot read /nosuch"),
        ("--build-arg==x", USAGE, "the name is missing"),
        ("--jobs=x", USAGE, "--jobs"),
        ("--network=bogus", USAGE, "default, none, host"),
        ("--file=/nosuch/Dockerfile", USER, "open /nosuch/Dockerfile: no such file"),
    )
]


@pytest.mark.parametrize(
    "case",
    [*IN_THE_DOCKERFILE, *IN_THE_CONTEXT, *IN_A_STEP, *ON_THE_COMMAND_LINE],
    ids=lambda case: case.name,
)
def test_bad_input(case: Case, one_store: Lamina, tmp_path: Path) -> None:
    """The error says what, where and what to do; the next build with this store is right."""
    context = lay_out(tmp_path / "context", case)
    options = [option.format(context=context) for option in case.options]
    if not any(option.startswith("--output") for option in options):
        options.append("--output=type=cacheonly")
    outcome = one_store.build(context, *options, timeout=PATIENCE)
    check(outcome, case.code, *case.words)
    if case.line is not None:
        assert f"Dockerfile:{case.line}\n" in outcome.stderr
        assert f" {case.line:3} | >>>" in outcome.stderr
    if case.caret:
        [carets] = [line for line in outcome.stderr.splitlines() if line.startswith(CARET)]
        assert carets.strip(" |") == "^" * len(case.caret)
        above = outcome.stderr.splitlines()[outcome.stderr.splitlines().index(carets) - 1]
        assert above[carets.index("^") :].startswith(case.caret)
    if case in (*IN_THE_CONTEXT, *IN_A_STEP):
        build_well(one_store, tmp_path)


def test_the_store_after_all_that(one_store: Lamina, tmp_path: Path) -> None:
    """What never got as far as a step has done no harm either."""
    build_well(one_store, tmp_path)


def lay_out(context: Path, case: Case) -> Path:
    context.mkdir()
    files = dict(case.files)
    if case.dockerfile is not None:
        files["Dockerfile"] = case.dockerfile
    for name, content in files.items():
        path = context / name
        path.parent.mkdir(exist_ok=True)
        if content is None:
            path.mkdir()
        elif isinstance(content, str) and content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return context


def check(outcome: Outcome, code: int, *words: str) -> None:
    """One error with these words, no traceback, nothing that is called a bug."""
    assert outcome.code == code, outcome.said
    assert "Traceback" not in outcome.said
    assert "internal error" not in outcome.said
    assert outcome.stderr.count("\nERROR: ") + outcome.stderr.startswith("ERROR: ") == 1
    for word in words:
        assert word in outcome.stderr, f"{word!r} is not in:\n{outcome.stderr}"


def build_well(lamina: Lamina, folder: Path) -> None:
    """A build of three kinds of step, whose image is read."""
    context = folder / "good"
    context.mkdir(exist_ok=True)
    (context / "a").write_text("good\n")
    (context / "Dockerfile").write_text(F + "COPY a /a\nWORKDIR /w\nRUN cat /a >b\n")
    archive = folder / "good.tar"
    output = f"--output=type=oci,compression=uncompressed,dest={archive}"
    lamina.build(context, output, timeout=PATIENCE).must_succeed()
    image = read_image(archive)
    assert image.file("w/b") == b"good\n"
    assert image.tree()["a"].kind == "file"


# The machine


@pytest.mark.parametrize("root", ["/proc/nosuch", "/etc/passwd", "/etc/passwd/store"])
def test_a_store_that_cannot_be_written(lamina: Lamina, tmp_path: Path, root: str) -> None:
    """The error names the place, and the flag for another one."""
    other = Lamina(store=Path(root), bases=lamina.bases)
    (tmp_path / "Dockerfile").write_text(F)
    check(other.build(tmp_path), HOST, f"cannot use the store {root}", "--root or LAMINA_ROOT")


def test_a_full_disk(lamina: Lamina, tmp_path: Path) -> None:
    """Every kind of step says that the disk is full; a small build still works afterwards."""
    (tmp_path / "big").write_bytes(os.urandom(20_000_000))
    with small_disk(tmp_path / "disk", "12m") as disk:
        full = Lamina(store=disk / "store", bases=lamina.bases)
        for dockerfile, code in (
            (F + "RUN head -c 30000000 /dev/urandom >/big\n", STEP),
            (F + "COPY big /\n", HOST),
        ):
            (tmp_path / "Dockerfile").write_text(dockerfile)
            outcome = full.build(tmp_path, "--output=type=cacheonly", timeout=PATIENCE)
            check(outcome, code)
            assert "full" in outcome.stderr or "No space left" in outcome.stderr
            assert str(disk) in outcome.stderr
        build_well(full, tmp_path)


def test_a_disk_that_is_too_small_for_the_base(lamina: Lamina, tmp_path: Path) -> None:
    """Unpacking fails cleanly, and works where there is more room."""
    (tmp_path / "Dockerfile").write_text(F + "RUN true\n")
    with small_disk(tmp_path / "disk", "1m") as disk:
        full = Lamina(store=disk / "store", bases=lamina.bases)
        outcome = full.build(tmp_path, "--output=type=cacheonly", timeout=PATIENCE)
        check(outcome, HOST, "No space left on device", "--root")
        run([program("mount"), "-o", "remount,size=20m", disk]).must_succeed()
        build_well(full, tmp_path)


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    run([program("mount"), "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]).must_succeed()
    try:
        yield place
    finally:
        run([program("umount"), place]).must_succeed()


# A store that somebody or something has damaged


def test_a_store_of_a_newer_version(lamina: Lamina, tmp_path: Path) -> None:
    """It is left alone."""
    build_well(lamina, tmp_path)
    with sqlite3.connect(lamina.store / "index.db") as index:
        index.execute("PRAGMA user_version = 99")
    index.close()
    check(lamina.build(tmp_path / "good"), HOST, "version 99", "newer Lamina")


@pytest.mark.parametrize("whole", [True, False], ids=["no database", "damaged pages"])
def test_a_damaged_index(lamina: Lamina, tmp_path: Path, *, whole: bool) -> None:
    """The error says which files to remove, and then everything works."""
    build_well(lamina, tmp_path)
    index = lamina.store / "index.db"
    data = index.read_bytes()
    kept = 0 if whole else 4096
    index.write_bytes(data[:kept] + b"\xff" * (len(data) - kept))
    check(lamina.build(tmp_path / "good"), HOST, "cannot be used", f"rm {index}*")
    for file in lamina.store.glob("index.db*"):
        file.unlink()
    build_well(lamina, tmp_path)


def layer_with(store: Path, name: str) -> Path:
    [layer] = [layer for layer in (store / "layers").iterdir() if (layer / "diff" / name).exists()]
    return layer


def test_a_layer_that_was_removed(lamina: Lamina, tmp_path: Path) -> None:
    """The step that made it runs again, and says why."""
    build_well(lamina, tmp_path)
    shutil.rmtree(layer_with(lamina.store, "a"))
    shutil.rmtree(layer_with(lamina.store, "bin/busybox"))
    outcome = lamina.build(tmp_path / "good", "--output=type=cacheonly").must_succeed()
    assert "why:" not in outcome.stderr  # nobody needs the files
    output = f"--output=type=tar,dest={tmp_path / 'files.tar'}"
    outcome = lamina.build(tmp_path / "good", output).must_succeed()
    assert "why: its earlier result was removed" in outcome.stderr
    build_well(lamina, tmp_path)


def test_a_layer_without_its_files(lamina: Lamina, tmp_path: Path) -> None:
    """A layer whose folder is gone is no layer."""
    build_well(lamina, tmp_path)
    shutil.rmtree(layer_with(lamina.store, "a") / "diff")
    build_well(lamina, tmp_path)


@pytest.mark.parametrize("kept", [0, 20, 60], ids=["empty", "half a head", "damaged entries"])
def test_a_damaged_manifest(lamina: Lamina, tmp_path: Path, kept: int) -> None:
    """A layer that nobody can read goes; at the latest the second build is right."""
    build_well(lamina, tmp_path)
    manifest = layer_with(lamina.store, "a") / "manifest"
    manifest.write_bytes(manifest.read_bytes()[:kept] + b"\xc1" * bool(kept > 50))
    (lamina.store / "images").rename(tmp_path / "blobs")
    outcome = lamina.build(tmp_path / "good", f"--output=type=oci,dest={tmp_path / 'x.tar'}")
    if outcome.code:
        check(outcome, HOST, "was damaged", "build again")
    build_well(lamina, tmp_path)


# The context


def test_a_context_that_changes(lamina: Lamina, tmp_path: Path) -> None:
    """A file that is written to all the time is said; files that come and go do no harm."""
    context = tmp_path / "context"
    (context / "d").mkdir(parents=True)
    (context / "Dockerfile").write_text(F + "COPY d /d\n")
    for number in range(200):
        (context / "d" / f"{number}").write_text("x" * number)
    loop = (
        'while :; do echo x >>grow; rm -f "$((i % 200))"; echo y >"$((i % 200))"; i=$((i+1)); done'
    )
    writer = subprocess.Popen(["sh", "-c", loop], cwd=context / "d", stderr=subprocess.DEVNULL)
    try:
        outcome = lamina.build(context, "--output=type=cacheonly", timeout=PATIENCE)
    finally:
        writer.kill()
        writer.wait()
    if outcome.code:
        check(outcome, USER)
        assert (
            "while it is read" in outcome.stderr or "while the build was copying" in outcome.stderr
        )
        assert "writes to it" in outcome.stderr
    archive = tmp_path / "image.tar"
    lamina.build(context, f"--output=type=oci,dest={archive}").must_succeed()
    image = read_image(archive)
    for path in (context / "d").iterdir():
        assert image.file(f"d/{path.name}") == path.read_bytes()


def test_a_read_only_context(lamina: Lamina, tmp_path: Path) -> None:
    """Nothing is written to it, also not through a mount with `rw`."""
    with small_disk(tmp_path / "disk", "1m") as context:
        run_line = "RUN --mount=type=bind,target=/m,rw echo hi >/m/b && cat /m/b\n"
        (context / "Dockerfile").write_text(F + "COPY a /a\n" + run_line)
        (context / "a").write_text("a")
        run([program("mount"), "-o", "remount,ro", context]).must_succeed()
        lamina.build(context, "--output=type=cacheonly", timeout=PATIENCE).must_succeed()
        assert sorted(path.name for path in context.iterdir()) == ["Dockerfile", "a"]


def test_a_base_for_another_platform(lamina: Lamina, tmp_path: Path) -> None:
    """An image that is the only one of its name is taken, with a warning, as BuildKit does."""
    (tmp_path / "Dockerfile").write_text("FROM --platform=linux/s390x busybox\n")
    outcome = lamina.build(tmp_path, "--output=type=cacheonly").must_succeed()
    assert "InvalidBaseImagePlatform: Base image busybox was pulled with platform" in outcome.stderr


def test_files_that_the_user_cannot_read(
    lamina: Lamina, tmp_path: Path, user: OrdinaryUser
) -> None:
    """An ordinary user's build names the file; what is not copied does not matter."""
    context = user.home / "unreadable"
    (context / "sub").mkdir(parents=True)
    (context / "a").write_text("a")
    (context / "sub" / "closed").write_text("b")
    (context / "Dockerfile").write_text(F + "COPY a /\n")
    user.own(context)
    keep_from_others(context / "sub" / "closed")
    base = user.home / "base"
    if not base.exists():
        shutil.copytree(lamina.bases["busybox"], base)
        user.own(base)
    theirs = Lamina(store=user.home / "bad", bases={"busybox": base}, wrapper=())
    words = theirs.build_command(context, "--output=type=cacheonly")[1:]
    run([*user.lamina(), *words], env=user.env(), cwd=user.home).must_succeed()
    (context / "Dockerfile").write_text(F + "COPY sub /sub\n")
    outcome = run([*user.lamina(), *words], env=user.env(), cwd=user.home)
    assert outcome.code in (USER, HOST)
    check(outcome, outcome.code, "sub/closed", "Permission denied")
    keep_from_others(context / "Dockerfile")
    outcome = run([*user.lamina(), *words], env=user.env(), cwd=user.home)
    check(outcome, USER, "failed to read Dockerfile: Permission denied")


def keep_from_others(path: Path) -> None:
    """Make a file root's. The user's own would be readable: in their namespace they are root."""
    os.chown(path, 0, 0)
    path.chmod(0)


def test_special_files(lamina: Lamina, tmp_path: Path) -> None:
    """Pipes, devices, sockets and odd names are copied, and stop nobody."""
    context = tmp_path / "context"
    context.mkdir()
    os.mkfifo(context / "fifo")
    os.mknod(context / "null", 0o20666, os.makedev(1, 3))
    Path(os.fsdecode(os.fsencode(context) + b"/\xff\n")).write_text("odd")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(context / "socket"))
        (context / "Dockerfile").write_text(F + "COPY . /o/\nRUN test -p /o/fifo -a -c /o/null\n")
        lamina.build(context, "--output=type=cacheonly", timeout=PATIENCE).must_succeed()


# Steps that behave badly


@pytest.mark.parametrize(
    "command",
    [
        "(setsid sleep 300 </dev/null >/dev/null 2>&1 &); echo decisive",
        "sleep 300 & echo decisive",
        "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo decisive",
        "head -c 1000000 /dev/urandom; echo; echo decisive",
        "kill -KILL $$; echo decisive",
    ],
    ids=["a daemon", "a child with the output", "10 MB on a line", "binary", "kills its init"],
)
def test_odd_steps(one_store: Lamina, tmp_path: Path, command: str) -> None:
    """The step ends when its command does, and nothing that it started stays."""
    (tmp_path / "Dockerfile").write_text(F + f"RUN {command}\n")
    outcome = one_store.build(tmp_path, "--output=type=cacheonly", "--no-cache", timeout=PATIENCE)
    outcome.must_succeed()
    assert "decisive" in outcome.stderr.rpartition("\nERROR")[0] or outcome.stderr
    assert mounts_of(one_store.store) == []


def mounts_of(store: Path) -> list[str]:
    """Processes that still see a mount of the store."""
    found = []
    for mounts in Path("/proc").glob("[0-9]*/mounts"):
        try:
            text = mounts.read_text(errors="replace")
        except OSError:
            continue
        if f"{store}/" in text:
            found.append(mounts.parent.name)
    return found
