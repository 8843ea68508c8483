"""A step that fails: its hint, a shell in it, its files kept or exported, and limits of memory."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.commands import Outcome, run
from tests.support.lamina import COMMAND, Lamina
from tests.support.users import OrdinaryUser

pytestmark = pytest.mark.root

F = "FROM busybox\n"
STEP = 3
USAGE = 2
FOREIGN = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x16\x00\1\0\0\0" + bytes(200)
GLIBC = (
    b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + b"\x3e\x00" + b"\1\0\0\0"
    + bytes(8) + (64).to_bytes(8, "little") + bytes(8) + bytes(6)
    + (56).to_bytes(2, "little") + (1).to_bytes(2, "little") + bytes(6)
    + (3).to_bytes(4, "little") + bytes(4) + (120).to_bytes(8, "little")
    + bytes(16) + (28).to_bytes(8, "little") + bytes(16)
    + b"/lib64/ld-linux-x86-64.so.2\0"
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Hinted:
    """A build whose last step fails, and what its hint says."""

    name: str
    dockerfile: str
    says: str
    files: dict[str, bytes] = field(default_factory=dict)
    options: tuple[str, ...] = ()


HINTED = [
    Hinted(
        name="a mistyped command",
        dockerfile=F + "RUN gerp x /etc/passwd\n",
        says="the image has no gerp in PATH: did you mean grep?",
    ),
    Hinted(
        name="a command that is not installed",
        dockerfile=F + "RUN git-of-another-image clone x\n",
        says="the image has no git-of-another-image in PATH: install it in an earlier step",
    ),
    Hinted(
        name="a mistyped command without a shell",
        dockerfile=F + 'RUN ["gerp", "x"]\n',
        says="the image has no gerp in PATH: did you mean grep?",
    ),
    Hinted(
        name="sudo",
        dockerfile=F + "RUN sudo true\n",
        says="the image has no sudo, and the step is root already: leave it out",
    ),
    Hinted(
        name="a script that is elsewhere",
        dockerfile=F + "COPY build.sh /app/\nRUN /app/bulid.sh\n",
        files={"build.sh": b"#!/bin/sh\n"},
        says="the image has no /app/bulid.sh: did you mean /app/build.sh?",
    ),
    Hinted(
        name="the shell of a script",
        dockerfile=F + "COPY --chmod=755 x.sh /\nRUN /x.sh\n",
        files={"x.sh": b"#!/bin/bash\necho\n"},
        says="the first line of /x.sh asks for /bin/bash, which the image does not have",
    ),
    Hinted(
        name="line ends of Windows",
        dockerfile=F + "WORKDIR /w\nCOPY --chmod=755 x.sh .\nRUN ./x.sh\n",
        files={"x.sh": b"#!/bin/sh\r\necho\r\n"},
        says="/w/x.sh: the file has Windows' line ends (CRLF)",
    ),
    Hinted(
        name="a script that nobody may run",
        dockerfile=F + "COPY --chmod=644 x.sh /\nRUN /x.sh\n",
        files={"x.sh": b"#!/bin/sh\n"},
        says="/x.sh has the mode 0644: nobody may run it. COPY it with --chmod=755",
    ),
    Hinted(
        name="another architecture",
        dockerfile=F + "COPY --chmod=755 tool /\nRUN /tool\n",
        files={"tool": FOREIGN},
        says="/tool is made for another processor, s390x: this machine is",
    ),
    Hinted(
        name="another architecture without a shell",
        dockerfile=F + 'COPY --chmod=755 tool /\nRUN ["/tool"]\n',
        files={"tool": FOREIGN},
        says="/tool is made for another processor, s390x: this machine is",
    ),
    Hinted(
        name="a missing loader",
        dockerfile=F + "RUN rm -f /lib64/ld-linux*\nCOPY --chmod=755 tool /\nRUN /tool\n",
        files={"tool": GLIBC},
        says="/tool needs the dynamic loader /lib64/ld-linux-x86-64.so.2, which the image does not",
    ),
    Hinted(
        name="no network",
        dockerfile=F + "RUN --network=none echo 'Could not resolve host: x'; exit 6\n",
        says="the step has no network: it runs with --network=none",
    ),
    Hinted(
        name="a read-only bind mount",
        dockerfile=F + "RUN --mount=target=/src touch /src/made\n",
        says="what is mounted at /src is read-only: add rw to the mount",
    ),
    Hinted(
        name="a full tmpfs",
        dockerfile=F + "RUN --mount=type=tmpfs,target=/t,size=65536 cp /bin/busybox /t/big\n",
        says="the tmpfs at /t holds no more than 65536 bytes: its mount may have a larger size=",
    ),
    Hinted(
        name="a crash",
        dockerfile=F + "RUN sh -c 'kill -SEGV $$'; exit $?\n",
        says="it was ended by signal 11 (SIGSEGV)",
    ),
    Hinted(
        name="a file that an ignore rule excludes",
        dockerfile=F + "COPY build/app /\n",
        files={"build/app": b"", ".dockerignore": b"# made\n\nbuild\n"},
        says="/build/app is excluded by .dockerignore line 3",
    ),
    Hinted(
        name="a mistyped source",
        dockerfile=F + "COPY requirments.txt /\n",
        files={"requirements.txt": b""},
        says="did you mean /requirements.txt?",
    ),
]


def write(context: Path, dockerfile: str, files: dict[str, bytes] | None = None) -> Path:
    for name, content in {"Dockerfile": dockerfile.encode(), **(files or {})}.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return context


def hints(outcome: Outcome) -> list[str]:
    lines = outcome.stderr.splitlines()
    return [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]


@pytest.mark.parametrize("case", HINTED, ids=lambda case: case.name)
def test_the_hint_names_the_cause(lamina: Lamina, tmp_path: Path, case: Hinted) -> None:
    """Each cause is made in a real build, and is what the first hint says."""
    context = write(tmp_path / "context", case.dockerfile, case.files)
    outcome = lamina.build(context, *case.options).must_fail()
    assert hints(outcome), outcome.stderr
    assert case.says in hints(outcome)[0]


NOT_HINTED = {
    "a command's own words": F + "RUN echo 'x: not found'; exit 1\n",
    "apt's words, and an index": F
    + "RUN mkdir -p /var/lib/apt/lists && apt-get update || true\n"
    + "RUN apt-get update; echo 'E: Unable to locate package x'; exit 100\n",
    "a full disk that is none": F + "RUN echo 'No space left on device'; exit 1\n",
    "a certificate on a bundle's mount": F
    + "RUN --mount=type=cache,target=/etc/ssl echo certificate verify failed; exit 1\n",
    "the network": F + "RUN echo 'Could not resolve host: x'; exit 6\n",
}


@pytest.mark.parametrize("name", list(NOT_HINTED))
def test_no_hint_without_evidence(lamina: Lamina, tmp_path: Path, name: str) -> None:
    """The words alone, or another explanation for them, are no evidence."""
    outcome = lamina.build(write(tmp_path / "context", NOT_HINTED[name])).must_fail()
    assert len(hints(outcome)) == 1, outcome.stderr
    assert hints(outcome)[0].startswith("its whole output is in ")


def test_missing_package_index(lamina: Lamina, tmp_path: Path) -> None:
    """apt without an index is told to get one, and told otherwise where there is an old one."""
    says = "RUN echo 'E: Unable to locate package curl' >&2; exit 100\n"
    empty = lamina.build(write(tmp_path / "empty", F + says)).must_fail()
    assert "no package index (/var/lib/apt/lists is empty)" in hints(empty)[0]
    listed = "RUN mkdir -p /var/lib/apt/lists; echo >/var/lib/apt/lists/x_Packages\n"
    old = lamina.build(write(tmp_path / "old", F + listed + says)).must_fail()
    assert "comes from an earlier step and has no curl" in hints(old)[0]


def test_missing_certificates(lamina: Lamina, tmp_path: Path) -> None:
    """An image without CA certificates is told apart from one that does not know an issuer."""
    says = "RUN echo 'SSL certificate problem: unable to get local issuer certificate'; exit 60\n"
    none = lamina.build(write(tmp_path / "none", F + says)).must_fail()
    assert hints(none)[0].startswith("the image has no CA certificates")
    some = "RUN mkdir -p /etc/ssl/certs; echo x >/etc/ssl/certs/ca-certificates.crt\n"
    other = lamina.build(write(tmp_path / "other", F + some + says)).must_fail()
    assert "do not know who signed" in hints(other)[0]


# Out of memory


def test_out_of_memory(lamina: Lamina, tmp_path: Path) -> None:
    """It is said which process it was, how much it held, and what it may use."""
    context = write(tmp_path / "context", F + "RUN tail /dev/zero; exit 2\n")
    outcome = lamina.build(context, "--resource=memory=48m").must_fail()
    assert "exit code: 2 (killed by the kernel for lack of memory: process " in outcome.stderr
    assert hints(outcome)[0].startswith("the step may use 48 MiB: raise the limit")
    assert "MiB)" in outcome.stderr


def test_limits_hold_and_leave_nothing(lamina: Lamina, tmp_path: Path) -> None:
    """A step sees its limits, a limit is no part of its key, and its control groups are gone."""
    show = F + "RUN grep Cpus_allowed_list /proc/self/status\n"
    context = write(tmp_path / "context", show)
    limited = lamina.build(context, "-m", "64m", "--cpuset-cpus=0").must_succeed()
    assert "Cpus_allowed_list:\t0\n" in limited.stderr
    assert "CACHED" in lamina.build(context, "--resource=cpu-quota=50000").must_succeed().stderr
    own = Path("/proc/self/cgroup").read_text()
    assert "lamina-" not in own


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("memory=lots", "invalid size"),
        ("memory=1m", "too small"),
        ("memory-swap=1g", "memory-swap needs memory"),
        ("memory=1g,memory-swap=512m", "smaller than memory"),
        ("cpu-quota=-1", "it must be a number above 0"),
        ("memroy=1g", "unknown key 'memroy'"),
        ("cpuset-cpus=a", "invalid value 'a'"),
        ("cpuset-cpus=0,1", "a list needs quotes"),
    ],
)
def test_limits_that_are_none(lamina: Lamina, tmp_path: Path, flag: str, says: str) -> None:
    """They are refused before the build."""
    outcome = lamina.build(write(tmp_path / "c", F), f"--resource={flag}").must_fail()
    assert outcome.code == USAGE
    assert says in outcome.stderr


def test_an_ordinary_user_who_may_not_limit(user: OrdinaryUser) -> None:
    """The refusal is one sentence, before anything is built."""
    context = write(user.home / "limited", "FROM scratch\n")
    lamina = Lamina(store=user.home / "store-limited", wrapper=user.lamina())
    command = own(lamina.build_command(context, "-m1g"))
    outcome = run(command, cwd=user.home, env=user.env())
    if outcome.code:  # below systemd, which hands the controllers on, they may
        assert "memory of steps cannot be limited here" in outcome.stderr
        assert "Traceback" not in outcome.stderr


# The files of a failed step

REPORTS = (
    "FROM busybox\nENV COLOR=blue\nWORKDIR /w\n"
    "RUN mkdir -p /out && echo bad >/out/report.xml && chmod 600 /out/report.xml "
    "&& rm /etc/group && exit 4\n"
)


def test_export(lamina: Lamina, tmp_path: Path) -> None:
    """What the step made lies in the folder, and what it removed is listed; the build fails as
    ever.
    """
    dest = tmp_path / "reports"
    context = write(tmp_path / "context", REPORTS)
    outcome = lamina.build(context, f"--on-error=export={dest}").must_fail()
    assert outcome.code == STEP
    assert "exit code: 4" in outcome.stderr
    assert (dest / "out/report.xml").read_text() == "bad\n"
    assert stat.S_IMODE((dest / "out/report.xml").stat().st_mode) == 0o600
    assert (dest / ".lamina-removed").read_text() == "/etc/group\n"
    assert not (dest / "bin").exists()
    again = lamina.build(context, f"--on-error=export={dest}").must_fail()
    assert again.code == USAGE
    assert "is not empty" in again.stderr


def test_export_of_everything(lamina: Lamina, tmp_path: Path) -> None:
    """The whole root file system as the step left it."""
    dest = tmp_path / "root"
    context = write(tmp_path / "context", REPORTS)
    lamina.build(context, f"--on-error=export={dest},whole=true").must_fail()
    assert (dest / "out/report.xml").exists()
    assert (dest / "bin/sh").exists()
    assert not (dest / "etc/group").exists()


def test_nothing_is_exported_where_nothing_fails(lamina: Lamina, tmp_path: Path) -> None:
    """No folder is made."""
    context = write(tmp_path / "context", F + "RUN true\n")
    lamina.build(context, f"--on-error=export={tmp_path / 'none'}").must_succeed()
    assert not (tmp_path / "none").exists()


def test_as_an_ordinary_user(user: OrdinaryUser, busybox_image: Path) -> None:
    """Exported files belong to the user, whoever made them in the step; a shell opens, too."""
    layout = user.home / "busybox-on-error"
    shutil.copytree(busybox_image, layout)
    store = user.home / "store-on-error"
    lamina = Lamina(store=store, bases={"busybox": layout}, wrapper=(*user.lamina(),))
    context = write(user.home / "context-on-error", F + "USER app\nRUN echo x >/tmp/made; exit 4\n")
    dest = user.home / "exported"
    words = own(lamina.build_command(context, f"--on-error=export={dest}"))
    outcome = run(words, cwd=user.home, env=user.env())
    assert outcome.code == STEP, outcome.said
    assert (dest / "tmp/made").stat().st_uid == user.home.stat().st_uid
    terminal = Terminal(own(lamina.build_command(context, "--on-error=shell")))
    terminal.wait_for(b"$ ")
    terminal.type("echo $(cat /tmp/made)-$(id -un)\n")
    terminal.wait_for(b"x-app")
    terminal.type("exit\n")
    assert terminal.end() == STEP, terminal.seen


def own(command: list[str]) -> list[str]:
    """The words of `Lamina` with the wrapper alone in place of this process's own command."""
    return [word for word in command if word != str(COMMAND)]


