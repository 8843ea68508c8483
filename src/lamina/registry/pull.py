"""Many blobs at once, from any image source."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from lamina.content.source import ImageLayer, ImageSource
from lamina.content.store import BlobStore
from lamina.oci.descriptor import Descriptor
from lamina.oci.reference import Reference

JOBS = 4
"""Downloads at the same time. Each needs about half a MiB of memory."""

LayerProgress = Callable[[Descriptor, int], None]
"""Is told, from several threads, how many more bytes of a blob have arrived; see `Progress`."""


class _Cancelled(BaseException):
    """Another download failed: nobody wants this one any more."""


def pull_layers(
    source: ImageSource,
    reference: Reference,
    layers: Iterable[ImageLayer],
    store: BlobStore,
    *,
    jobs: int = JOBS,
    progress: LayerProgress | None = None,
) -> None:
    """Brings the blobs of `layers` into the store, those that are missing.

    The first failure ends the others and is raised, as `ImageSource.fetch` raises; what is complete
    stays in the store. So does an interrupt.
    """
    missing = {layer.descriptor.digest: layer.descriptor for layer in layers}
    missing = {digest: each for digest, each in missing.items() if not store.has(digest, each.size)}
    if not missing:
        return
    cancelled = threading.Event()

    def fetch(descriptor: Descriptor) -> None:
        def tell(count: int) -> None:
            if cancelled.is_set():
                raise _Cancelled
            if progress is not None:
                progress(descriptor, count)

        source.fetch(reference, descriptor, store, progress=tell)

    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    with ThreadPoolExecutor(min(jobs, len(missing)), "pull") as pool:
        futures = [pool.submit(fetch, descriptor) for descriptor in missing.values()]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)
