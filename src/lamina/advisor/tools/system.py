"""The package managers of distributions: apt, apk, dnf and its relatives."""

from __future__ import annotations

import re

from msgspec.structs import replace

from lamina.advisor.bases import Base, Family
from lamina.advisor.tools.tool import Cache, Locking, Tool

APT = Tool(
    name="apt",
    programs=("apt-get", "apt", "aptitude"),
    # apt keeps its locks in both folders and gives up at once where another holds them.
    caches=(
        Cache(folders=("/var/cache/apt",), locking=Locking.ALWAYS),
        Cache(folders=("/var/lib/apt",), also=("/var/lib/apt/lists",), locking=Locking.ALWAYS),
    ),
    uses=(
        ("install",),
        ("upgrade",),
        ("dist-upgrade",),
        ("full-upgrade",),
        ("build-dep",),
        ("update",),
    ),
    valued=("-o", "-t", "-c", "--option", "--target-release", "--default-release"),
    offline=("--no-download",),
    cleaning=(
        ("apt-get", "clean"),
        ("apt-get", "autoclean"),
        ("apt", "clean"),
        ("apt", "autoclean"),
        ("aptitude", "clean"),
    ),
    roots=("/var/lib/apt/lists", "/var/cache/apt", "/var/cache/apt/archives"),
)

APK = Tool(
    name="apk",
    programs=("apk",),
    # Packages are kept only where /etc/apk/cache is a folder; the database's lock is elsewhere.
    caches=(
        Cache(folders=("/etc/apk/cache",), also=("/var/cache/apk",), locking=Locking.PARALLEL),
    ),
    uses=(("add",), ("upgrade",)),
    valued=("-X", "--repository", "-t", "--virtual", "-p", "--root", "--arch", "--cache-dir"),
    disabling=("--no-cache",),
    instead="--update-cache",
    offline=("--no-network",),
    cleaning=(("apk", "cache", "clean"), ("apk", "cache", "purge")),
    roots=("/var/cache/apk", "/etc/apk/cache"),
)

_DNF_USES = (
    ("install",),
    ("update",),
    ("upgrade",),
    ("groupinstall",),
    ("builddep",),
    ("reinstall",),
    ("makecache",),
)
_DNF_VALUED = ("-c", "-x", "-e", "-d", "--releasever", "--installroot", "--repo", "--enablerepo")

DNF = Tool(
    name="dnf",
    programs=("dnf", "microdnf", "yum"),
    # Its locks are files with the number of a process, which says nothing in another container.
    caches=(
        Cache(
            folders=("/var/cache/dnf",),
            also=("/var/cache/yum", "/var/cache/libdnf5"),
            locking=Locking.ALWAYS,
        ),
    ),
    uses=_DNF_USES,
    valued=_DNF_VALUED,
    offline=("--cacheonly", "-C"),
    cleaning=(("dnf", "clean"), ("microdnf", "clean"), ("yum", "clean")),
    roots=("/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5"),
)

_FIRST_DNF5 = 41
_SAME_AS_DNF = ("rockylinux", "almalinux", "rockylinux/rockylinux", "oraclelinux")


def dnf_on(base: Base) -> Tool | None:
    """dnf with the folder that it has on a base image; None where that is not known."""
    number = re.match(r"\d+", base.tag)
    version = int(number[0]) if number is not None else None
    if base.family is not Family.REDHAT or base.tag.startswith("2."):
        return None
    if base.name.endswith("fedora"):
        five = version is not None and version >= _FIRST_DNF5
        named = base.tag in ("", "latest", "rawhide")
        folder = "/var/cache/libdnf5" if five or named else "/var/cache/dnf"
        return _dnf(folder) if version is not None or named else None
    if base.name in ("centos", "amazonlinux") and version in (2, 6, 7):
        return _dnf("/var/cache/yum")
    if base.name.endswith("-minimal") or base.name == "amazoncorretto":
        return None  # microdnf has changed its mind
    known = base.name in _SAME_AS_DNF or "ubi" in base.name or version is not None
    return _dnf("/var/cache/dnf") if known else None


def _dnf(folder: str) -> Tool:
    return replace(DNF, caches=(replace(DNF.caches[0], folders=(folder,)),))
