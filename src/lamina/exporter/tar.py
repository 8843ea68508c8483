"""`type=tar`: the root file system in one tar, without the layers it came in."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from lamina.content.store import host_errors
from lamina.errors import HostError
from lamina.exporter.files import FileOptions, Root, entries_of, roots_of, time_of_all
from lamina.exporter.image import BuiltImage
from lamina.exporter.meter import Meter
from lamina.exporter.output import Output, check_file_dest, open_output
from lamina.exporter.port import ExportContext, ExportResult
from lamina.layer.entry import Entry, Kind
from lamina.layer.tarheader import BLOCK, END, encode_header

_GATHER = 1 << 20
_SMALL = 1 << 16


class TarExporter(msgspec.Struct, frozen=True, kw_only=True):
    """`dest` is a file; "-" is standard output. Several platforms get a folder each."""

    dest: str
    options: FileOptions

    @classmethod
    def parse(cls, dest: str | None, attributes: Mapping[str, str]) -> Self:
        return cls(
            dest=check_file_dest(dest, output="tar"),
            options=FileOptions.parse(attributes, output="tar"),
        )

    def export(self, images: Sequence[BuiltImage], context: ExportContext) -> ExportResult:
        # BuildKit's tar output keeps several platforms apart whatever platform-split says.
        split = context.many(images)
        roots = roots_of(images, self.options, context, split=split)
        mtime_ns = time_of_all(self.options, context)
        with (
            Meter(context.progress, "sending tarball", len(roots)) as meter,
            open_output(self.dest, context.stdout) as out,
        ):
            tar = _TarWriter(out)
            for root in roots:
                _write_root(tar, root, mtime_ns)
                meter.advance()
            tar.end()
        return ExportResult()


def _write_root(tar: _TarWriter, root: Root, mtime_ns: int | None) -> None:
    if root.prefix:
        path = root.prefix.rstrip(b"/")
        folder = Entry(path=path, kind=Kind.DIRECTORY, mode=0o755, mtime_ns=mtime_ns or 0)
        tar.add(folder, b"")
    for entry, source in entries_of(root, mtime_ns=mtime_ns):
        tar.add(entry, source)
    if root.statement is not None:
        tar.add_data(*root.statement)


class _TarWriter:
    """Gathers headers and small files; large files go from file to file."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._gathered = bytearray()

    def add(self, entry: Entry, source: bytes) -> None:
        name = entry.path + b"/" if entry.kind is Kind.DIRECTORY else entry.path
        self._put(encode_header(entry, name, entry.mtime_ns))
        if entry.kind is Kind.FILE and entry.size:
            self._content(source, entry.size)

    def add_data(self, entry: Entry, data: bytes) -> None:
        self._put(encode_header(entry, entry.path, entry.mtime_ns))
        self._put(data)
        self._put(bytes(-len(data) % BLOCK))

    def end(self) -> None:
        self._put(END)
        self._flush()

    def _content(self, source: bytes, size: int) -> None:
        with host_errors(os.fsdecode(source)):
            fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if size <= _SMALL:
                    data = os.read(fd, size)
                    if len(data) != size:
                        raise HostError(f"{os.fsdecode(source)} changed while it was read")
                    self._put(data)
                else:
                    self._flush()
                    self._out.copy(fd, size)
            finally:
                os.close(fd)
        self._put(bytes(-size % BLOCK))

    def _put(self, data: bytes) -> None:
        self._gathered += data
        if len(self._gathered) >= _GATHER:
            self._flush()

    def _flush(self) -> None:
        self._out.write(self._gathered)
        self._gathered = bytearray()
