"""Base images for tests, as OCI layouts."""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
from pathlib import Path
from typing import Any

CREATED = "2024-01-01T00:00:00Z"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write_layout(layout: Path, rootfs: bytes, config: dict[str, Any] | None = None) -> str:
    """Write a one-layer image with the tag `latest` as an OCI layout; returns its digest."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layer = gzip.compress(rootfs, compresslevel=1, mtime=0)
    document = {
        "created": CREATED,
        "architecture": machine_architecture(),
        "os": "linux",
        "config": config if config is not None else {"Env": [PATH], "Cmd": ["sh"]},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(rootfs).hexdigest()}"],
        },
        "history": [{"created": CREATED, "created_by": "rootfs"}],
    }
    oci = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{oci}.manifest.v1+json",
        "config": blob(json.dumps(document).encode(), f"{oci}.config.v1+json"),
        "layers": [blob(layer, f"{oci}.layer.v1.tar+gzip")],
    }
    descriptor = blob(json.dumps(manifest).encode(), f"{oci}.manifest.v1+json")
    tagged = {**descriptor, "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    index = {"schemaVersion": 2, "mediaType": f"{oci}.index.v1+json", "manifests": [tagged]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    return str(descriptor["digest"])


def machine_architecture() -> str:
    """This machine's architecture in the words of the OCI specification."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
