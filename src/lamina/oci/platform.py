"""Platforms: operating system, architecture and variant (OCI image spec, image-index.md)."""

from __future__ import annotations

import re

import msgspec

from lamina.errors import UserError


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a binary runs on, by Go's names (`linux`, `arm64`)."""

    architecture: str
    os: str
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: tuple[str, ...] = msgspec.field(default=(), name="os.features")
    variant: str = ""

    def __str__(self) -> str:
        os = f"{self.os}({self.os_version})" if self.os_version else self.os
        return "/".join(filter(None, (os, self.architecture, self.variant)))


_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "mips64el": ("mips64le", ""),
    "mipsel": ("mipsle", ""),
}
_KNOWN_OS = frozenset(
    {"aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd"}
    | {"openbsd", "plan9", "solaris", "wasip1", "windows", "zos"}
)
_OS = re.compile(r"(?P<name>[a-z0-9_-]+)(\((?P<version>[0-9A-Za-z._+-]*)\))?\Z")
_WORD = re.compile(r"[A-Za-z0-9_.-]+\Z")


def normalized(platform: Platform) -> Platform:
    """The same platform by its canonical names (containerd's platforms.Normalize)."""
    os = {"macos": "darwin"}.get(platform.os.lower(), platform.os.lower())
    architecture, variant = platform.architecture.lower(), platform.variant.lower()
    known, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or implied
    match known, variant:
        case "arm64", "8" | "v8" | "8.0" | "v8.0":
            variant = ""
        case "arm64", "9" | "9.0" | "v9.0":
            variant = "v9"
        case "arm", "" | "7":
            variant = "v7"
        case "arm", "5" | "6" | "8":
            variant = f"v{variant}"
        case "amd64", "v1":
            variant = ""
    return msgspec.structs.replace(platform, os=os, architecture=known, variant=variant)


def parse_platform(text: str, *, host: Platform) -> Platform:
    """`os/arch[/variant]`, `os`, `arch` or `local`; what is missing is the host's."""
    if text == "local":
        return host
    parts = text.split("/")
    version = ""
    if found := _OS.match(parts[0].lower()):
        parts[0], version = found["name"], found["version"] or ""
    if not 1 <= len(parts) <= 3 or not all(_WORD.match(part) for part in parts):
        raise UserError(
            f"{text!r} is not a platform", hint="write os/architecture, such as linux/arm64"
        )
    if len(parts) == 1:
        if parts[0] in _KNOWN_OS:
            chosen = Platform(os=parts[0], architecture=host.architecture, variant=host.variant)
        else:
            chosen = Platform(os=host.os, architecture=parts[0])
            if normalized(chosen).architecture not in _KNOWN_ARCHITECTURES:
                raise UserError(f"{text!r} is not a platform: unknown operating system")
    else:
        variant = parts[2] if len(parts) == 3 else ""
        chosen = Platform(os=parts[0], architecture=parts[1], variant=variant)
    return normalized(msgspec.structs.replace(chosen, os_version=version))


_KNOWN_ARCHITECTURES = frozenset(
    {"386", "amd64", "arm", "arm64", "loong64", "mips", "mipsle", "mips64", "mips64le", "ppc64"}
    | {"ppc64le", "riscv64", "s390x", "wasm"}
)


def host_platform(machine: str) -> Platform:
    """The platform of a Linux machine whose `uname -m` is `machine`."""
    return normalized(Platform(os="linux", architecture=machine))


def matches(wanted: Platform, offered: Platform) -> bool:
    """Whether an image for `offered` can stand for one for `wanted`."""
    return rank(wanted, offered) is not None


def rank(wanted: Platform, offered: Platform) -> int | None:
    """How well an image for `offered` stands for one for `wanted`: 0 is best, None is not at all.

    A processor runs what was made for its predecessors: amd64/v3 runs v2, v1 and 386, arm/v7
    runs v6 and v5, arm64 runs earlier arm64 and 32-bit arm (as containerd's `platforms.Only`).
    """
    wanted, offered = normalized(wanted), normalized(offered)
    if wanted.os != offered.os or not set(offered.os_features) <= set(wanted.os_features):
        return None
    if wanted.os_version and not offered.os_version.startswith(wanted.os_version):
        return None
    runs = _runs(wanted.architecture, wanted.variant)
    pair = (offered.architecture, offered.variant)
    return runs.index(pair) if pair in runs else None


def _runs(architecture: str, variant: str) -> list[tuple[str, str]]:
    """The architectures and normalized variants that a processor runs, best first."""
    version = re.fullmatch(r"v(\d)(?:\.(\d))?", variant)
    major, minor = (int(version[1]), int(version[2] or 0)) if version else (0, 0)
    match architecture:
        case "amd64":
            older = [("amd64", f"v{n}") for n in range(major, 1, -1)]
            return [*(older or [("amd64", variant)]), ("amd64", ""), ("386", "")]
        case "arm" if major:
            return [("arm", f"v{n}") for n in range(major, 4, -1)] or [("arm", variant)]
        case "arm64" if major or not variant:
            newest = minor + 5 if major == 9 else minor  # v9.0 has all of v8.5
            runs = [("arm64", f"v9.{n}" if n else "v9") for n in range(minor, -1, -1) if major == 9]
            runs += [("arm64", f"v8.{n}" if n else "") for n in range(newest, -1, -1)]
            return runs + [("arm", f"v{n}") for n in range(8, 4, -1)]
    return [(architecture, variant)]
