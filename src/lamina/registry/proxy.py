"""Which proxy a request goes through, by the environment, as Go programs understand it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from lamina.registry.hosts import is_loopback


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy's URL, or None for a direct connection. Loopback is always direct.

    HTTP_PROXY and HTTPS_PROXY by the scheme of `url`, then ALL_PROXY; also in lower case.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if is_loopback(f"[{host}]" if ":" in host else host):
        return None
    proxy = _variable(environ, f"{parts.scheme}_proxy") or _variable(environ, "all_proxy")
    if not proxy or _is_excluded(host, port, _variable(environ, "no_proxy")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name.upper()) or environ.get(name) or "").strip()


def _is_excluded(host: str, port: int, no_proxy: str) -> bool:
    return any(_covers(entry.strip().lower(), host, port) for entry in no_proxy.split(","))


def _covers(entry: str, host: str, port: int) -> bool:
    """`*`, an address, a network, `example.com` with its subdomains, `.example.com` without."""
    if not entry or entry == "*":
        return entry == "*"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        network = None
    if network is not None:
        return address is not None and address in network
    name, colon, wanted_port = entry.rpartition(":")
    if colon and wanted_port.isdigit():
        if int(wanted_port) != port:
            return False
        entry = name.strip("[]")
    if address is not None:
        return entry == host
    entry = entry.removeprefix("*")
    return (
        host.endswith(entry)
        if entry.startswith(".")
        else host == entry or host.endswith(f".{entry}")
    )
