"""Base images made of this machine's own packages, for where no image registry can be reached.

Everything that belongs to the machine (mirrors, proxies, release) is read off it when an image is
made. A root file system costs up to a minute to make and is kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import shutil
import subprocess
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

KEPT_FOR = 7 * 24 * 3600  # seconds; then the packages in it are too old to be built upon

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
app:x:1000:1000:app:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
GROUP = """\
root:x:0:
daemon:x:1:
www-data:x:33:
users:x:100:app
app:x:1000:
nogroup:x:65534:
"""
FOLDERS = {
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "home/app": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "sys": 0o755,
    "tmp": 0o1777,
    "usr": 0o755,
    "usr/bin": 0o755,
    "var": 0o755,
    "var/www": 0o755,
}
OWNERS = {"home/app": 1000, "var/www": 33}
MTIME = 1704067200

# What the official Debian images do to apt: downloaded packages do not stay.
DOCKER_CLEAN = """\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""
# How this machine reaches its mirrors; steps of a build need the same.
MACHINE_SETTINGS = ("Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries")
NOT_IN_AN_IMAGE = (
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
)


class Impossible(Exception):
    """An image cannot be made on this machine; the message says what is missing."""


def busybox_rootfs() -> bytes:
    """A small root file system around the static busybox, as a tar; the same on every run."""
    found = shutil.which("busybox", path="/bin:/usr/bin:/usr/local/bin")
    if found is None:
        raise Impossible("busybox is missing: apt-get install busybox-static")
    applets = subprocess.run([found, "--list"], check=True, capture_output=True, text=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, mode in FOLDERS.items():
            _add(tar, path, mode, kind=tarfile.DIRTYPE, owner=OWNERS.get(path, 0))
        _add(tar, "bin/busybox", 0o755, data=Path(found).read_bytes())
        for applet in sorted(set(applets.stdout.split()) - {"busybox"}):
            _add(tar, f"bin/{applet}", 0o777, kind=tarfile.SYMTYPE, link="busybox")
        _add(tar, "usr/bin/env", 0o777, kind=tarfile.SYMTYPE, link="../../bin/busybox")
        _add(tar, "etc/passwd", 0o644, data=PASSWD.encode())
        _add(tar, "etc/group", 0o644, data=GROUP.encode())
    return buffer.getvalue()


def _add(
    tar: tarfile.TarFile,
    path: str,
    mode: int,
    *,
    kind: bytes = tarfile.REGTYPE,
    data: bytes = b"",
    link: str = "",
    owner: int = 0,
) -> None:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.mtime = kind, mode, MTIME
    member.uid = member.gid = owner
    member.size, member.linkname = len(data), link
    tar.addfile(member, io.BytesIO(data))


def debian_rootfs(*packages: str) -> Path:
    """A minimal Debian (or Ubuntu) of this machine's release, with packages, as a kept tar."""
    program = shutil.which("mmdebstrap")
    if program is None:
        raise Impossible("mmdebstrap is missing: apt-get install mmdebstrap")
    sources = apt_sources()
    if not sources:
        raise Impossible("apt knows no package lists of this system: apt-get update")
    wanted = "\n".join((*sorted(packages), *sources, DOCKER_CLEAN))
    kept = kept_files() / f"rootfs-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}.tar"
    if kept.exists() and time.time() - kept.stat().st_mtime < KEPT_FOR:
        return kept
    unfinished = kept.with_suffix(f".{os.getpid()}.tar")
    try:
        command = [program, "--quiet", "--variant=minbase", *_options(packages)]
        subprocess.run([*command, _release(), str(unfinished), *sources], check=True)
        unfinished.rename(kept)
        forget_old()
    except subprocess.CalledProcessError as error:
        raise Impossible(f"mmdebstrap failed with exit code {error.returncode}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return kept


def _options(packages: Sequence[str]) -> list[str]:
    settings = machine_settings()
    files = {
        "etc/apt/apt.conf.d/docker-clean": DOCKER_CLEAN,
        "etc/apt/apt.conf.d/machine": "".join(f"{setting}\n" for setting in settings),
        "etc/dpkg/dpkg.cfg.d/speed": "force-unsafe-io\n",
    }
    write = [f'printf %s {shlex.quote(text)} >"$1/{path}"' for path, text in files.items()]
    return [
        *(f"--include={package}" for package in packages),
        *(f"--aptopt={setting.rstrip(';')}" for setting in settings),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in NOT_IN_AN_IMAGE),
        f"--customize-hook={' && '.join(write)}",
    ]


def apt_sources() -> list[str]:
    """The distribution's own archives that this machine uses, as `deb …` lines."""
    distribution = {"debian": "Debian", "ubuntu": "Ubuntu"}.get(os_release()["ID"], "Debian")
    line = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    query = ["apt-get", "indextargets", "--format", line, "Created-By: Packages"]
    answer = subprocess.run(
        [*query, f"Origin: {distribution}"], capture_output=True, text=True, check=False
    )
    return sorted(set(answer.stdout.splitlines()))


def machine_settings() -> list[str]:
    """Those of apt's settings on this machine that say how to reach the archives."""
    dump = ["apt-config", "dump", "--no-empty", "--format", '%F "%v";%n', "Acquire"]
    answer = subprocess.run(dump, capture_output=True, text=True, check=False).stdout
    return [line for line in answer.splitlines() if line.startswith(MACHINE_SETTINGS)]


def os_release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key: value.strip('"') for key, value in pairs}


def _release() -> str:
    return os_release()["VERSION_CODENAME"]


def forget_old() -> None:
    """Remove the root file systems that nothing will be built upon any more."""
    for kept in kept_files().glob("rootfs-*.tar"):
        if time.time() - kept.stat().st_mtime > KEPT_FOR:
            kept.unlink()


def kept_files() -> Path:
    """`$XDG_CACHE_HOME/lamina-bases`, made if it is not there."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "lamina-bases"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
