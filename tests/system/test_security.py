"""Hostile images and contexts reach nothing outside; secrets stay where they are mounted."""

from __future__ import annotations

import io
import os
import secrets
import sqlite3
import tarfile
import zlib
from pathlib import Path

import pytest

from tests.support.bases import write_layout
from tests.support.commands import Outcome
from tests.support.images import Image, read_image
from tests.support.lamina import Lamina
from tools.bases import busybox_rootfs

pytestmark = pytest.mark.root

PATIENCE = 60.0  # seconds
PLACES = {
    "absolute": "{outside}",
    "relative": "../../../../../../../../../../../..{outside}",
    "through proc": "/proc/self/root{outside}",
    "in a circle": "/x",
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the machine that no build may touch."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "kept").write_text("kept\n")
    return place


def hostile_base(folder: Path, links: dict[str, str]) -> Path:
    """The small base image with symlinks in it."""
    stream = io.BytesIO(busybox_rootfs())
    with tarfile.open(fileobj=stream, mode="a") as tar:
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    layout = folder / "hostile"
    write_layout(layout, stream.getvalue())
    return layout


INSTRUCTIONS = {
    "WORKDIR": "WORKDIR /x/made\n",
    "WORKDIR and RUN": "WORKDIR /x\nRUN echo evil >made\n",
    "COPY of a file": "COPY evil /x/made\n",
    "COPY to the link": "COPY evil /x\n",
    "COPY of a folder": "COPY folder /x/\n",
    "COPY over what is kept": "COPY evil /x/kept\n",
    "COPY --link": "COPY --link evil /x/made\n",
    "COPY --chown": "COPY --chown=1:1 --chmod=777 folder /x\n",
    "COPY with an owner of the image": "COPY --chown=bin evil /x/made\n",
    "COPY --parents": "# syntax=docker/dockerfile:1-labs\nCOPY --parents folder/evil /x/\n",
    "ADD of an archive": "ADD evil.tar /x/\n",
    "heredoc": "COPY <<EOF /x/made\nevil\nEOF\n",
    "bind mount": "RUN --mount=type=bind,source=folder,target=/x/m,rw echo evil >/x/m/made\n",
    "bind mount on the link": "RUN --mount=type=bind,source=folder,target=/x,rw echo >/x/made\n",
    "cache mount": "RUN --mount=type=cache,target=/x/m echo evil >/x/m/made\n",
    "cache mount on the link": "RUN --mount=type=cache,target=/x echo evil >/x/made\n",
    "tmpfs": "RUN --mount=type=tmpfs,target=/x echo evil >/x/made\n",
    "secret": "RUN --mount=type=secret,id=s,target=/x/made,mode=0666 echo evil >/x/made || true\n",
    "RUN": "RUN echo evil >/x/made; echo evil >/x/kept; rm -rf /x/; true\n",
}


CACHE_ONLY = "--output=type=cacheonly"
WRITTEN_OUT = ("WORKDIR", "COPY of a folder", "ADD of an archive")


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_links_in_the_parent_image(
    lamina: Lamina, tmp_path: Path, outside: Path, place: str
) -> None:
    """Whatever an instruction does through a link of the image stays in the image."""
    base = hostile_base(tmp_path, {"x": PLACES[place].format(outside=outside)})
    context = tmp_path / "context"
    (context / "folder").mkdir(parents=True)
    for name in ("evil", "folder/evil", "folder/kept"):
        (context / name).write_text("evil\n")
    with tarfile.open(context / "evil.tar", "w") as tar:
        tar.add(context / "evil", "made")
        tar.add(context / "evil", "kept")
    named = f"--build-context=hostile=oci-layout://{base}"
    secret = f"--secret=id=s,src={context / 'evil'}"
    before = os.stat(outside)
    for what, lines in INSTRUCTIONS.items():
        first, _, rest = lines.partition("\n")
        head, body = (first + "\n", rest) if first.startswith("# syntax") else ("", lines)
        (context / "Dockerfile").write_text(f"{head}FROM hostile\n{body}")
        tree = what in WRITTEN_OUT
        output = f"--output=type=local,dest={tmp_path / 'out'}" if tree else CACHE_ONLY
        outcome = lamina.build(context, named, secret, output, timeout=PATIENCE)
        assert outcome.code in (0, 1, 3, 5), f"{what}: {outcome.said}"
        assert "Traceback" not in outcome.said
        assert sorted(path.name for path in outside.iterdir()) == ["kept"], what
        assert (outside / "kept").read_text() == "kept\n", what
        after = os.stat(outside)
        assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode), what


