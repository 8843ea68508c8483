"""Chunks go into packs: compressed by several threads, written in order, sent meanwhile.

A pack is zstd frames, one a chunk, and nothing else: where they lie is in the manifest. The same
chunks in the same order make the same packs.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from lamina.content.compression import zstd_module
from lamina.content.store import BlobStore, BlobWriter
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.remotecache.mounts.cutting import LARGEST_PACK, PACK, ends_after
from lamina.remotecache.mounts.manifest import PACK_MEDIA_TYPE, Chunk, Pack

_LEVEL: Final = 3
_AHEAD: Final = 8  # chunks that are being compressed
_SENDING: Final = 3  # packs that wait on disk until they are sent

Send = Callable[[Descriptor], None]
"""Sends a pack that lies in the scratch store, and removes it from there."""


class Packer:
    """Makes packs in `scratch`, and has each sent. Use it in a `with` statement.

    `first` is the place of the first pack in the list of all. `packs` and `chunks` are what was
    made, complete after `finish`.
    """

    def __init__(self, scratch: BlobStore, send: Send, *, first: int, threads: int) -> None:
        self.packs: list[Pack] = []
        self.chunks: list[Chunk] = []
        self._scratch = scratch
        self._send = send
        self._first = first
        self._compressing = ThreadPoolExecutor(threads, "pack")
        self._sending = ThreadPoolExecutor(_SENDING, "send")
        self._waiting: deque[tuple[bytes, int, Future[bytes]]] = deque()
        self._sent: deque[Future[None]] = deque()
        self._writer: BlobWriter | None = None
        self._open = contextlib.ExitStack()
        zstd = zstd_module()
        self._compress: Callable[[bytes], bytes] = lambda data: zstd.compress(data, _LEVEL)

    def __enter__(self) -> Packer:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._compressing.shutdown(cancel_futures=True)
        self._sending.shutdown(cancel_futures=True)

    def add(self, digest: bytes, data: bytes) -> None:
        """One more chunk. Raises what sending an earlier pack raised, and HostError."""
        task = self._compressing.submit(self._compress, data)
        self._waiting.append((digest, len(data), task))
        while len(self._waiting) > _AHEAD:
            self._write()

    def finish(self) -> None:
        """Writes and sends what is left. Raises what sending raised, and HostError."""
        while self._waiting:
            self._write()
        self._close()
        while self._sent:
            self._sent.popleft().result()

    def _write(self) -> None:
        digest, size, task = self._waiting.popleft()
        frame = task.result()
        if self._writer is None:
            self._writer = self._open.enter_context(self._scratch.writer())
        self.chunks.append(
            Chunk(
                digest,
                self._first + len(self.packs),
                self._writer.offset,
                len(frame),
                size,
            )
        )
        self._writer.write(frame)
        full = self._writer.offset >= LARGEST_PACK
        # Twice as often, but never in the first half: fewer packs are tiny.
        if full or (self._writer.offset > PACK // 2 and ends_after(digest, len(frame), PACK // 2)):
            self._close()

    def _close(self) -> None:
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        size = writer.offset
        digest: Digest = writer.commit()
        self._open.close()
        self.packs.append(Pack(bytes.fromhex(digest.removeprefix("sha256:")), size))
        pack = Descriptor(media_type=PACK_MEDIA_TYPE, digest=digest, size=size)
        self._sent.append(self._sending.submit(self._send, pack))
        while len(self._sent) > _SENDING:
            self._sent.popleft().result()
