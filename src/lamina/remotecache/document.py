"""The document of an external cache: steps by key, their layers, and what saves looking into them.

Workload: one is read whole at the start of a build, by a machine that knows nothing, and one is
written at its end. So it is small (no file listings, no files), holds every layer once, and says of
each whether its blob can be had. Steps name layers by their place in the list.

A step whose layers have no blob is still worth its record: it says what the layers *were*, so that
the keys of the steps below it can be computed and found, and the step itself need not run.

Rejected: BuildKit's own `cacheconfig.v0` (its keys are digests alone, made from BuildKit's graph:
they could not be told apart or explained, and no key of ours would ever equal one).
"""

from __future__ import annotations

import msgspec

from lamina.cachekey.key import Part
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest

VERSION = 1
MEDIA_TYPE = "application/vnd.lamina.cache.v1+json"


class CachedLayer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A layer of some step.

    `id` is what stands for its files in keys: the digest of its manifest, or for a layer of a base
    image its diff ID; `base` is that image's reference then, "" for a layer that a step made.
    `diff_id` is the digest of its plain tar. `blob` is its compressed tar, in the image `base` or
    in this cache; None where it is in neither. `created` in seconds since 1970; `size` in bytes,
    unpacked.
    """

    id: Digest
    diff_id: Digest
    blob: Descriptor | None = None
    base: str = ""
    created: float = 0.0
    size: int = 0


class CachedStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record: what the step with this key made (`layers`: places in the document's list).

    `seconds` is what running it took, `created` when that was, `used` when it was last of use, both
    in seconds since 1970.
    """

    key: Digest
    locus: str
    name: str
    parts: tuple[Part, ...]
    layers: tuple[int, ...]
    seconds: float
    created: float
    used: float = 0.0
    signature: str = ""


class CachedMemo(msgspec.Struct, frozen=True, array_like=True):
    """What was computed from layers alone (`cache.index`): with it, nobody looks into them."""

    kind: str
    key: bytes
    value: bytes


class MountState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content of a cache mount at one time: `manifest` is a blob that lists files and chunks,
    `packs` the blobs that hold the chunks. `saved` in seconds since 1970, `size` in bytes,
    unpacked.
    """

    id: str
    platform: str
    manifest: Descriptor
    packs: tuple[Descriptor, ...]
    saved: float
    size: int = 0
    signature: str = ""


class CacheDocument(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="version",
    tag=VERSION,
):
    """Everything that one entry of an external cache says. `replaces` names entries whose content
    is in this one too.
    """

    layers: tuple[CachedLayer, ...] = ()
    steps: tuple[CachedStep, ...] = ()
    memos: tuple[CachedMemo, ...] = ()
    mounts: tuple[MountState, ...] = ()
    replaces: tuple[str, ...] = ()

    def blobs(self) -> tuple[Descriptor, ...]:
        """What the cache itself must hold, each once, in order."""
        layers = [each.blob for each in self.layers if each.blob is not None and not each.base]
        states = [blob for each in self.mounts for blob in (each.manifest, *each.packs)]
        return tuple({blob.digest: blob for blob in (*layers, *states)}.values())
