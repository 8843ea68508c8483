"""`lamina push`: images of the local store go to registries."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from lamina.content.images import NamedImage
from lamina.control import wiring
from lamina.control.building.bases import ImageBases
from lamina.control.privileges import become_root
from lamina.control.request import PushedName, PushRequest
from lamina.control.store import Store, open_store
from lamina.errors import UsageError, UserError
from lamina.exporter.blobs import LayerBlobs
from lamina.exporter.meter import progress_of
from lamina.exporter.push import shipping
from lamina.exporter.stored import Departure
from lamina.exporter.upload import Upload
from lamina.layer.stack import Layer
from lamina.notation.suggest import nearest
from lamina.oci.platform import host_platform, parse_platform
from lamina.oci.reference import Reference, parse_reference
from lamina.ops.stacks import Stacks
from lamina.trace.recorder import Recorder, Watcher


def push_images(
    request: PushRequest, *, root: str, watchers: tuple[Watcher, ...], environ: Mapping[str, str]
) -> tuple[PushedName, ...]:
    """Push names one after the other; the first that fails ends it.

    Raises UserError for a name that there is not, NoMatchingPlatform, RemoteError, HostError.
    """
    become_root()
    store = open_store(root)
    wanted = [image for name in request.names for image in _found(store, name, request)]
    host = host_platform(os.uname().machine)
    platform = parse_platform(request.platform, host=host) if request.platform else None
    recorder = Recorder(watchers)
    target = wiring.targets(environ)(frozenset())
    blobs, fetch = _layers(store, recorder, environ)
    pushed = []
    for image in {str(image.reference): image for image in wanted}.values():
        with (
            recorder.step_of(f"pushing {image.reference.familiar}") as step,
            Upload(target, store.blobs, [image.reference]) as upload,
        ):
            progress = progress_of(step)
            layers = shipping(upload, blobs, progress)
            departure = Departure(
                image=image, content=store.blobs, upload=upload, layers=layers, fetch=fetch
            )
            shipment = departure.shipment(platform)
            upload.finish(shipment, progress)
        top = shipment.manifests[-1]
        pushed.append(PushedName(reference=image.reference, digest=top.digest, size=top.size))
    return tuple(pushed)


def _layers(
    store: Store, recorder: Recorder, environ: Mapping[str, str]
) -> tuple[LayerBlobs, Callable[[Layer], None]]:
    """Layers as blobs, and how one that is not here is fetched from where it came."""
    bases = ImageBases(
        store=store,
        recorder=recorder,
        contexts={},
        pull=False,
        registry=wiring.registry(store, environ),
    )
    stacks = Stacks(
        layers=store.layers,
        blobs=store.blobs,
        fetch=bases.fetch,
        recorder=recorder,
        locks=store.folder("locks"),
        reachable=bases.reachable,
        proven=store.index.add_layer,
    )

    def fetch(layer: Layer) -> None:
        bases.fetch(layer, lambda done, total: None)

    blobs = LayerBlobs(
        content=store.blobs,
        layers=store.layers,
        index=store.index,
        fetch=fetch,
        unpack=lambda layer: stacks.ensure((layer,)),
    )
    return blobs, fetch


def _found(store: Store, text: str, request: PushRequest) -> tuple[NamedImage, ...]:
    """What is meant by one argument. An ID is no name: nobody could say where it should go."""
    reference = parse_reference(text)
    if reference.digest is not None:
        raise UsageError(f"cannot push {text}: a digest is no tag", hint="write NAME:TAG")
    if request.all_tags and reference.tag is not None:
        raise UsageError(f"tag can't be used with --all-tags/-a: {text}", hint="leave out the tag")
    images = store.images.list()
    wanted = reference.with_default_tag()
    found = tuple(
        image
        for image in images
        if image.reference.repository == reference.repository
        and image.reference.tag is not None
        and (request.all_tags or image.reference.tag == wanted.tag)
    )
    if found:
        return found
    near = nearest(_shown(wanted), (_shown(image.reference) for image in images))
    raise UserError(
        f"an image does not exist locally with the tag: {_shown(wanted)}",
        hint=f"did you mean {near}?" if near else "see lamina images; lamina tag gives names",
    )


def _shown(reference: Reference) -> str:
    return reference.familiar
