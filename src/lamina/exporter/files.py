"""The files of built images, as the outputs `tar` and `local` lay them out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import msgspec

from lamina.errors import UsageError, UserError
from lamina.exporter.image import BuiltImage
from lamina.exporter.options import boolean, check_known, integer
from lamina.exporter.port import ExportContext
from lamina.layer.entry import Entry, Kind
from lamina.layer.tree import Tree
from lamina.oci.platform import Platform, normalized

_KEYS = frozenset(("attestation-prefix", "platform-split", "source-date-epoch"))


class FileOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`split` puts each platform's files into a folder of its own; None where there are several.

    `epoch` (in seconds) replaces every time; None leaves it to the build's. `attestation_prefix`
    is what the names of statements start with.
    """

    split: bool | None = None
    epoch: int | None = None
    has_epoch: bool = False
    attestation_prefix: str = ""

    @classmethod
    def parse(
        cls, attributes: Mapping[str, str], *, output: str, more: frozenset[str] = frozenset()
    ) -> Self:
        """Raises UsageError for an unknown attribute."""
        for key, value in attributes.items():
            check_known(key, value, known=_KEYS | more, output=output)
        epoch = attributes.get("source-date-epoch")
        split = boolean(attributes, "platform-split", default=True)
        prefix = attributes.get("attestation-prefix", "")
        if "/" in prefix:
            raise UsageError(f"attestation-prefix={prefix}: it is the start of a file's name")
        return cls(
            split=split if "platform-split" in attributes else None,
            epoch=integer("source-date-epoch", epoch) if epoch else None,
            has_epoch=epoch is not None,
            attestation_prefix=prefix,
        )


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one image and the folder for them: b"" or `linux_amd64/`.

    `statement` is a file that says something about the others, with what is in it.
    """

    prefix: bytes
    platform: Platform
    tree: Tree
    statement: tuple[Entry, bytes] | None = None


def roots_of(
    images: Sequence[BuiltImage], options: FileOptions, context: ExportContext, *, split: bool
) -> list[Root]:
    """Where the files of each image go, in the order of the folders' names."""
    made = []
    for image in images:
        folder = os.fsencode(str(normalized(image.platform)).replace("/", "_"))
        root = Root(
            prefix=folder + b"/" if split else b"",
            platform=image.platform,
            tree=context.view(image.stack),
        )
        if image.attestation is not None and not image.attestation.inline_only:
            # As BuildKit does it, the name tells platforms apart where platform-split=false.
            several = context.many(images) and options.split is False
            statement = _statement(image, root, options, context, several=several)
            root = msgspec.structs.replace(root, statement=statement)
        made.append(root)
    return sorted(made, key=lambda root: root.prefix)


def _statement(
    image: BuiltImage, root: Root, options: FileOptions, context: ExportContext, *, several: bool
) -> tuple[Entry, bytes]:
    from lamina.exporter.attestation import file_path, statement_file

    assert image.attestation is not None
    path = file_path(
        options.attestation_prefix + image.attestation.filename,
        prefix=root.prefix,
        platform=image.platform if several else None,
    )
    inside = root.tree.lookup(path.removeprefix(root.prefix), follow=False)
    if inside is not None and inside.kind is Kind.DIRECTORY:
        raise UserError(
            f"the attestation cannot be written: /{os.fsdecode(inside.path)} is a folder",
            hint="name it with --attest type=provenance,filename=NAME",
        )
    epoch = options.epoch if options.has_epoch else context.epoch
    return statement_file(
        image.attestation,
        root.tree,
        image.stack,
        prefix=root.prefix,
        path=path,
        epoch=epoch,
    )


def time_of_all(options: FileOptions, context: ExportContext) -> int | None:
    """The time (in nanoseconds since 1970) that every file gets, if there is an epoch."""
    epoch = options.epoch if options.has_epoch else context.epoch
    return None if epoch is None else epoch * 10**9


def entries_of(root: Root, *, mtime_ns: int | None) -> Iterator[tuple[Entry, bytes]]:
    """Every entry below the root, folders first, and where the machine has a file's content.

    Paths, and the targets of hard links, start with the root's prefix. What stands where the
    root's statement goes is left out.
    """
    stated = root.statement[0].path if root.statement is not None else None
    for entry in root.tree.walk(b""):
        if root.prefix + entry.path == stated:
            continue
        source = root.tree.host_path(entry.path) if entry.kind is Kind.FILE else b""
        changes: dict[str, object] = {"path": root.prefix + entry.path}
        if entry.kind is Kind.HARDLINK:
            changes["link"] = root.prefix + entry.link
        if mtime_ns is not None:
            changes["mtime_ns"] = mtime_ns
        yield msgspec.structs.replace(entry, **changes), source


def check_disjoint(roots: Sequence[Root]) -> None:
    """Raises UserError where two platforms have a file at one path, and no folders of their own."""
    seen: dict[bytes, Platform] = {}
    if len(roots) < 2:
        return
    for root in roots:
        for entry in root.tree.walk(b""):
            if entry.kind is Kind.DIRECTORY:
                continue
            other = seen.setdefault(root.prefix + entry.path, root.platform)
            if other is not root.platform:
                raise UserError(
                    f"cannot overwrite {os.fsdecode(entry.path)} from {other} with {root.platform}"
                    " when split option is disabled"
                )