def test_keep(lamina: Lamina, tmp_path: Path) -> None:
    """The files are an image of the local store: it runs, with the step's variables and folder, and
    is removed like any other.
    """
    context = write(tmp_path / "context", REPORTS)
    outcome = lamina.build(context, "--on-error=keep").must_fail()
    assert outcome.code == STEP
    name = hints(outcome)[-1].split()[-1]
    assert name.startswith("lamina-failed:")
    look = lamina.run("run", name, "sh", "-c", "cat /out/report.xml; pwd; echo $COLOR; ls /etc")
    assert look.must_succeed().stdout.split()[:3] == ["bad", "/w", "blue"]
    assert "group" not in look.stdout.split()
    lamina.run("rmi", name).must_succeed()


def test_other_steps_end_as_ever(lamina: Lamina, tmp_path: Path) -> None:
    """A step that runs at the same time is cancelled, and does not hold the build up."""
    dockerfile = (
        "FROM busybox AS slow\nRUN sleep 60\nFROM busybox AS bad\nRUN sleep 1; exit 4\n"
        "FROM busybox\nCOPY --from=slow /etc /a\nCOPY --from=bad /etc /b\n"
    )
    began = time.monotonic()
    outcome = lamina.build(write(tmp_path / "c", dockerfile), "--on-error=keep").must_fail()
    assert time.monotonic() - began < 30
    assert "lamina-failed:" in hints(outcome)[-1]


