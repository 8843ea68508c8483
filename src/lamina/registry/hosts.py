"""Where a registry listens, by the domain of a reference."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from lamina.oci.reference import DOCKER_HUB

_HUB_API = "registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a repository is: that of its name, a mirror, or wherever registries.conf puts it."""

    domain: str
    path: str = ""
    insecure: bool = False

    def __str__(self) -> str:
        return f"{self.domain}/{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The API of one registry: `https://registry-1.docker.io` for the domain `docker.io`.

    `insecure` is the user's word that its certificate need not be verified, nor TLS be spoken.
    """

    domain: str
    scheme: str
    authority: str
    insecure: bool = False

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"

    def excuses(self, url: str) -> bool:
        """Whether what the user said of the registry holds for an address that it sends us to."""
        return self.insecure and urlsplit(url).hostname == urlsplit(self.url).hostname


def resolve_address(base: str, address: str) -> str:
    """What a server means with an address (RFC 3986, 5) that it gives in its answer to `base`;
    empty where that is none.
    """
    try:
        target = urljoin(base, address)
        parts = urlsplit(target)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return target
    except ValueError:  # brackets, letters or ports that no host has
        pass
    return ""


def api_authority(domain: str) -> str:
    """`host[:port]` to connect to."""
    return _HUB_API if domain == DOCKER_HUB else domain


def host_of(authority: str) -> str:
    """The host without its port and without the brackets of an IPv6 address."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def is_loopback(authority: str) -> bool:
    """Whether `host[:port]` is this machine, where plain HTTP is no risk."""
    host = host_of(authority).lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def credential_keys(domain: str) -> tuple[str, ...]:
    """Under which names credentials for a registry are kept, the usual one first."""
    if domain == DOCKER_HUB:
        hub = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", _HUB_API)
        return (*hub, f"https://{_HUB_API}", "https://docker.io")
    return (domain, f"https://{domain}", f"http://{domain}")
