"""What a Dockerfile means, where BuildKit's own tests say it: whole builds, from file to image."""

from __future__ import annotations

import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Outcome
from tests.support.images import Image, read_image
from tests.support.lamina import Lamina
from tests.support.packages import write

pytestmark = pytest.mark.root

LAST_MODIFIED = ("Tue, 14 Nov 2023 22:16:41 GMT", 1700000201)
NEWEST_MEMBER = 1704067200
EPOCH_STEP = 'RUN echo -n "$SOURCE_DATE_EPOCH" > /epoch'


@dataclass(frozen=True, kw_only=True)
class Case:
    """A build and the files that it makes; `says` is a part of the error of one that fails."""

    name: str
    dockerfile: str
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    makes: Mapping[str, str] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    says: str = ""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class Built:
    """The image's own files below `files`, and the image."""

    files: Path
    image: Image
    said: str

    @property
    def config(self) -> dict[str, Any]:
        return self.image.config


@dataclass(frozen=True, kw_only=True)
class Builder:
    """Builds in folders of one test, with a store that all tests of this file share."""

    lamina: Lamina
    folder: Path

    def run(
        self,
        dockerfile: str,
        *options: str | Path,
        files: Mapping[str, str | bytes] | None = None,
        context: str | None = None,
        stdin: bytes | None = None,
    ) -> Outcome:
        here = self.folder / "context"
        here.mkdir(exist_ok=True)
        write(here, {"Dockerfile": dockerfile, **(files or {})})
        return self.lamina.build(context or here, *options, stdin=stdin)

    def build(
        self,
        dockerfile: str,
        *options: str | Path,
        files: Mapping[str, str | bytes] | None = None,
        context: str | None = None,
        stdin: bytes | None = None,
        name: str = "made",
    ) -> Built:
        tree, layout = self.folder / f"{name}-files", self.folder / name
        outputs = (f"-otype=local,dest={tree}", f"-otype=oci,tar=false,dest={layout}")
        done = self.run(dockerfile, *outputs, *options, files=files, context=context, stdin=stdin)
        done.must_succeed()
        return Built(files=tree, image=read_image(layout), said=done.said)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, busybox_image: Path) -> Lamina:
    """One store for all tests here: the base image is unpacked once."""
    store = tmp_path_factory.mktemp("semantics") / "store"
    return Lamina(store=store, bases={"busybox": busybox_image})


