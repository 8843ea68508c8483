"""EXPOSE: `8080`, `8080/udp`, `8000-8010/tcp` to the ports that the configuration names."""

from __future__ import annotations

import ipaddress

from lamina.errors import UserError
from lamina.notation.gostrings import quote

_PROTOCOLS = ("tcp", "udp", "sctp")


def parse_ports(words: tuple[str, ...]) -> tuple[str, ...]:
    """Every port as `number/protocol`. Raises UserError."""
    return tuple(port for word in words for port in _parse(word))


def _parse(word: str) -> list[str]:
    address, host, container = split_port(word)
    port, _, protocol = container.partition("/")
    if not port:
        raise UserError(f"invalid port: {quote(word)}: no port specified")
    protocol = protocol.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise UserError(
            f"invalid port: {quote(word)}: invalid proto: {container.partition('/')[2]}"
        )
    if address:
        _check_address(address)
    try:
        first, last = _range(port)
    except ValueError:
        raise UserError(f"invalid containerPort: {port}") from None
    if host:
        _check_host_range(host, port, first, last)
    return [f"{number}/{protocol}" for number in range(first, last + 1)]


def split_port(word: str) -> tuple[str, str, str]:
    """Address, port of the host, and port with protocol: `127.0.0.1:80:8080/tcp`; "" for none."""
    parts = word.split(":")  # an IPv6 address has more of them
    return ":".join(parts[:-2]), parts[-2] if len(parts) > 1 else "", parts[-1]


def _check_address(address: str) -> None:
    try:
        ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise UserError(f"invalid IP address: {address}") from None


def _check_host_range(host: str, port: str, first: int, last: int) -> None:
    try:
        host_first, host_last = _range(host)
    except ValueError:
        raise UserError(f"invalid hostPort: {host}") from None
    if last - first != host_last - host_first and first != last:
        raise UserError(f"invalid ranges specified for container and host Ports: {port} and {host}")


def _range(text: str) -> tuple[int, int]:
    """Raises ValueError."""
    start, dash, end = text.partition("-")
    first = _number(start)
    last = _number(end) if dash else first
    if last < first:
        raise ValueError(text)
    return first, last


def _number(text: str) -> int:
    number = int(text) if text.lstrip("+").isascii() and text.lstrip("+").isdigit() else -1
    if not 0 <= number <= 65535:
        raise ValueError(text)
    return number
