"""`type=docker`: the archive of `docker save`, which `docker load` and `podman load` read.

It is an image layout with a `manifest.json` beside its index, so both old and new readers find
what they know (moby, image/tarexport).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from lamina.errors import UsageError
from lamina.exporter.archive import blob_name, layout_members, member, write_archive
from lamina.exporter.image import BuiltImage
from lamina.exporter.manifests import Committed, attested, commit
from lamina.exporter.options import ImageOptions, boolean, parse_image_options
from lamina.exporter.output import check_file_dest, open_output
from lamina.exporter.port import ExportContext, ExportResult


class DockerExporter(msgspec.Struct, frozen=True, kw_only=True):
    """`dest` is a file; "-" is standard output."""

    dest: str
    options: ImageOptions

    @classmethod
    def parse(cls, dest: str | None, attributes: Mapping[str, str]) -> Self:
        options = parse_image_options(attributes, output="docker", more=("tar",))
        if not boolean(attributes, "tar", default=True):
            raise UsageError(
                "the output docker is always a tar archive",
                hint="write type=oci,tar=false for a folder",
            )
        if not dest:
            raise UsageError(
                "the output docker needs a destination: there is no Docker daemon to load into",
                hint="write type=docker,dest=FILE, or dest=- and pipe it into docker load",
            )
        return cls(dest=check_file_dest(dest, output="docker"), options=options)

    def export(self, images: Sequence[BuiltImage], context: ExportContext) -> ExportResult:
        if context.many(images) or attested(images, self.options):
            raise UsageError(
                "docker exporter does not currently support exporting manifest lists",
                hint="write type=oci, or build for one platform",
            )
        committed = commit(images, self.options, context)
        members = (
            *layout_members(committed.named(), committed.blobs),
            member("manifest.json", _docker_manifest(committed)),
        )
        with open_output(self.dest, context.stdout) as out:
            write_archive(
                members, context.content, out, progress=context.progress, what="sending tarball"
            )
        return committed.result()


def _docker_manifest(committed: Committed) -> bytes:
    (manifest,) = committed.manifests
    return msgspec.json.encode(
        [
            {
                "Config": blob_name(manifest.config.digest),
                "RepoTags": [name.familiar for name in committed.names] or None,
                "Layers": [blob_name(layer.digest) for layer in manifest.layers],
            }
        ]
    )
