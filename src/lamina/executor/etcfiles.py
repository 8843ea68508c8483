"""The /etc/hosts and /etc/resolv.conf of a container, as BuildKit makes them."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from lamina.executor.spec import Network

DEFAULT_HOSTNAME = "buildkitsandbox"
"""Scripts have come to know it; BUILDKIT_SANDBOX_HOSTNAME sets another."""

RESOLV_CONF = "/etc/resolv.conf"
SYSTEMD_RESOLV_CONF = "/run/systemd/resolve/resolv.conf"

_SYSTEMD_STUB = "127.0.0.53"
_PUBLIC = ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844")


def hosts(hostname: str, extra: Iterable[tuple[str, str]]) -> bytes:
    """`extra` are (name, address)."""
    lines = [
        f"127.0.0.1\tlocalhost {hostname or DEFAULT_HOSTNAME}",
        "::1\tlocalhost ip6-localhost ip6-loopback",
    ]
    lines += [f"{address}\t{name}" for name, address in extra]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def resolv_conf(network: Network) -> bytes:
    """The machine's name servers. Without its network those on loopback are of no use: then those
    behind systemd-resolved, and at last the public ones that Docker falls back to.
    """
    text = _read(RESOLV_CONF)
    if network is not Network.HOST and _servers(text) == [_SYSTEMD_STUB]:
        text = _read(SYSTEMD_RESOLV_CONF)
    return transform(text, network).encode("utf-8", "surrogateescape")


def transform(text: str, network: Network) -> str:
    """resolv.conf(5) to resolv.conf(5); comments go, unknown directives stay."""
    servers = _servers(text)
    if network is not Network.HOST or not servers:
        servers = [server for server in servers if not ip_address(server).is_loopback]
        servers = servers or list(_PUBLIC)
    search: list[str] = []
    options: list[str] = []
    other: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or line[0] in "#;":
            continue
        match words[0]:
            case "nameserver":
                continue
            case "domain" | "search":
                search = words[1:] or search
            case "options":
                options += words[1:]
            case _:
                other.append(line)
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(search)}"] if search else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines + other) + "\n"


def _servers(text: str) -> list[str]:
    servers = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and line[0] not in "#;":
            try:
                servers.append(str(ip_address(words[1])))
            except ValueError:
                continue
    return servers


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
