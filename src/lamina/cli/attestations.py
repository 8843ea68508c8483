"""`--attest`, `--provenance` and `--sbom`: which statements about the image are wanted."""

from __future__ import annotations

import os
from collections.abc import Iterable

from lamina.cli.key_values import choose, parse_fields, parse_options, parse_switch
from lamina.control.request import ProvenanceRequest
from lamina.errors import UsageError

_TYPES = ("provenance", "sbom")
_BOOLEANS = ("1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False")
_KEYS = (
    "mode",
    "version",
    "builder-id",
    "filename",
    "reproducible",
    "inline-only",
    "disabled",
    "capture-usage",
    "complete-materials",
)


def parse_attestations(wanted: Iterable[tuple[str, str]]) -> ProvenanceRequest | None:
    """Flags with their values, in order: `--attest type=TYPE[,KEY=VALUE…]`, and `--provenance` and
    `--sbom` with a truth value or the same keys. The last of one type counts.

    Raises UsageError, also for an SBOM, which needs a scanner.
    """
    found: dict[str, ProvenanceRequest | None] = {}
    for flag, text in wanted:
        kind, options = _options(flag, text)
        if parse_switch(flag, options.get("disabled") or "false"):
            found[kind] = None
        elif kind == "sbom":
            raise UsageError(
                f"{flag} {text} is not supported yet: an SBOM is made by an image with a scanner,"
                " and none is run",
                hint="leave it out, or run a scanner on the image",
            )
        else:
            found[kind] = _provenance(flag, options)
    return found.get("provenance")


def _options(flag: str, text: str) -> tuple[str, dict[str, str]]:
    """The type of attestation and its keys. A truth value says whether it is `disabled`."""
    kind = flag.removeprefix("--")
    if kind in _TYPES:
        if text in _BOOLEANS:
            return kind, {"disabled": str(not parse_switch(flag, text)).lower()}
        options = _pairs(flag, text)
    else:
        options = _pairs(flag, text)
        kind = choose(flag, options.pop("type", ""), _TYPES, what="type")
    if kind == "provenance":
        for key in options:
            choose(flag, key, _KEYS, what="key")
    return kind, options


def _pairs(flag: str, text: str) -> dict[str, str]:
    for field in parse_fields(flag, text):
        if "=" not in field:
            raise UsageError(
                f"invalid value {text!r} for {flag}: {field!r} must be a key=value pair"
            )
    return {key: value or "" for key, value in parse_options(flag, text)}


def _provenance(flag: str, options: dict[str, str]) -> ProvenanceRequest:
    def switched(key: str) -> bool:
        return parse_switch(f"{flag} {key}", options.get(key) or "false")

    if switched("capture-usage"):
        raise UsageError(f"{flag} capture-usage=true is not supported: usage is not measured")
    if switched("complete-materials"):
        raise UsageError(
            f"{flag} complete-materials=true: the build context has no digest, so the materials"
            " cannot be complete"
        )
    mode = choose(flag, options.get("mode") or "max", ("min", "max", "full"), what="mode")
    version = choose(flag, options.get("version") or "v1", ("v1", "v0.2"), what="version")
    filename = os.path.basename(options.get("filename") or "provenance.json")
    if filename in ("", ".", ".."):
        raise UsageError(f"invalid filename {options['filename']!r} for {flag}")
    return ProvenanceRequest(
        maximal=mode != "min",
        version=version,
        builder_id=options.get("builder-id", ""),
        filename=filename,
        reproducible=switched("reproducible"),
        inline_only=switched("inline-only"),
    )
