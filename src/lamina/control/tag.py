"""`lamina tag`: an image of the local store gets one more name."""

from __future__ import annotations

from lamina.control.named import find_images
from lamina.control.store import open_store
from lamina.errors import UsageError
from lamina.oci.reference import parse_reference


def tag_image(source: str, name: str, root: str) -> None:
    """`source` is a name or the beginning of an ID; an image that had `name` loses it.

    Raises UserError where there is no such image, and UsageError for a name with a digest.
    """
    reference = parse_reference(name)
    if reference.digest is not None:
        raise UsageError(f"{name!r} has a digest, which cannot be chosen", hint="write NAME:TAG")
    store = open_store(root)
    image = find_images(store, source)[0]
    store.images.tag(reference.with_default_tag(), image.descriptor)
