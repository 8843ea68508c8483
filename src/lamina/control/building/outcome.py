"""What a build leaves besides outputs: times of its images, --iidfile and --metadata-file."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from lamina.control.request import BuildOutcome, BuildRequest
from lamina.errors import HostError
from lamina.exporter.image import rfc3339_precise
from lamina.exporter.metadata import image_id, metadata
from lamina.exporter.port import ExportResult
from lamina.fs.publish import publish_file
from lamina.oci.config import ImageConfig


def dated(config: ImageConfig, made: float | None) -> ImageConfig:
    """The configuration with a time of its own, and its history with it.

    `made` is when its newest layer was made, in seconds since 1970. Without such a layer the time
    is that of the base image, so that a build which adds no file makes the same image every time.
    """
    if made is None:
        latest = next((e.created for e in reversed(config.history or ()) if e.created), None)
        created = latest or rfc3339_precise(datetime.datetime.now(datetime.UTC).timestamp())
    else:
        created = rfc3339_precise(made)
    history = tuple(
        entry if entry.created else replace(entry, created=created)
        for entry in config.history or ()
    )
    return replace(config, created=created, history=history)


def outcome(
    request: BuildRequest, results: Sequence[ExportResult], name: str, logs: str
) -> BuildOutcome:
    """Write --iidfile and --metadata-file, and tell what was made."""
    images = [result for result in results if result.digest is not None]
    best = next((r for r in images if r.pushed), images[0] if images else results[0])
    facts = metadata(best, build_ref=f"default/default/{name}")
    image = image_id(best)
    if request.iidfile is not None:
        _write(request.iidfile, (image or "").encode())
    if request.metadata_file is not None:
        _write(request.metadata_file, msgspec.json.format(msgspec.json.encode(facts)) + b"\n")
    return BuildOutcome(image_id=image, digest=best.digest, metadata=facts, logs=logs)


def _write(path: str, data: bytes) -> None:
    try:
        publish_file(path, data)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from error