# A shell


class Terminal:
    """A command with a terminal of its own, and somebody who types."""

    def __init__(self, command: list[str]) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, {**os.environ, "TERM": "xterm"})
        self.seen = b""

    def wait_for(self, text: bytes, *, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen.decode(errors="replace")
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 65536)

    def type(self, text: str) -> None:
        self.seen = b""
        os.write(self.master, text.encode())

    def end(self) -> int:
        """Its exit code, when it has ended by itself."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if select.select([self.master], [], [], 0.2)[0]:
                    self.seen += os.read(self.master, 65536)
            except OSError:
                break
        else:
            os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


SHELL = (
    "FROM busybox\nENV COLOR=blue\nWORKDIR /w\nUSER app\n"
    "RUN --mount=type=cache,target=/cache,sharing=locked,uid=1000 "
    "--mount=type=secret,id=tok,uid=1000 --mount=target=/src,rw --mount=type=tmpfs,target=/t "
    "echo made >/tmp/made && echo kept >/cache/kept && exit 9\n"
)


@pytest.mark.parametrize("driver", ["namespaces", "oci"])
def test_a_shell_in_the_failed_step(lamina: Lamina, tmp_path: Path, driver: str) -> None:
    """It has the step's files, mounts, secrets, variables, user and folder; the command can be
    repeated; afterwards the build fails as it would have, and what was held is let go of.
    """
    context = write(tmp_path / "context", SHELL)
    (tmp_path / "tok").write_text("s3cret")
    options = (f"--isolation={driver}", f"--secret=id=tok,src={tmp_path / 'tok'}")
    terminal = Terminal(lamina.build_command(context, "--on-error=shell", *options))
    terminal.wait_for(b"thrown away, but in /cache")
    terminal.wait_for(b"$ ")
    terminal.type("cat /tmp/made /cache/kept; cat /run/secrets/tok; echo -$COLOR-$(id -un)-$PWD\n")
    terminal.wait_for(b"s3cret-blue-app-/w")
    terminal.type('ls /src /t; eval "$LAMINA_COMMAND"; echo code=$?\n')
    terminal.wait_for(b"code=9")
    assert b"Dockerfile" in terminal.seen
    terminal.type("exit 5\n")
    code = terminal.end()
    assert code == STEP, terminal.seen
    assert b"exit code: 9" in terminal.seen
    assert os.listdir(lamina.store / "making") == ["lock"]


def test_a_lock_is_held_while_the_shell_is_open(lamina: Lamina, tmp_path: Path) -> None:
    """Another build that wants the same locked cache mount waits."""
    mount = "--mount=type=cache,id=shared,target=/cache,sharing=locked"
    first = write(tmp_path / "first", F + f"RUN {mount} exit 9\n")
    terminal = Terminal(lamina.build_command(first, "--on-error=shell"))
    terminal.wait_for(b"# ")
    second = write(tmp_path / "second", F + f"RUN {mount} echo done\n")
    waiting = lamina.start(lamina.build_command(second))
    time.sleep(1.5)
    assert waiting.poll() is None
    terminal.type("exit\n")
    assert terminal.end() == STEP
    assert b"waiting for the lock of cache mount shared" in waiting.communicate(timeout=60)[0]
    assert waiting.returncode == 0


def test_an_image_without_a_shell(lamina: Lamina, tmp_path: Path) -> None:
    """It is said so, and the build ends."""
    dockerfile = (
        "FROM busybox AS tools\nFROM scratch\nCOPY --from=tools /bin/busybox /busybox\n"
        'RUN ["/busybox", "false"]\n'
    )
    context = write(tmp_path / "context", dockerfile)
    terminal = Terminal(lamina.build_command(context, "--on-error=shell"))
    assert terminal.end() == STEP, terminal.seen
    assert b"the image has no shell" in terminal.seen


def test_a_shell_needs_a_terminal(lamina: Lamina, tmp_path: Path) -> None:
    """Without one nothing is built."""
    context = write(tmp_path / "context", F + "RUN false\n")
    outcome = lamina.build(context, "--on-error=shell").must_fail()
    assert outcome.code == USAGE
    assert "needs a terminal" in outcome.stderr
    assert "[1/2]" not in outcome.stderr


@pytest.mark.parametrize("value", ["shel", "export", "export=", "keep=x", "export=x,y=1", ""])
def test_values_that_are_none(lamina: Lamina, tmp_path: Path, value: str) -> None:
    """They are refused before the build."""
    outcome = lamina.build(write(tmp_path / "c", F), f"--on-error={value}").must_fail()
    assert outcome.code == USAGE
