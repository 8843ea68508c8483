#!/usr/bin/env python3
"""Make this checkout ready: system packages, the virtual environment, the `lamina` command in it.

    tools/setup.py LEVEL        LEVEL is one of: check, demo, test

Runs on a bare Python 3.11 (standard library only), says what it does, and does nothing that
is already done: a stamp in the virtual environment remembers what it was made from.  What
cannot be installed is named together with what stops working; everything else goes on.
LAMINA_SETUP=again tries again what failed the last time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = CHECKOUT / "requirements"


@dataclass(frozen=True, slots=True)
class Need:
    """A system package, the program that proves it is there, and what is lost without it."""

    package: str
    program: str | None
    without: str


RUN = (
    Need("libseccomp2", None, "steps run without a system call filter"),
    Need("uidmap", "newuidmap", "an ordinary user's builds have one user id only"),
)
DEMO = (
    Need("mmdebstrap", "mmdebstrap", "the demo cannot make its base images: it needs a registry"),
    Need("busybox-static", "busybox", "no stand-in for alpine; nearly every test needs it, too"),
    Need("ca-certificates", None, "nothing can be fetched over HTTPS"),
)
TEST = (
    Need("buildah", "buildah", "no comparison with buildah, no benchmark"),
    Need("runc", "runc", "no test of --isolation=oci"),
    Need("docker-registry", "docker-registry", "no test of pulling and pushing"),
    Need("skopeo", "skopeo", "images are not read by skopeo as an independent judge"),
    Need("umoci", "umoci", "images are not unpacked by umoci as an independent judge"),
    Need("podman", "podman", "archives are not loaded by podman as an independent judge"),
    Need("attr", "getfattr", "no test of extended attributes"),
    Need("acl", "getfacl", "no test of access control lists"),
    Need("libcap2-bin", "getcap", "no test of file capabilities"),
    Need("strace", "strace", "system calls are not counted"),
    Need("zstd", "zstd", "no test of zstd archives"),
    Need("xz-utils", "xz", "no test of xz archives"),
    Need("bzip2", "bzip2", "no test of bzip2 archives"),
    Need("git", "git", "no Rust among the tests of package managers"),
    Need("openssl", "openssl", "no test of registries over HTTPS"),
    Need("chromium", "chromium", "reports are not looked at in a browser"),
)


@dataclass(frozen=True, slots=True)
class Level:
    """What one of the make targets needs."""

    system: tuple[Need, ...]
    python: tuple[str, ...]


LEVELS = {
    "check": Level((), ("dev.txt",)),
    "demo": Level(RUN + DEMO, ("build.txt", "run.txt")),
    "test": Level(RUN + DEMO + TEST, ("dev.txt",)),
}


def main(arguments: list[str]) -> int:
    """Set up one level; exit code 1 only if the `lamina` command itself cannot be made."""
    if len(arguments) != 1 or arguments[0] not in LEVELS:
        print(__doc__, file=sys.stderr)
        return 2
    name = arguments[0]
    level = LEVELS[name]
    started = time.monotonic()
    stamp = VENV / f".lamina-setup-{name}.json"
    digest = inputs_digest(level)
    lost = remembered(stamp, digest)
    missing = absent(level.system)
    if lost is not None and {need.package for need in missing} <= set(lost):
        compile_package()
        report(missing)
        return 0
    say(f"making {VENV.name} and everything that `make {name}` needs")
    try:
        install_system(missing)
        make_environment(level)
    except subprocess.CalledProcessError as error:
        say(f"failed: {' '.join(map(str, error.cmd))} (exit code {error.returncode})")
        return 1
    compile_package()
    missing = absent(level.system)
    stamp.write_text(json.dumps({"inputs": digest, "lost": [need.package for need in missing]}))
    report(missing)
    say(f"done in {time.monotonic() - started:.1f} s")
    return 0


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def report(missing: Iterable[Need]) -> None:
    for need in missing:
        say(f"missing: {need.package}: {need.without}; everything else works")


def inputs_digest(level: Level) -> str:
    """One digest of everything that the virtual environment is made from."""
    files = [Path(__file__), CHECKOUT / "pyproject.toml", *(REQUIREMENTS / n for n in level.python)]
    digest = hashlib.sha256(f"{sys.version} {VENV}".encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def remembered(stamp: Path, digest: str) -> list[str] | None:
    """The packages that could not be had when this same set-up was made; None if it was not."""
    if os.environ.get("LAMINA_SETUP") == "again" or not (VENV / "bin" / "lamina").exists():
        return None
    try:
        record = json.loads(stamp.read_text())
    except (OSError, ValueError):
        return None
    return list(record["lost"]) if record["inputs"] == digest else None


# --- system packages ------------------------------------------------------------------------


def absent(needs: Iterable[Need]) -> list[Need]:
    """Those that are not installed, asked of dpkg where there is one, else looked for in PATH."""
    needs = list(needs)
    if not needs:
        return []
    if shutil.which("dpkg-query") is None:
        return [
            need for need in needs if need.program and not shutil.which(need.program, path=path())
        ]
    names = [need.package for need in needs]
    query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *names]
    answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    installed = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    return [need for need in needs if need.package not in installed]


def path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def install_system(needs: Iterable[Need]) -> None:
    """Install with apt-get what is missing; what cannot be had is left for the report."""
    names = [need.package for need in needs]
    if importlib.util.find_spec("ensurepip") is None:
        names.append(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")
    if not names:
        return
    if shutil.which("apt-get") is None:
        say(f"no apt-get on this system; install what is called on Debian: {' '.join(names)}")
        return
    if os.geteuid() != 0:
        say(f"not root; please run: sudo apt-get install {' '.join(names)}")
        return
    say(f"apt-get install {' '.join(names)}")
    apt_get("update")
    if not apt_get("install", *names):
        for name in names:
            apt_get("install", name)


def apt_get(verb: str, *names: str) -> bool:
    """Run apt-get without questions and recommendations; whether it worked."""
    options = ["-qq", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", *options, verb, *names],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        say("\n".join([f"apt-get {verb} failed:", *done.stdout.splitlines()[-5:]]))
    return done.returncode == 0


# --- the virtual environment ----------------------------------------------------------------


def make_environment(level: Level) -> None:
    """Create `.venv`, install the pinned requirements by hash, then this package, editable."""
    if not usable(PYTHON):
        say(f"python -m venv {VENV.name}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    for name in level.python:
        say(f"installing requirements/{name}")
        install("--require-hashes", "-r", str(REQUIREMENTS / name))
    say("installing lamina, editable")
    install("--no-deps", "--no-build-isolation", "-e", str(CHECKOUT))


def compile_package() -> None:
    """Compile Lamina's modules, as the installation of a wheel does.

    Otherwise the first command would; and where Python may write no bytecode, every command.
    """
    subprocess.run([PYTHON, "-m", "compileall", "-q", CHECKOUT / "src"], check=False)


def usable(python: Path) -> bool:
    """Whether a virtual environment of this same Python, with pip, is there."""
    if not python.exists():
        return False
    probe = (
        "import pip, sys; sys.exit(list(sys.version_info[:2]) != [int(a) for a in sys.argv[1:]])"
    )
    version = [str(number) for number in sys.version_info[:2]]
    return subprocess.run([python, "-c", probe, *version], check=False).returncode == 0


def install(*arguments: str) -> None:
    """Install with uv where it is there and works (it does not read pip's settings), else pip."""
    uv = shutil.which("uv")
    if uv is not None:
        command = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            str(PYTHON),
            *arguments,
        ]
        if subprocess.run(command, check=False).returncode == 0:
            return
        say("uv could not; trying pip")
    subprocess.run(
        [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments],
        check=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