@pytest.fixture
def builder(shared: Lamina, tmp_path: Path) -> Builder:
    return Builder(lamina=shared, folder=tmp_path)


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """A server with `/file`, `/plain.tar` (no date) and `/dated.tar` (with Last-Modified)."""
    archive = archive_of({"inner": "from an archive\n"})
    context = archive_of({"Dockerfile": f"FROM busybox\nARG SOURCE_DATE_EPOCH\n{EPOCH_STEP}\n"})
    dated = {"Last-Modified": LAST_MODIFIED[0]}
    bodies: dict[str, tuple[bytes, dict[str, str]]] = {
        "/file": (b"downloaded\n", {}),
        "/": (b"the root\n", dated),
        "/plain.tar": (archive, {}),
        "/dated.tar": (archive, dated),
        "/context.tar": (context, {}),
        "/Dockerfile.txt": (b"FROM busybox\nRUN echo here > /out\n", {}),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in bodies:
                self.send_error(404)
                return
            body, headers = bodies[self.path]
            self.send_response(200)
            for header, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


BUILDS = (
    Case(
        name="workdir is relative to the one before, and so are copies",
        dockerfile="""\
            FROM busybox
            WORKDIR /one
            WORKDIR two
            COPY a ./
            ADD a ./deep/er
            WORKDIR ..
            COPY a up
            RUN pwd > /pwd
            """,
        files={"a": "a\n"},
        makes={"one/two/a": "a\n", "one/two/deep/er": "a\n", "one/up": "a\n", "pwd": "/one\n"},
    ),
    Case(
        name="an empty destination is the working directory, linked or not",
        dockerfile="""\
            FROM busybox
            WORKDIR /here
            ENV nothing=""
            COPY a $nothing
            COPY --link b $nothing
            COPY --link c .
            """,
        files={"a": "a\n", "b": "b\n", "c": "c\n"},
        makes={"here/a": "a\n", "here/b": "b\n", "here/c": "c\n"},
    ),
    Case(
        name="owners and modes may be variables",
        dockerfile="""\
            FROM busybox
            ARG group mode
            ENV owner=1000
            COPY --chown=${owner}:${group} --chmod=${mode} a /made/a
            RUN stat -c "%u:%g %a" /made /made/a > /facts
            """,
        files={"a": "a\n"},
        options=("--build-arg=group=daemon", "--build-arg=mode=750"),
        makes={"facts": "1000:1 750\n1000:1 750\n"},
    ),
    Case(
        name="copying into a directory keeps the owner that it has",
        dockerfile="""\
            FROM busybox AS from
            RUN mkdir -p /d/sub && touch /d/sub/f && chown -R 7:8 /d
            FROM busybox
            RUN mkdir -p /d/old && chown 500:600 /d /d/old
            COPY --from=from /d /d
            COPY --from=from /d /new
            RUN stat -c "%n %u:%g" /d /d/old /d/sub /d/sub/f /new /new/sub > /facts
            """,
        makes={
            "facts": "/d 500:600\n/d/old 500:600\n/d/sub 7:8\n"
            "/d/sub/f 7:8\n/new 0:0\n/new/sub 7:8\n"
        },
    ),
    Case(
        name="a pattern that matches nothing is left out beside one that does",
        dockerfile="FROM scratch\nCOPY a nothing* /\n",
        files={"a": "a\n"},
        makes={"a": "a\n"},
    ),
    Case(
        name="patterns of --exclude are relative to the source",
        dockerfile="""\
            FROM scratch
            COPY --exclude=*/*.png . /by-depth/
            COPY --exclude=*.png one* /by-source/
            ADD --exclude=* one /nothing/
            """,
        files={"one/a.png": "", "one/b.txt": "", "c.png": ""},
        makes={"by-depth/c.png": "", "by-depth/one/b.txt": "", "by-source/b.txt": ""},
        lacks=("by-depth/one/a.png", "by-source/a.png", "nothing/a.png"),
    ),
    Case(
        name="--parents keeps the path after the pivot",
        dockerfile="""\
            FROM busybox AS from
            RUN mkdir -p /t/a/b/c /t/a/b2/c && echo 1 > /t/a/b/c/f && echo 2 > /t/a/b2/c/g
            FROM scratch
            COPY --parents --from=from /t/a/./b/c /pivot/
            COPY --parents --from=from /t/a/b/c/ /whole/
            COPY --parents --from=from /t/a/b*/./**/g /stars/
            COPY --parents --from=from /t/none* /empty/
            """,
        makes={
            "pivot/b/c/f": "1\n",
            "whole/t/a/b/c/f": "1\n",
            "stars/c/g": "2\n",
        },
    ),
    Case(
        name="an ONBUILD runs once, in the next stage alone",
        dockerfile="""\
            FROM busybox AS base
            ONBUILD RUN echo ran >> /ran
            FROM base AS child
            FROM child
            RUN cp /ran /copy
            """,
        makes={"ran": "ran\n", "copy": "ran\n"},
    ),
    Case(
        name="an ONBUILD may bring a stage that nothing else needs",
        dockerfile="""\
            FROM busybox AS source
            RUN echo needed > /needed
            FROM busybox AS base
            ONBUILD COPY --from=source /needed /copied
            ONBUILD RUN --mount=from=source,target=/in cat /in/needed > /seen
            ONBUILD RUN <<EOF
            echo heredoc > /heredoc
            EOF
            FROM base
            """,
        makes={"copied": "needed\n", "seen": "needed\n", "heredoc": "heredoc\n"},
    ),
    Case(
        name="stages have numbers, and names in any case",
        dockerfile="""\
            FROM busybox AS One
            RUN echo 1 > /1
            FROM busybox
            RUN echo 2 > /2
            FROM scratch AS last
            COPY --from=oNe /1 /
            COPY --from=1 /2 /
            FROM broken.example/nothing/needs:this AS unused
            """,
        options=("--target=LAST",),
        makes={"1": "1\n", "2": "2\n"},
    ),
    Case(
        name="a heredoc is a script, a file, or the shell's",
        dockerfile="""\
            FROM busybox
            RUN <<EOF
            #!/bin/awk -f
            BEGIN { print "awk" > "/script" }
            EOF
            ENV who=world
            COPY <<one <<'two' /docs/
            hello $who
            one
            hello $who
            two
            RUN tr a-z A-Z <<EOF > /shell
            loud
            EOF
            """,
        makes={
            "script": "awk\n",
            "docs/one": "hello world\n",
            "docs/two": "hello $who\n",
            "shell": "LOUD\n",
        },
    ),
    Case(
        name="mounts take variables, and leave nothing behind",
        dockerfile="""\
            ARG place=/kept
            FROM busybox
            ARG place kind=cache
            RUN --mount=type=$kind,id=semantics,target=$place echo kept > $place/file
            RUN --mount=type=cache,id=semantics,target=/elsewhere cat /elsewhere/file > /seen
            RUN --mount=type=tmpfs,target=/t,size=4m mount | grep -o 'size=4096k' > /size
            RUN --mount=target=/c --mount=source=a,target=/c2/a cat /c/a /c2/a > /both
            RUN ! ls -d /t /c /c2 /kept
            """,
        files={"a": "a\n"},
        makes={"seen": "kept\n", "size": "size=4096k\n", "both": "a\na\n"},
        lacks=("c", "c2", "t", "kept", "elsewhere"),
    ),
    Case(
        name="a directory that is written to through a mount is a copy",
        dockerfile="""\
            FROM busybox AS from
            RUN mkdir /out && echo 1 > /out/f
            FROM busybox
            RUN --mount=from=from,src=out,target=/w,rw echo 2 > /w/f && cat /w/f > /seen
            RUN --mount=from=from,src=out,target=/w cat /w/f > /after
            """,
        makes={"seen": "2\n", "after": "1\n"},
    ),
    Case(
        name="a part of a cache mount can be mounted",
        dockerfile="""\
            FROM busybox
            RUN --mount=type=cache,id=parts,target=/c mkdir -p /c/in && echo part > /c/in/f
            RUN --mount=type=cache,id=parts,source=in,target=/p cp /p/f /seen
            """,
        makes={"seen": "part\n"},
    ),
    Case(
        name="nothing can be mounted, and written to",
        dockerfile="""\
            FROM scratch AS nothing
            FROM busybox
            RUN --mount=from=scratch,target=/e ls -A /e > /empty && ! touch /e/x
            RUN --mount=from=nothing,target=/e,rw touch /e/x && ls -A /e > /full
            """,
        makes={"empty": "", "full": "x\n"},
    ),
    Case(
        name="the machine of a step: its name, limits and hosts",
        dockerfile="""\
            FROM busybox
            RUN hostname > /name && ulimit -n > /files && grep -c "10.1.2.3.*far" /etc/hosts > /far
            RUN df -k /dev/shm | awk 'NR == 2 { print $2 }' > /shm
            """,
        options=(
            "--build-arg=BUILDKIT_SANDBOX_HOSTNAME=builder",
            "--ulimit=nofile=1062:1062",
            "--shm-size=8m",
            "--add-host=far:10.1.2.3",
        ),
        makes={"name": "builder\n", "files": "1062\n", "far": "1\n", "shm": "8192\n"},
    ),
    Case(
        name="without a network there is no interface but loopback",
        dockerfile="FROM busybox\nRUN --network=none ls /sys/class/net > /nets\n",
        makes={"nets": "lo\n"},
    ),
    Case(
        name="an ARG after an ENV of its name is what the steps of that stage see",
        dockerfile="""\
            ARG global=g
            FROM busybox AS base
            ENV a=env
            ARG a=arg global unset
            RUN echo "$a $global ${unset-unset}" > /seen
            FROM base
            RUN echo "$a $global ${unset-unset}" > /inherited
            """,
        makes={"seen": "arg g unset\n", "inherited": "env g unset\n"},
    ),
    Case(
        name="proxies are seen in both cases, and are no part of the key",
        dockerfile="FROM busybox\nRUN echo $HTTP_PROXY $http_proxy > /seen\n",
        options=("--build-arg=http_proxy=http://proxy:1",),
        makes={"seen": "http://proxy:1 http://proxy:1\n"},
    ),
    Case(
        name="the platforms are known to FROM",
        dockerfile="""\
            FROM scratch AS build-plan9
            ARG TARGETPLATFORM TARGETSTAGE TARGETOSVERSION
            COPY <<EOF /seen
            $TARGETPLATFORM $TARGETSTAGE-$TARGETOSVERSION
            EOF
            FROM build-$TARGETOS AS end
            """,
        options=("--platform=plan9/mips",),
        makes={"seen": "plan9/mips end-\n"},
    ),
)


@pytest.mark.parametrize("case", BUILDS, ids=str)
def test_build(builder: Builder, case: Case) -> None:
    """The build makes these files."""
    built = builder.build(flush(case.dockerfile), *case.options, files=case.files)
    made = {path: (built.files / path).read_text() for path in case.makes}
    assert made == case.makes
    assert [path for path in case.lacks if (built.files / path).exists()] == []


FAILURES = (
    Case(
        name="a mode that is none",
        dockerfile="FROM scratch\nCOPY --chmod=64a Dockerfile /\n",
        says="invalid chmod parameter: '64a'. it should be octal string and between 0 and 07777",
    ),
    Case(
        name="a variable in --from",
        dockerfile="FROM scratch\nCOPY --from=$FOO . .\n",
        says="variable expansion is not supported for --from",
    ),
    Case(
        name="a stage that comes later",
        dockerfile="FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\n",
        options=("--target=a",),
        says='cannot copy from stage "b", it needs to be defined before current stage "a"',
    ),
    Case(
        name="a stage that copies from itself",
        dockerfile="FROM scratch AS a\nCOPY --from=a / /\n",
        says="circular dependency detected on stage: a",
    ),
    Case(
        name="a base that is no name, though nothing needs it",
        dockerfile="FROM Not/A/Name AS unused\nFROM scratch\nCOPY Dockerfile /\n",
        says='failed to parse stage name "Not/A/Name"',
    ),
    Case(
        name="--parents of a path that is not there",
        dockerfile="FROM busybox AS b\nFROM scratch\nCOPY --from=b --parents /no/file /\n",
        says='"/no/file": not found',
    ),
    Case(
        name="a checksum of a file that is here",
        dockerfile=f"FROM scratch\nADD --checksum=sha256:{'0' * 64} Dockerfile /\n",
        says="checksum requires HTTP(S) or Git sources",
    ),
    Case(
        name="a checksum of another algorithm",
        dockerfile="FROM scratch\nADD --checksum=md5:0 http://h.invalid/f /\n",
        says="unsupported digest algorithm",
    ),
    Case(
        name="what only a builder that grants it may do",
        dockerfile="FROM busybox\nRUN --security=insecure true\n",
        says="entitlement security.insecure is not allowed",
    ),
    Case(
        name="a part of a cache mount that is a way out of it",
        dockerfile="FROM busybox\nRUN --mount=type=cache,id=out,target=/c ln -sfn /etc /c/out\n"
        "RUN --mount=type=cache,id=out,source=out,target=/p cat /p/passwd > /stolen\n",
        says="cache mount out holds no /out",
    ),
    Case(
        name="a required agent",
        dockerfile="FROM busybox\nRUN --mount=type=ssh,id=mine,required true\n",
        says="unset ssh forward key mine",
    ),
    Case(
        name="a mistyped target",
        dockerfile="FROM scratch AS build\nCOPY Dockerfile /\n",
        options=("--target=bulid",),
        says='target stage "bulid" could not be found (did you mean build?)',
    ),
    Case(
        name="a time that is none",
        dockerfile="ARG SOURCE_DATE_EPOCH=soon\nFROM scratch\nCOPY Dockerfile /\n",
        says="invalid SOURCE_DATE_EPOCH: soon",
    ),
    Case(
        name="a time of a stage that copies",
        dockerfile="ARG SOURCE_DATE_EPOCH=at\nFROM scratch AS at\nCOPY a /\nFROM scratch\n",
        says="SOURCE_DATE_EPOCH stage does not meet source-only requirements",
    ),
)


@pytest.mark.parametrize("case", FAILURES, ids=str)
def test_refused(builder: Builder, case: Case) -> None:
    """The build fails, and says why."""
    said = builder.run(case.dockerfile, *case.options, files=case.files).must_fail().said
    assert case.says in said


@pytest.mark.parametrize(
    ("source", "seconds"),
    [("/dated.tar", LAST_MODIFIED[1]), ("/plain.tar", NEWEST_MEMBER)],
    ids=["what the server says", "the newest file"],
)
@pytest.mark.parametrize("place", ["stage", "context"])
def test_time_of_a_source(
    builder: Builder, web: str, place: str, source: str, seconds: int
) -> None:
    """SOURCE_DATE_EPOCH may name a stage with one download, or a named context."""
    stage = f"FROM scratch AS at\nARG from={web}\nADD $from{source} /\n"
    dockerfile = (
        f"ARG SOURCE_DATE_EPOCH=at\n{stage if place == 'stage' else ''}"
        f"FROM busybox\nARG SOURCE_DATE_EPOCH\n{EPOCH_STEP}\n"
    )
    options = [f"--build-context=at={web}{source}"] if place == "context" else []
    built = builder.build(dockerfile, *options)
    assert (built.files / "epoch").read_text() == str(seconds)
    assert built.image.document["created"].startswith(
        ("2023-11-14T22:16:41", "2024-01-01T00:00:00")
    )
    given = builder.build(dockerfile, *options, "--build-arg=SOURCE_DATE_EPOCH=7", name="given")
    assert (given.files / "epoch").read_text() == "7"


def test_time_of_the_context(builder: Builder, web: str) -> None:
    """`context` is the time of an archive behind a URL or on standard input, not of a directory."""
    epoch = "--build-arg=SOURCE_DATE_EPOCH=context"
    remote = builder.build("", epoch, context=f"{web}/context.tar", name="remote")
    assert (remote.files / "epoch").read_text() == str(NEWEST_MEMBER)
    archive = archive_of({"Dockerfile": f"FROM busybox\nARG SOURCE_DATE_EPOCH\n{EPOCH_STEP}\n"})
    piped = builder.build("", epoch, context="-", stdin=archive, name="piped")
    assert (piped.files / "epoch").read_text() == str(NEWEST_MEMBER)
    dockerfile = f"FROM busybox\nARG SOURCE_DATE_EPOCH\n{EPOCH_STEP}\n"
    local = builder.build(dockerfile, epoch, name="local")
    assert (local.files / "epoch").read_text() == ""


def test_downloads(builder: Builder, web: str) -> None:
    """ADD of a URL: named by it, dated by the server, unpacked only when asked."""
    built = builder.build(
        f"FROM busybox\nADD {web}/file {web}/ /got/\nADD {web}/plain.tar /\n"
        f"ADD --unpack {web}/plain.tar /in/\nADD --chmod=413 --chown=3:4 {web}/file /set\n"
    )
    facts = built.image.tree()
    assert (built.files / "got/file").read_text() == "downloaded\n"
    assert (built.files / "got/__unnamed__").stat().st_mtime == LAST_MODIFIED[1]
    assert (built.files / "in/inner").read_text() == "from an archive\n"
    assert "plain.tar" in facts
    assert (facts["got/file"].mode, facts["set"].mode) == (0o600, 0o413)
    assert facts["set"].owner == (3, 4)


def test_dockerfile_behind_a_url(builder: Builder, web: str) -> None:
    """A URL that gives no archive is a Dockerfile without a context."""
    built = builder.build("", context=f"{web}/Dockerfile.txt")
    assert (built.files / "out").read_text() == "here\n"


def test_named_contexts_are_loaded_when_they_are_needed(builder: Builder) -> None:
    """A context for a stage that nothing needs may be unreachable; one that is needed counts."""
    other = builder.folder / "other"
    write(other, {"kept": "kept\n", "ignored": "", ".dockerignore": "ignored\n"})
    built = builder.build(
        "FROM busybox AS unused\nFROM scratch AS used\nCOPY none /\n"
        "FROM scratch\nCOPY --from=used / /\n",
        "--build-context=unused=docker-image://nowhere.invalid/none",
        f"--build-context=used={other}",
    )
    assert (built.files / "kept").read_text() == "kept\n"
    assert not (built.files / "ignored").exists()


def test_context_in_place_of_a_stage(builder: Builder) -> None:
    """The stage's own commands do not count; its image's ONBUILD neither runs nor stays."""
    base = "FROM busybox\nENV from=layout\nRUN echo other > /other\nONBUILD RUN echo run > /run\n"
    builder.build(base, name="other")
    digest = json.loads((builder.folder / "other/index.json").read_text())["manifests"][0]["digest"]
    built = builder.build(
        "FROM busybox AS parent\nFROM parent AS mid\nCOPY --from=not.there / /\nRUN echo no > /no\n"
        "FROM mid\nRUN echo $from > /seen\n",
        f"--build-context=mid=oci-layout://{builder.folder}/other@{digest}",
    )
    assert (built.files / "seen").read_text() == "layout\n"
    assert (built.files / "other").exists()
    assert not any((built.files / name).exists() for name in ("no", "run"))
    assert "OnBuild" not in built.config


def test_inherited_triggers(builder: Builder) -> None:
    """Triggers of an image run where it is a base, and are gone from what is made of it."""
    builder.build("FROM busybox\nONBUILD RUN echo ran >> /ran\n", name="base")
    option = f"--build-context=base=oci-layout://{builder.folder}/base"
    child = builder.build("FROM base\n", option, name="child")
    assert (child.files / "ran").read_text() == "ran\n"
    option = f"--build-context=base=oci-layout://{builder.folder}/child"
    grandchild = builder.build("FROM base\n", option, name="grandchild")
    assert (grandchild.files / "ran").read_text() == "ran\n"


def test_index_of_one_platform(builder: Builder) -> None:
    """BUILDKIT_MULTI_PLATFORM makes an index, and folders, even of one platform."""
    built = builder.build(
        "FROM --platform=$BUILDPLATFORM busybox\nARG TARGETARCH\nRUN echo $TARGETARCH > /arch\n",
        "--platform=linux/riscv64",
        "--build-arg=BUILDKIT_MULTI_PLATFORM=1",
    )
    assert (built.files / "linux_riscv64/arch").read_text() == "riscv64\n"
    assert built.image.document["architecture"] == "riscv64"


def test_secrets(builder: Builder) -> None:
    """A secret is a file, or a variable that steps do not show, and leaves nothing behind."""
    secret = builder.folder / "secret"
    secret.write_text("pass")
    built = builder.build(
        "FROM busybox\nENV word=plain\n"
        "RUN --mount=type=secret,id=s,mode=741,uid=100,gid=102,target=/s"
        " stat -c '%u %g %a' /s > /f\n"
        "RUN --mount=type=secret,id=s,env=word [ $word = pass ] && ! ls /run/secrets\n"
        "RUN --mount=type=secret,id=s,target=/both/s,env=word [ $word = $(cat /both/s) ]\n"
        "RUN --mount=type=secret,id=none [ ! -e /run/secrets/none ]\n"
        "RUN [ $word = plain ] && ! ls -d /s /both /run\n",
        f"--secret=id=s,src={secret}",
    )
    assert (built.files / "f").read_text() == "100 102 741\n"
    assert "[ **** = pass ]" in built.said


def test_history_names_every_argument_once(builder: Builder) -> None:
    """RUN's line of history counts arguments by name, with the last value of each."""
    built = builder.build("FROM busybox\nARG a=1\nARG b=2\nARG a=3\nWORKDIR /\nRUN true\n")
    lines = [line["created_by"] for line in built.image.document["history"]]
    assert lines[-5:-1] == ["ARG a=1", "ARG b=2", "ARG a=3", "WORKDIR /"]
    assert lines[-1] == "RUN |2 a=3 b=2 /bin/sh -c true # buildkit"


def test_content_decides_what_is_cached(builder: Builder) -> None:
    """A step that ran again and made the same files keeps what stands on it."""
    dockerfile = (
        "FROM busybox AS made\nCOPY changes /\nRUN mkdir /out && echo same > /out/f\n"
        "FROM busybox\nRUN --mount=from=made,src=out,target=/in head -c 20 /dev/urandom > /unique\n"
    )
    first = builder.build(dockerfile, files={"changes": "1"}, name="first")
    second = builder.build(dockerfile, files={"changes": "2"}, name="second")
    unique = [(each.files / "unique").read_bytes() for each in (first, second)]
    assert unique[0] == unique[1]


def test_another_target_is_another_cache_mount_key(builder: Builder) -> None:
    """Two cache mounts without ids are the same exactly if their targets are."""
    built = builder.build(
        "FROM busybox\nRUN --mount=type=cache,target=/one touch /one/f\n"
        "RUN --mount=type=cache,target=/two [ ! -e /two/f ]\n"
        "RUN --mount=type=cache,target=/one,uid=7,mode=751 stat -c '%u %a' /one > /f && ls /one/f\n"
    )
    assert (built.files / "f").read_text() == "7 751\n"


def flush(text: str) -> str:
    """The text without the indent that it has in this file."""
    return "\n".join(line.removeprefix(" " * 12) for line in text.split("\n"))


def archive_of(files: Mapping[str, str]) -> bytes:
    """A tar of files that are all as old as NEWEST_MEMBER."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mtime = len(text), NEWEST_MEMBER
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()
