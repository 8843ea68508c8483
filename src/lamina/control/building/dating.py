"""When the sources of a build were last changed, for SOURCE_DATE_EPOCH."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

import msgspec

from lamina.dockerfile.sources import WEB
from lamina.graph.ops import HttpOp, LocalOp
from lamina.snapshot.store import LayerStore
from lamina.trace.recorder import Recorder

_SECOND_NS = 10**9


class SourceTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Knows the times of a build's sources; `directory` is where its `context` lies."""

    layers: LayerStore
    recorder: Recorder
    environ: Mapping[str, str]
    context: str
    directory: str

    def __call__(self, source: HttpOp | LocalOp) -> int | None:
        """Seconds since 1970. Raises RemoteError, UserError and HostError."""
        if isinstance(source, HttpOp):
            return self._of_download(source)
        if self.context.startswith(WEB):
            return self._of_download(HttpOp(url=self.context, filename="context"))
        if self.context == "-":
            return newest_file(self.directory)
        return None  # a directory has no time of its own

    def _of_download(self, source: HttpOp) -> int | None:
        """What the server says, else the newest file of the archive that it is."""
        from lamina.context.web import Downloaded, download

        name = f"resolve SOURCE_DATE_EPOCH from {source.url}"
        with self.recorder.internal(name), self.layers.work() as work:
            answer = download(
                source.url,
                work.diff,
                environ=self.environ,
                filename=source.filename,
                checksum=source.checksum,
            )
            assert isinstance(answer, Downloaded)
            if answer.validators.last_modified:
                return answer.mtime_ns // _SECOND_NS
            return newest_member(answer.path)


def newest_file(directory: str) -> int | None:
    """The time of the newest regular file below a directory, in seconds since 1970."""
    times = []
    for parent, _, names in os.walk(directory):
        for name in names:
            found = os.lstat(os.path.join(parent, name))
            if stat.S_ISREG(found.st_mode):
                times.append(int(found.st_mtime))
    return max(times, default=None)


def newest_member(path: str) -> int | None:
    """The time of the newest regular file of an archive; None for what is no archive."""
    from lamina.context.archive import open_archive
    from lamina.layer.reader import MalformedTar, TarReader

    newest: int | None = None
    with open(path, "rb") as file:
        try:
            plain = open_archive(file)
            reader = TarReader(plain) if plain is not None else None
            while reader is not None and (member := reader.next()) is not None:
                if member.kind in (b"0", b"\0") and (newest is None or member.mtime_ns > newest):
                    newest = member.mtime_ns
        except MalformedTar:  # no archive, as far as its time is concerned
            return None
    return None if newest is None else newest // _SECOND_NS
