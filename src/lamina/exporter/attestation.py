"""Attestations: statements about an image, beside it (in-toto, Statement v1).

    index ─┬─▶ manifest of the image ◀───────────── vnd.docker.reference.digest
           └─▶ attestation manifest (unknown/unknown) ─▶ layer: the statement, as JSON

An index that lists them is read by everything that reads indexes: their platform is nobody's.
Outputs that are files get the statement as a file, whose subjects are the other files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from lamina.exporter.image import Attestation
from lamina.layer.entry import Entry, Kind
from lamina.layer.stack import Layer
from lamina.layer.tree import Tree
from lamina.oci import mediatype
from lamina.oci.config import ImageConfig, RootFS
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, encoded
from lamina.oci.manifest import Manifest, encode_document
from lamina.oci.platform import Platform, normalized
from lamina.oci.reference import Reference

STATEMENT = "https://in-toto.io/Statement/v1"
IN_TOTO = "application/vnd.in-toto+json"
PREDICATE_TYPE = "in-toto.io/predicate-type"
ARTIFACT_TYPE = "application/vnd.docker.attestation.manifest.v1+json"
REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
NO_PLATFORM = Platform(os="unknown", architecture="unknown")
_MODE = 0o600

Put = Callable[[bytes, str], Descriptor]
"""Writes a document of a media type into the blob store."""

Subject = dict[str, Any]
"""What a statement is about: its `name` and its `digest`."""


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """An attestation manifest in the blob store. `descriptor` is as the index lists it."""

    descriptor: Descriptor
    manifest: Manifest


def attach(
    attestation: Attestation,
    target: Descriptor,
    *,
    names: Sequence[Reference],
    layers: Mapping[Digest, Descriptor],
    epoch: int | None,
    artifact: bool,
    put: Put,
) -> Attached:
    """Writes what is said about the image `target`.

    With `artifact` as an OCI artifact, whose subject is the image; without it as an image without
    files, which readers of before OCI 1.1 take.
    """
    content = msgspec.json.encode(
        _statement(attestation, _named(names, target), layers=layers, epoch=epoch)
    )
    layer = msgspec.structs.replace(
        put(content, IN_TOTO), annotations={PREDICATE_TYPE: attestation.predicate_type}
    )
    config = (
        put(b"{}", mediatype.EMPTY)
        if artifact
        else put(encode_document(_legacy_config(layer.digest)), mediatype.CONFIG)
    )
    manifest = Manifest(
        schema_version=2,
        media_type=mediatype.MANIFEST,
        artifact_type=ARTIFACT_TYPE if artifact else "",
        config=config,
        layers=(layer,),
        subject=_plain(target) if artifact else None,
    )
    descriptor = msgspec.structs.replace(
        put(encode_document(manifest), mediatype.MANIFEST),
        platform=NO_PLATFORM,
        annotations={REFERENCE_TYPE: "attestation-manifest", REFERENCE_DIGEST: target.digest},
    )
    return Attached(descriptor=descriptor, manifest=manifest)


def statement_file(
    attestation: Attestation,
    tree: Tree,
    layers: Iterable[Layer],
    *,
    prefix: bytes,
    path: bytes,
    epoch: int | None,
) -> tuple[Entry, bytes]:
    """The file at `path` that says who made the files of `tree`, and what is in it.

    `prefix` is where the tree goes; a file whose place the statement takes is none of its subjects.
    """
    blobs = {layer.id: layer.blob for layer in layers if layer.blob is not None}
    files = _files(tree, but=path.removeprefix(prefix))
    said = _statement(attestation, files, layers=blobs, epoch=epoch)
    data = msgspec.json.format(msgspec.json.encode(said), indent=2)
    moment = int(attestation.made) if epoch is None else epoch
    entry = Entry(path=path, kind=Kind.FILE, mode=_MODE, size=len(data), mtime_ns=moment * 10**9)
    return entry, data


def package_url(
    reference: Reference, platform: Platform | None = None, *, local: bool = False
) -> str:
    """An image as a package URL (purl-spec, type docker; `local` ones are of type oci)."""
    *namespace, name = reference.familiar.partition("@")[0].split("/")
    name, _, tag = name.partition(":")
    if not tag and reference.digest is None:
        tag = "latest"
    path = "/".join(quote(part, safe=":") for part in (*namespace, name))
    version = f"@{quote(tag, safe=':')}" if tag else ""
    qualifiers = []
    if reference.digest is not None:
        qualifiers.append(f"digest={reference.digest}")
    if platform is not None:
        qualifiers.append(f"platform={quote(str(normalized(platform)), safe='')}")
    query = f"?{'&'.join(qualifiers)}" if qualifiers else ""
    return f"pkg:{'oci' if local else 'docker'}/{path}{version}{query}"


def _statement(
    attestation: Attestation,
    subjects: list[Subject],
    *,
    layers: Mapping[Digest, Descriptor],
    epoch: int | None,
) -> dict[str, Any]:
    return {
        "_type": STATEMENT,
        "predicateType": attestation.predicate_type,
        "subject": subjects,
        "predicate": msgspec.Raw(attestation.predicate(layers, epoch)),
    }


def _named(names: Sequence[Reference], target: Descriptor) -> list[Subject]:
    """The image by its names; one without is still known by its digest."""
    urls = [package_url(name, target.platform) for name in names] or ["_"]
    return [{"name": url, "digest": {"sha256": encoded(target.digest)}} for url in urls]


def _files(tree: Tree, *, but: bytes) -> list[Subject]:
    entries = [e for e in tree.walk(b"") if e.kind in (Kind.FILE, Kind.HARDLINK)]
    known = {e.path: e.digest for e in tree.digests(e for e in entries if e.kind is Kind.FILE)}
    subjects = []
    for entry in entries:
        digest = known.get(entry.path if entry.kind is Kind.FILE else entry.link)
        if digest is not None and entry.path != but:
            # JSON has no place for names that are not UTF-8.
            name = entry.path.decode("utf-8", "replace")
            subjects.append({"name": name, "digest": {"sha256": digest.hex()}})
    return subjects


def file_path(filename: str, *, prefix: bytes, platform: Platform | None) -> bytes:
    """Where a statement goes; with `platform`, its name tells it from those of the others."""
    if platform is not None:
        stem, extension = os.path.splitext(filename)
        filename = f"{stem}.{str(normalized(platform)).replace('/', '_')}{extension}"
    return prefix + os.fsencode(filename)


def _legacy_config(statement: Digest) -> ImageConfig:
    return ImageConfig(
        architecture=NO_PLATFORM.architecture,
        os=NO_PLATFORM.os,
        rootfs=RootFS(diff_ids=(statement,)),
    )


def _plain(target: Descriptor) -> Descriptor:
    return Descriptor(media_type=target.media_type, digest=target.digest, size=target.size)
