"""What `--iidfile` and `--metadata-file` hold, as buildx writes them."""

from __future__ import annotations

import msgspec

from lamina.exporter.port import ExportResult


def image_id(result: ExportResult) -> str | None:
    """The content of `--iidfile`: the digest of the config, of several images that of the index."""
    return result.image_id or result.digest


def metadata(result: ExportResult, *, build_ref: str = "") -> dict[str, object]:
    """The content of `--metadata-file`: a JSON object with buildx's keys."""
    found: dict[str, object] = {}
    if build_ref:
        found["buildx.build.ref"] = build_ref
    if result.image_id is not None:
        found["containerimage.config.digest"] = result.image_id
    if result.descriptor is not None:
        found["containerimage.descriptor"] = msgspec.to_builtins(result.descriptor)
    if result.digest is not None:
        found["containerimage.digest"] = result.digest
    if result.names:
        found["image.name"] = ",".join(result.names)
    return found
