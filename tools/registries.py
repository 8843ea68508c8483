"""How this machine reaches the npm registry, handed to a build as secrets.

A mirror's address, a company's certificates and a user's token belong to the machine: as secrets
they are there for a step and never enter a layer, a key, a log or this repository.
"""

from __future__ import annotations

import os
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
    bundle = certificates()
    if bundle:
        kept.append("cafile=/run/secrets/ca")
    settings = folder / "npmrc"
    settings.write_text("\n".join([*kept, ""]))
    ca = [f"--secret=id=ca,src={bundle}"] if bundle else []
    return [*ca, f"--secret=id=npmrc,src={settings}"]
