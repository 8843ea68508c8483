"""`type=oci`: an OCI image layout, in a tar archive or (`tar=false`) in a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from lamina.content.layout import REF_NAME
from lamina.errors import UsageError
from lamina.exporter.archive import layout_members, write_archive, write_folder
from lamina.exporter.image import BuiltImage
from lamina.exporter.manifests import commit
from lamina.exporter.options import ImageOptions, boolean, parse_image_options
from lamina.exporter.output import check_file_dest, open_output
from lamina.exporter.port import ExportContext, ExportResult


class OciExporter(msgspec.Struct, frozen=True, kw_only=True):
    """`dest` is a file, or a folder where `tar` is false; "-" is standard output."""

    dest: str
    tar: bool
    options: ImageOptions

    @classmethod
    def parse(cls, dest: str | None, attributes: Mapping[str, str]) -> Self:
        options = parse_image_options(attributes, output="oci", more=("tar",))
        tar = boolean(attributes, "tar", default=True)
        dest = check_file_dest(dest, output="oci") if tar else check_folder_dest(dest)
        return cls(dest=dest, tar=tar, options=options)

    def export(self, images: Sequence[BuiltImage], context: ExportContext) -> ExportResult:
        committed = commit(images, self.options, context)
        if self.tar:
            members = layout_members(committed.named(), committed.blobs)
            with open_output(self.dest, context.stdout) as out:
                write_archive(
                    members, context.content, out, progress=context.progress, what="sending tarball"
                )
            return committed.result()
        manifests = committed.named()
        if not committed.names:
            # A folder may hold several images, so each must have a name to be replaced by.
            annotations = {**committed.descriptor.annotations, REF_NAME: "latest"}
            manifests = (msgspec.structs.replace(committed.descriptor, annotations=annotations),)
        write_folder(
            self.dest,
            manifests,
            committed.blobs,
            context.content,
            progress=context.progress,
            what="copying files",
        )
        return committed.result()


def check_folder_dest(dest: str | None) -> str:
    if not dest or dest == "-":
        raise UsageError(
            "the output oci with tar=false needs a folder", hint="write type=oci,tar=false,dest=DIR"
        )
    if os.path.lexists(dest) and not os.path.isdir(dest):
        raise UsageError(f"destination {dest} is not a directory")
    return dest