@pytest.mark.parametrize("place", ["absolute", "relative", "through proc"])
def test_links_where_files_are_taken_from(
    lamina: Lamina, tmp_path: Path, outside: Path, place: str
) -> None:
    """Nothing of the machine comes into an image through a link of another image or context."""
    link = PLACES[place].format(outside=outside)
    base = hostile_base(tmp_path, {"x": link, "etc/passwd-link": f"{link}/kept"})
    context = tmp_path / "context"
    context.mkdir()
    (context / "x").symlink_to(link)
    named = f"--build-context=hostile=oci-layout://{base}"
    for line in (
        "COPY --from=hostile /x/kept /got",
        "COPY --from=hostile /etc/passwd-link /got",
        "COPY --from=hostile /x/ /got/",
        "COPY x/kept /got",
        "COPY x/ /got/",
        "ADD x/kept /got",
        "RUN --mount=type=bind,from=hostile,source=/x,target=/m cp /m/kept /got",
        "RUN --mount=type=bind,source=x,target=/m cp /m/kept /got",
        "RUN --mount=type=cache,from=hostile,source=/x,target=/m cp /m/kept /got",
    ):
        (context / "Dockerfile").write_text(f"FROM busybox\n{line}\n")
        outcome = lamina.build(context, named, "--output=type=cacheonly", timeout=PATIENCE)
        assert outcome.code in (1, 3), f"{line}: {outcome.said}"
        assert "Traceback" not in outcome.said


