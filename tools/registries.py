"""How this machine reaches the package registries, handed to a build as secrets.

A mirror's address, a company's certificates and a user's token belong to the machine: as secrets
they are there for a step and never enter a layer, a key, a log or this repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CA_BUNDLES = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")
SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
NOT_IN_A_CONTAINER = ("cafile", "nodedir", "prefix", "cache")


def certificates() -> Path | None:
    """The bundle of certificates that programs on this machine trust, if it has one."""
    named = (os.environ.get(name) for name in CA_BUNDLES)
    return next((Path(p) for p in [*named, SYSTEM_BUNDLE] if p and Path(p).exists()), None)


def npm_secrets(folder: Path) -> list[str]:
    """`--secret` options: `ca`, and `npmrc` (to be mounted as `.npmrc`) after the user's own."""
    own = Path.home() / ".npmrc"
    lines = own.read_text().splitlines() if own.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in NOT_IN_A_CONTAINER]
    asked = {name.lower(): value for name, value in os.environ.items()}
    if "npm_config_registry" in asked:
        kept.append(f"registry={asked['npm_config_registry']}")
    return _secrets(folder / "npmrc", kept, "cafile=/run/secrets/ca")


def pip_secrets(folder: Path) -> list[str]:
    """`--secret` options: `ca`, and `pip.conf` with the index that pip uses here."""
    ask = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    index = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
    lines = ["[global]", *([f"index-url = {index}"] if index else [])]
    return _secrets(folder / "pip.conf", lines, "cert = /run/secrets/ca")


def _secrets(settings: Path, lines: list[str], trust: str) -> list[str]:
    bundle = certificates()
    kept = [*lines, trust] if bundle else lines
    settings.write_text("\n".join([*kept, ""]))
    ca = [f"--secret=id=ca,src={bundle}"] if bundle else []
    return [*ca, f"--secret=id={settings.name},src={settings}"]
