"""Proxies out of Docker's config.json, which `docker build` passes on as build arguments.

docs.docker.com, "Use a proxy server with the Docker CLI". The environment's own are not passed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from lamina.errors import UserError

_NAMES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "noProxy": "NO_PROXY",
    "ftpProxy": "FTP_PROXY",
    "allProxy": "ALL_PROXY",
}


def proxy_arguments(environ: Mapping[str, str]) -> dict[str, str]:
    """Build arguments in capitals and in lower case; none where there is no file."""
    folder = environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME", "/"), ".docker")
    path = os.path.join(folder, "config.json")
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return {}
    return parse_proxies(data, path)


def parse_proxies(data: bytes, path: str) -> dict[str, str]:
    """The `proxies.default` part of a config.json. Raises UserError where it is no JSON."""
    if b'"proxies"' not in data:
        return {}
    import json

    try:
        document = json.loads(data)
    except ValueError as problem:
        raise UserError(f"{path} is not valid JSON: {problem}") from None
    found = document
    for key in ("proxies", "default"):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return {}
    arguments: dict[str, str] = {}
    for key, name in _NAMES.items():
        if isinstance(value := found.get(key), str) and value:
            arguments |= {name: value, name.lower(): value}
    return arguments