def test_user_files_that_are_links(lamina: Lamina, tmp_path: Path, outside: Path) -> None:
    """Names are looked up in the image, also where its /etc/passwd is a link."""
    (outside / "kept").write_text("evil:x:0:0::/:/bin/sh\n")
    stream = io.BytesIO()
    with (
        tarfile.open(fileobj=stream, mode="w") as new,
        tarfile.open(fileobj=io.BytesIO(busybox_rootfs())) as old,
    ):
        for member in old:
            if member.name.strip("./") not in ("etc/passwd", "etc/group"):
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        for name in ("etc/passwd", "etc/group"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"{outside}/kept"
            new.addfile(link)
    layout = tmp_path / "hostile"
    write_layout(layout, stream.getvalue())
    (tmp_path / "Dockerfile").write_text("FROM hostile\nUSER evil\nRUN id\n")
    named = f"--build-context=hostile=oci-layout://{layout}"
    outcome = lamina.build(tmp_path, named, "--output=type=cacheonly", timeout=PATIENCE)
    assert outcome.code == 1, outcome.said
    assert "unable to find user evil" in outcome.stderr


# Secrets


def everything_in(folder: Path, value: bytes) -> list[str]:
    """Files below a folder that hold a value, also compressed; and columns of a database."""
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        plain = data
        if data[:2] == b"\x1f\x8b":
            plain = zlib.decompressobj(31).decompress(data)
        if value in data or value in plain:
            found.append(str(path))
        if data.startswith(b"SQLite format 3"):
            found += [f"{path}: {where}" for where in columns_with(path, value)]
    return found


def columns_with(database: Path, value: bytes) -> list[str]:
    found = []
    with sqlite3.connect(database) as index:
        tables = [
            row[0] for row in index.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        for table in tables:
            for row in index.execute(f"SELECT * FROM {table}"):
                for cell in row:
                    data = cell.encode() if isinstance(cell, str) else cell
                    if not isinstance(data, bytes):
                        continue
                    if value in data or value in inflated(data):
                        found.append(table)
    index.close()
    return found


def inflated(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error:
        return b""


SECRET_STEPS = """\
FROM busybox
RUN --mount=type=secret,id=file test -s /run/secrets/file
RUN --mount=type=secret,id=file,target=/etc/token,mode=0444 test -s /etc/token
RUN --mount=type=secret,id=variable,env=TOKEN test -n "$TOKEN"
RUN --mount=type=secret,id=file --mount=type=cache,target=/c touch /c/x
RUN --mount=type=secret,id=file,required=true ls /run/secrets; exit {code}
"""


@pytest.mark.parametrize("code", [0, 5], ids=["that works", "that fails"])
@pytest.mark.parametrize("progress", ["plain", "rawjson"])
def test_secrets_are_nowhere(lamina: Lamina, tmp_path: Path, progress: str, code: int) -> None:
    """Not in a layer, a key, the index, a log, an event, the history or an output."""
    values = [secrets.token_hex(16).encode() for _ in range(2)]
    context = tmp_path / "context"
    context.mkdir()
    (tmp_path / "token").write_bytes(values[0])
    (context / "Dockerfile").write_text(SECRET_STEPS.format(code=code))
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    secret = Lamina(
        store=lamina.store, bases=lamina.bases, environment={"TOKEN_OF_TEST": values[1].decode()}
    )
    outcome = secret.build(
        context,
        f"--secret=id=file,src={tmp_path / 'token'}",
        "--secret=id=variable,env=TOKEN_OF_TEST",
        f"--progress={progress}",
        f"--output=type=oci,dest={outputs / 'image.tar'}",
        f"--output=type=local,dest={outputs / 'tree'}",
        f"--metadata-file={outputs / 'metadata'}",
        "--tag=app:secret",
        timeout=PATIENCE,
    )
    assert outcome.code == (3 if code else 0), outcome.said
    for value in values:
        assert value.decode() not in outcome.said
        assert everything_in(lamina.store, value) == []
        assert everything_in(outputs, value) == []
    if not code:
        tree = read_image(outputs / "image.tar").tree()
        assert "run/secrets" not in tree
        assert "etc/token" not in tree


def test_a_changed_secret_changes_no_key(lamina: Lamina, tmp_path: Path) -> None:
    """A step that uses a secret is cached whatever the secret is."""
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN --mount=type=secret,id=s test -s /run/secrets/s\n"
    )
    for value in ("one", "two"):
        (tmp_path / "s").write_text(value)
        secret = f"--secret=id=s,src={tmp_path / 's'}"
        outcome = lamina.build(tmp_path, secret, "--output=type=cacheonly").must_succeed()
    assert "[2/2] RUN" in outcome.stderr
    assert "CACHED" in outcome.stderr


PROXIES = ("HTTP_PROXY", "https_proxy", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


def test_proxies_are_nowhere(lamina: Lamina, tmp_path: Path) -> None:
    """A step sees the proxy; neither its key nor the image knows of it."""
    (tmp_path / "Dockerfile").write_text(
        'FROM busybox\nRUN test -n "$HTTP_PROXY" && test -n "$https_proxy"\nENV A=1\n'
    )
    archive = tmp_path / "image.tar"

    def build(value: str) -> tuple[Outcome, Image]:
        arguments = [f"--build-arg={name}=http://{value}:1" for name in PROXIES]
        outcome = lamina.build(tmp_path, *arguments, f"--output=type=oci,dest={archive}")
        return outcome.must_succeed(), read_image(archive)

    value = secrets.token_hex(8)
    _, first = build(value)
    assert value not in str(first.document)
    assert everything_in(lamina.store, value.encode()) == []
    outcome, second = build(secrets.token_hex(8))
    assert "CACHED" in outcome.stderr
    assert second.document == first.document


def test_the_builders_environment_is_not_seen(lamina: Lamina, tmp_path: Path) -> None:
    """A step's environment holds what the Dockerfile and the image say, and nothing else."""
    value = secrets.token_hex(8)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN env >/env\n")
    noisy = Lamina(store=lamina.store, bases=lamina.bases, environment={"NOISE": value})
    archive = tmp_path / "image.tar"
    noisy.build(tmp_path, f"--output=type=oci,dest={archive}").must_succeed()
    names = {
        line.partition("=")[0] for line in read_image(archive).file("env").decode().split("\n")
    }
    assert names <= {"PATH", "HOME", "PWD", "SHLVL", "HOSTNAME", ""}
