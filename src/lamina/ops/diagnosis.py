"""Why a RUN step failed, where there is evidence: in its last output and in its files.

Each cause is a function from the facts to a hint, or to None; `CAUSES` lists them, and the first
that finds evidence is told. A guess is worse than nothing: what a cause cannot see it does not
claim. Files below a mount are not seen.
"""

from __future__ import annotations

import posixpath
import re
import signal
from collections.abc import Callable
from typing import Final

import msgspec

from lamina.executor.spec import OutOfMemory
from lamina.graph import mounts as m
from lamina.graph.ops import ExecOp
from lamina.notation.sizes import gibibytes
from lamina.ops import programs
from lamina.ops.failed_tree import FailedTree

_LINES = 60
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
)
_CERTIFICATES = re.compile(
    r"certificate verify failed|unable to get local issuer certificate"
    r"|certificate signed by unknown authority|self[- ]signed certificate in certificate chain"
    r"|server certificate verification failed|not trusted|No system certificates available",
    re.IGNORECASE,
)
_NO_NAME = re.compile(
    r"Temporary failure (?:resolving|in name resolution)|Could not resolve host|bad address '"
    r"|Name or service not known|Network is unreachable|EAI_AGAIN|Network unreachable"
    r"|no such host|dns error|failed to lookup address",
    re.IGNORECASE,
)
_APT_UNKNOWN = re.compile(r"^E: Unable to locate package (?P<name>\S+)", re.MULTILINE)
_APT_NO_CANDIDATE = re.compile(r"^E: Package '(?P<name>\S+)' has no installation", re.MULTILINE)
_APT_GONE = re.compile(r"^(?:E: Failed to fetch|Err:).*\n?.*404 +Not Found", re.MULTILINE)
_APK_UNKNOWN = re.compile(r"^ {2}(?P<name>\S+) \(no such package\)", re.MULTILINE)
_READ_ONLY = re.compile(r"^.*Read-only file system.*$", re.MULTILINE | re.IGNORECASE)
_NO_SPACE = re.compile(r"^.*No space left on device.*$", re.MULTILINE)
_APT_LISTS = "/var/lib/apt/lists"
_APT_UPDATE = re.compile(r"\bapt(?:-get)?\b[^&|;\n]*\bupdate\b")
_APK_UPDATES = re.compile(r"--no-cache|--update-cache|\bapk\b[^&|;\n]*(?:\bupdate\b| -U\b)")
_SHELLS = 128
_SIGNALS = {
    signal.SIGSEGV: "it crashed (segmentation fault)",
    signal.SIGILL: "it ran an instruction that this processor does not have",
    signal.SIGBUS: "it crashed (bus error: a full disk or /dev/shm, or a damaged file)",
    signal.SIGFPE: "it crashed (a division by zero, or the like)",
    signal.SIGABRT: "it gave up by itself (abort)",
    signal.SIGTERM: "somebody asked it to end",
    signal.SIGKILL: "somebody killed it",
    signal.SIGXFSZ: "a file grew above the limit for files (--ulimit fsize)",
    signal.SIGXCPU: "it used more processor time than it may (--ulimit cpu)",
}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a step that failed.

    `code` is its exit code; `complaint` says why it could not be started, "" where it was. `output`
    is the end of what it said. `machine` is as `uname -m` has it, and `emulated` says whether a
    program for another one (so named) can run. `disk_full` names the disk under its files.
    """

    op: ExecOp
    code: int
    complaint: str
    output: str
    tree: FailedTree
    machine: str
    emulated: Callable[[str], bool]
    disk_full: str = ""
    out_of_memory: OutOfMemory | None = None
    signal: int = 0

    @property
    def script(self) -> str:
        return self.op.args[-1] if self.op.args else ""

    @property
    def lines(self) -> list[str]:
        """What it said last, the last line first."""
        said = self.output.splitlines()[-_LINES:]
        return [*filter(None, [self.complaint]), *reversed(said)]

    def covered(self, path: str) -> bool:
        """Whether something that is gone now was mounted at `path` or above it."""
        return any(
            path == target or path.startswith(target + "/")
            for mount in self.op.mounts
            if (target := (mount.target or "").rstrip("/"))
        )

    def absolute(self, path: str) -> str:
        return posixpath.normpath(posixpath.join("/", self.op.cwd, path))


def diagnose(facts: Facts) -> str | None:
    """The likely cause and what to do about it, in one sentence; None where nothing is certain."""
    return next(filter(None, (cause(facts) for cause in CAUSES)), None)


def _memory(facts: Facts) -> str | None:
    found = facts.out_of_memory
    if found is None:
        return None
    if found.limit:
        return (
            f"the step may use {gibibytes(found.limit)}: raise the limit (--resource memory=…), "
            "or let it do less at once (make -j)"
        )
    return "let it do less at once: --jobs 1 runs one step at a time, make -j2 two compilers"


def _disk(facts: Facts) -> str | None:
    if facts.disk_full:
        return f"the disk that holds the store is full: {facts.disk_full}"
    lines = list(map(str, _NO_SPACE.findall(facts.output)))
    if any("/dev/shm" in line for line in lines):
        return "/dev/shm is full: --shm-size makes it larger"
    limited = [each for each in facts.op.mounts if isinstance(each, m.TmpfsMount) and each.size]
    for mount in limited if lines else ():
        if any(mount.target in line for line in lines) or len(limited) == 1:
            return (
                f"the store's disk has room, but the tmpfs at {mount.target} holds no more than "
                f"{mount.size} bytes: its mount may have a larger size="
            )
    return None


def _network(facts: Facts) -> str | None:
    if facts.op.network == "none" and _NO_NAME.search(facts.output):
        return "the step has no network: it runs with --network=none"
    return None


def _certificates(facts: Facts) -> str | None:
    if not _CERTIFICATES.search(facts.output):
        return None
    if any(map(facts.covered, _BUNDLES)):
        return None
    found = [path for path in _BUNDLES if facts.tree.size(path)]
    if not found:
        return "the image has no CA certificates: install the package ca-certificates first"
    return (
        f"the image's CA certificates ({found[0]}) do not know who signed the server's: "
        "is there a proxy whose certificate has to be added?"
    )


def _apt(facts: Facts) -> str | None:
    unknown = _APT_UNKNOWN.search(facts.output) or _APT_NO_CANDIDATE.search(facts.output)
    gone = _APT_GONE.search(facts.output)
    if not (unknown or gone) or _APT_UPDATE.search(facts.script):
        return None
    again = "write apt-get update && apt-get install … in one RUN"
    if gone and not unknown:
        return f"the package index comes from an earlier step and is out of date: {again}"
    if facts.covered(_APT_LISTS):
        return None
    indexed = any(b"_Packages" in name for name in facts.tree.names(_APT_LISTS))
    if not indexed:
        return f"the image has no package index ({_APT_LISTS} is empty): {again}"
    name = unknown["name"] if unknown else ""
    return (
        f"the package index comes from an earlier step and has no {name}: {again}, "
        "or look the name up"
    )


def _apk(facts: Facts) -> str | None:
    found = _APK_UNKNOWN.search(facts.output)
    if found is None or _APK_UPDATES.search(facts.script):
        return None
    places = ("/var/cache/apk", "/etc/apk/cache")
    if any(map(facts.covered, places)):
        return None
    for place in places:
        if any(name.startswith(b"APKINDEX") for name in facts.tree.names(place)):
            return None
    return "the image has no package index: write apk add --no-cache, which fetches one"


def _read_only(facts: Facts) -> str | None:
    targets = [
        mount.target
        for mount in facts.op.mounts
        if isinstance(mount, m.BindMount | m.CacheMount) and mount.read_only
    ]
    for line in map(str, _READ_ONLY.findall(facts.output)):
        for target in targets:
            inside = facts.op.cwd == target or facts.op.cwd.startswith(target.rstrip("/") + "/")
            if target in line or inside:
                return (
                    f"what is mounted at {target} is read-only: add rw to the mount (what is "
                    "written to a bind mount is thrown away), or write elsewhere"
                )
    return None


def _signal(facts: Facts) -> str | None:
    number = facts.signal or (facts.code - _SHELLS if facts.code > _SHELLS else 0)
    known = {int(each): text for each, text in _SIGNALS.items()}
    if number not in known:
        return None
    name = signal.Signals(number).name
    return f"it was ended by signal {number} ({name}): {known[number]}"


CAUSES: Final[tuple[Callable[[Facts], str | None], ...]] = (
    _memory,
    _disk,
    programs.wrong_architecture,
    programs.not_found,
    programs.not_allowed,
    _network,
    _certificates,
    _apt,
    _apk,
    _read_only,
    _signal,
)
