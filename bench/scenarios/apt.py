"""Seven packages with apt and cache mounts: cold, with warm mounts, and one package more."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench import alone
from bench.scenarios import ONE_OF_THEM, Scenario
from tools.bases import debian_rootfs

SIX = "build-essential libpq-dev libxml2-dev libxslt1-dev curl ca-certificates"
SEVENTH = "libyaml-dev"
KEEP = """\
rm -f /etc/apt/apt.conf.d/docker-clean
echo 'Binary::apt::APT::Keep-Downloaded-Packages "true";' >/etc/apt/apt.conf.d/keep-cache
"""
INSTALL = "apt-get update && apt-get install -y --no-install-recommends"
CACHES = ("var/cache/apt", "var/lib/apt")
# apt, dpkg and the linker write times into these
TIMES = ("var/log", "var/cache", "var/lib/apt", "var/lib/dpkg", "etc/ld.so.cache", "etc/ssl")
# buildah 1.28 writes a whiteout for this folder, which no step touches
LOST_BY_BUILDAH = ("usr/lib/apt",)


def write(context: Path, /, *, packages: str = SIX, mark: int = 0) -> None:
    mounts = " ".join(f"--mount=type=cache,target=/{c},sharing=locked" for c in CACHES)
    keep = " && ".join(KEEP.splitlines())
    install = f"RUN {mounts} : {mark}; {INSTALL} {packages}"
    (context / "Dockerfile").write_text(f"FROM debian\nRUN {keep}\n{install}\n")


def again(context: Path, number: int, /) -> None:
    write(context, mark=number)


def seventh(context: Path, number: int, /) -> None:
    write(context, packages=f"{SIX} {SEVENTH}", mark=number)


def by_itself(scratch: Path, *, warm: bool, packages: str) -> float:
    """What apt needs, after it installed the first six where caches are to be warm."""
    root, kept = scratch / "root", scratch / "kept"
    alone.unpack(debian_rootfs(), root)
    alone.timed(root, KEEP)
    if warm:
        alone.timed(root, f"{INSTALL} {SIX}")
        for cache in CACHES:
            alone.give(kept, {cache: root / cache})
        alone.unpack(debian_rootfs(), root)
        alone.timed(root, KEEP)
        alone.give(root, {cache: kept / cache for cache in CACHES})
    return alone.timed(root, f"{INSTALL} {packages}")


VARIANTS = (
    ("cold", True, None, SIX),
    ("warm mounts", False, again, SIX),
    ("a seventh package", False, seventh, f"{SIX} {SEVENTH}"),
)
SCENARIOS = [
    Scenario(
        name=f"apt-get install, {name}",
        prepare=write,
        cold=cold,
        change=change,
        base="debian",
        rounds=1,
        work=partial(by_itself, warm=not cold, packages=packages),
        target=0.5,
        differs=(*TIMES, *LOST_BY_BUILDAH),
        network=True,
        without=ONE_OF_THEM,
    )
    for name, cold, change, packages in VARIANTS
]
