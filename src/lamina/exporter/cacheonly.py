"""`type=cacheonly`: nothing comes out; the build is there for its cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from lamina.errors import UsageError
from lamina.exporter.image import BuiltImage
from lamina.exporter.options import check_known
from lamina.exporter.port import ExportContext, ExportResult


class CacheOnlyExporter(msgspec.Struct, frozen=True):
    """The output that is none."""

    @classmethod
    def parse(cls, dest: str | None, attributes: Mapping[str, str]) -> Self:
        if dest:
            raise UsageError("the output cacheonly has no destination")
        for key, value in attributes.items():
            check_known(key, value, known=frozenset(), output="cacheonly")
        return cls()

    def export(self, images: Sequence[BuiltImage], context: ExportContext) -> ExportResult:
        return ExportResult()
