"""What is known of base images by their names alone, where their configurations are not at hand.

Only what their publishers have kept for years: the family of the distribution, the variables that
move caches, and accounts that people switch to.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec


class Family(enum.StrEnum):
    """Distributions by their package manager."""

    DEBIAN = "debian"
    ALPINE = "alpine"
    REDHAT = "redhat"
    WINDOWS = "windows"
    NONE = "none"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user of an image; None is what is not known."""

    home: str | None = None
    uid: int | None = None
    gid: int | None = None


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """A base image. `known` is false where nothing but a guess stands behind the variables; `user`
    is None where the image may well start as somebody else than root.
    """

    name: str
    tag: str = ""
    known: bool = False
    family: Family | None = None
    user: str | None = "root"
    variables: Mapping[str, str] = MappingProxyType({})
    accounts: Mapping[str, Account] = MappingProxyType({})


_DEBIAN = tuple(
    """
    debian ubuntu buildpack-deps python node golang ruby rust php perl openjdk eclipse-temurin
    maven gradle elixir erlang haskell julia nginx httpd postgres redis mariadb mongo wordpress
    tomcat jetty pypy rabbitmq haproxy amazoncorretto-debian nvidia/cuda oven/bun denoland/deno
    pytorch/pytorch tensorflow/tensorflow continuumio/miniconda3 condaforge/miniforge3
    mcr.microsoft.com/dotnet/sdk mcr.microsoft.com/dotnet/aspnet mcr.microsoft.com/dotnet/runtime
    """.split()  # noqa: SIM905 - a list of fifty quoted names cannot be read
)
_REDHAT = tuple(
    """
    fedora centos rockylinux almalinux amazonlinux oraclelinux rockylinux/rockylinux
    quay.io/centos/centos quay.io/fedora/fedora amazoncorretto
    registry.access.redhat.com/ubi8 registry.access.redhat.com/ubi9 redhat/ubi8 redhat/ubi9
    registry.access.redhat.com/ubi8/ubi registry.access.redhat.com/ubi9/ubi
    registry.access.redhat.com/ubi8/ubi-minimal registry.access.redhat.com/ubi9/ubi-minimal
    """.split()  # noqa: SIM905 - the same
)
_FAMILIES = {
    **dict.fromkeys(_DEBIAN, Family.DEBIAN),
    **dict.fromkeys(_REDHAT, Family.REDHAT),
    **dict.fromkeys(("alpine", "docker", "composer"), Family.ALPINE),
    **dict.fromkeys(("scratch", "busybox"), Family.NONE),
}
_VARIABLES = {
    "golang": {"GOPATH": "/go"},
    "rust": {"CARGO_HOME": "/usr/local/cargo", "RUSTUP_HOME": "/usr/local/rustup"},
    "ruby": {"GEM_HOME": "/usr/local/bundle"},
    "composer": {"COMPOSER_HOME": "/tmp"},
}
# An image that nobody knows is taken to be built as those above: where their guides put caches.
_GUESSED = {name: value for each in _VARIABLES.values() for name, value in each.items()}
_ACCOUNTS = {
    "node": {"node": Account(home="/home/node", uid=1000, gid=1000)},
    "gradle": {"gradle": Account(home="/home/gradle", uid=1000, gid=1000)},
    "ubuntu": {"ubuntu": Account(home="/home/ubuntu", uid=1000, gid=1000)},
    "oven/bun": {"bun": Account(home="/home/bun", uid=1000, gid=1000)},
}
_NOT_ROOT = re.compile(
    r"(?:.*/)?(?:jupyter|jenkins|bitnami|bitnamilegacy|cimg|circleci|gitpod|chainguard|selenium)/.+"
    r"|.*(?:distroless|nonroot|rootless).*|cgr\.dev/.+|.*redhat\.com/ubi\d/(?!ubi).+"
)
_WINDOWS = re.compile(r".*(?:windowsservercore|nanoserver|/windows/).*")
_REFERENCE = re.compile(r"(?P<name>.+?)(?::(?P<tag>[^/:@]+))?(?:@.+)?")


def known_base(reference: str) -> Base:
    """What is known of an image by its name; of `docker.io/library/node:22-alpine` a lot."""
    match = _REFERENCE.fullmatch(reference)
    name, tag = (match["name"], match["tag"] or "") if match else (reference, "")
    name = re.sub(r"^(?:(?:index\.)?docker\.io/)?(?:library/)?", "", name)
    family = _FAMILIES.get(name)
    if _WINDOWS.fullmatch(reference):
        return Base(name=name, tag=tag, known=True, family=Family.WINDOWS, user=None)
    if "alpine" in tag and family is not None:
        family = Family.ALPINE
    elif family is None:
        family = Family.ALPINE if "alpine" in reference else None
    known = name in _FAMILIES
    return Base(
        name=name,
        tag=tag,
        known=known,
        family=family,
        user=None if _NOT_ROOT.fullmatch(reference) else "root",
        variables=_VARIABLES.get(name, {}) if known else _GUESSED,
        accounts=_ACCOUNTS.get(name, {}),
    )
