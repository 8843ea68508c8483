"""`lamina pull`: an image with all of its layers comes into the local store."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import msgspec

from lamina.content.errors import NoMatchingPlatform
from lamina.content.source import ImageSource
from lamina.content.store import BlobStore
from lamina.control import wiring
from lamina.control.building.bases import ImageBases
from lamina.control.request import PulledImage
from lamina.control.store import open_store
from lamina.oci.descriptor import Descriptor
from lamina.oci.platform import host_platform, parse_platform, rank
from lamina.oci.reference import Reference, parse_reference
from lamina.trace.recorder import Recorder, Step, Watcher

_DOWNLOADS = 4


def pull_image(
    name: str,
    *,
    root: str,
    watchers: tuple[Watcher, ...],
    environ: Mapping[str, str],
    platform: str = "",
) -> PulledImage:
    """Bring an image for a platform, this machine's where none is given. All of it is here before
    its name is.

    Raises UserError, NotFound, NoMatchingPlatform, another RemoteError, or HostError.
    """
    reference = parse_reference(name).with_default_tag()
    wanted = parse_platform(platform or "local", host=host_platform(os.uname().machine))
    store = open_store(root)
    recorder = Recorder(watchers)
    registry = wiring.registry(store, environ)
    before = store.images.get(reference)
    with recorder.step_of(f"pulling {reference.familiar}") as step:
        image = registry().resolve(reference, wanted)
        if rank(wanted, image.platform) is None:
            if platform:
                raise NoMatchingPlatform(str(reference), wanted=wanted, offered=(image.platform,))
            recorder.warn(f"{reference.familiar} is for {image.platform}, this machine is {wanted}")
        blobs = {layer.descriptor.digest: layer.descriptor for layer in image.layers}
        _Pull(registry(), reference, store.blobs, step).run(blobs.values())
    bases = ImageBases(store=store, recorder=recorder, contexts={}, pull=True, registry=registry)
    bases.remember(reference, image)
    new = before is None or before.digest != image.descriptor.digest
    return PulledImage(reference=reference, digest=image.digest, new=new)


class _Stopped(Exception):
    """Another download failed, or the user interrupts."""


class _Pull(msgspec.Struct):
    source: ImageSource
    reference: Reference
    content: BlobStore
    step: Step
    _stopped: threading.Event = msgspec.field(default_factory=threading.Event)

    def run(self, blobs: Iterable[Descriptor]) -> None:
        """Several at once; the first error is raised, and stops the others."""
        with ThreadPoolExecutor(_DOWNLOADS, "pull") as pool:
            futures = [pool.submit(self._bring, blob) for blob in blobs]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:  # in peace nothing is left to stop
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
        errors = [future.exception() for future in futures if not future.cancelled()]
        real = [error for error in errors if error and not isinstance(error, _Stopped)]
        if real:
            raise real[0]

    def _bring(self, blob: Descriptor) -> None:
        arrived = 0

        def count(more: int) -> None:
            nonlocal arrived
            if self._stopped.is_set():
                raise _Stopped
            arrived += more
            self.step.progress(blob.digest, arrived, blob.size, done=arrived == blob.size)

        self.source.fetch(self.reference, blob, self.content, progress=count)
