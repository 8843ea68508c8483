"""`lamina cache prune --remote`: what nobody uses any more goes from a cache in another place.

    read the documents ──▶ plan ──▶ write and remove documents ──▶ remove blobs

The documents of the cache that the flag names are pruned; others in the same place are only asked
which blobs they need. Blobs are removed last, when nothing refers to them any more. Registries and
GitHub's cache service do that by themselves.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from lamina.control.caching.places import choose_places
from lamina.control.request import BuildRequest, CacheRequest
from lamina.control.store import open_store
from lamina.errors import RemoteError, UsageError, UserError
from lamina.oci.digest import Digest
from lamina.remotecache.document import CacheDocument
from lamina.remotecache.encoding import decode
from lamina.remotecache.errors import NotACache, UnreadableCache
from lamina.remotecache.layouts import put_document
from lamina.remotecache.place import CachePlace
from lamina.remotecache.port import CacheCleaner
from lamina.remotecache.pruning import (
    DatedBlobs,
    FoundDocument,
    PruneLimits,
    PrunePlan,
    plan_prune,
)

SETTLED: Final = 3600.0
"""Seconds. A younger blob that no document refers to may be of a writer that is still at work."""

_COLLECTORS: Final = ("registry", "gha")  # these remove blobs by themselves
_SHARED: Final = ("s3", "gs", "azblob")  # in these, caches of several names share blobs
_AT_ONCE: Final = 8
_DIGEST: Final = re.compile(rb"sha256:[0-9a-f]{64}")


class PruneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, or with `dry_run` would be.

    `steps` and `mounts` count records and cache mounts that go, `removed` and `rewritten` name
    documents. `freed` is the size of `blobs` blobs that go, `left` that of blobs which the place
    removes by itself when it collects garbage, `kept` that of those which stay, all in bytes.
    `notes` are sentences about what went less than well.
    """

    address: str
    dry_run: bool
    steps: int = 0
    mounts: int = 0
    removed: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    blobs: int = 0
    freed: int = 0
    left: int = 0
    kept: int = 0
    notes: tuple[str, ...] = ()


def prune_remote(
    remote: CacheRequest,
    limits: PruneLimits,
    *,
    dry_run: bool,
    root: str,
    environ: Mapping[str, str],
) -> PruneReport:
    """Raises UsageError, RemoteError and HostError."""
    place = _place(remote, root, environ)
    backend = place.connect()
    if not isinstance(backend, CacheCleaner):
        raise UserError(f"{place.address}: a cache of type={place.kind} cannot be pruned")
    return _Pruning(place, backend, dry_run=dry_run).run(limits)


def _place(remote: CacheRequest, root: str, environ: Mapping[str, str]) -> CachePlace:
    """The flag is that of --cache-to, or for a folder also that of --cache-from."""
    attributes = dict(remote.attributes)
    if remote.type == "local" and "src" in attributes:
        attributes["dest"] = attributes.pop("src")
    if remote.type == "inline":
        raise UsageError("--remote type=inline: an inline cache is a part of its image")
    asked = CacheRequest(type=remote.type, attributes=attributes)
    request = BuildRequest(context=".", cache_to=(asked,))
    return choose_places(request, open_store(root), environ, platforms=()).targets[0]


class _Found(NamedTuple):
    """The cache's own documents with their bytes, and blobs that others need. `sure` is False
    where somebody may need more.
    """

    documents: tuple[FoundDocument, ...]
    data: dict[str, bytes]
    needed: frozenset[Digest]
    sure: bool


class _Pruning:
    """One run."""

    def __init__(self, place: CachePlace, backend: CacheCleaner, *, dry_run: bool) -> None:
        self._place = place
        self._backend = backend
        self._dry_run = dry_run
        self._notes: list[str] = []
        self._sure = True

    def run(self, limits: PruneLimits) -> PruneReport:
        found = self._read()
        if not found.documents:
            note = f"{self._place.address}: there is no cache"
            return PruneReport(address=self._place.address, dry_run=self._dry_run, notes=(note,))
        self._sure = found.sure
        plan = plan_prune(found.documents, limits, now=time.time(), needed=found.needed)
        removed, rewritten = plan.remove, tuple(each.name for each in plan.rewrite)
        if not self._dry_run:
            removed = tuple(name for name in removed if self._remove(name, found))
            rewritten = tuple(each.name for each in plan.rewrite if self._rewrite(each, found))
        blobs = self._loose(plan) if self._sure else {}
        if not self._dry_run:
            blobs = self._remove_blobs(blobs)
        planned = dict(plan.blobs)
        left = sum(size for digest, size in planned.items() if digest not in blobs)
        return PruneReport(
            address=self._place.address,
            dry_run=self._dry_run,
            steps=plan.steps,
            mounts=plan.mounts,
            removed=removed,
            rewritten=rewritten,
            blobs=len(blobs),
            freed=sum(blobs.values()),
            left=left,
            kept=plan.kept_bytes,
            notes=tuple(self._notes),
        )

    def _read(self) -> _Found:
        """Raises RemoteError where a document is there and cannot be had."""
        own, data, needed, sure = [], {}, set[Digest](), True
        mine = set(self._place.documents)
        names = dict.fromkeys((*self._place.documents, *self._listed()))
        for name in names:
            stored = self._backend.read(name)
            if stored is None:
                continue
            try:
                document = decode(stored.data, subject=f"{self._place.address} ({name})")
            except (UnreadableCache, NotACache) as error:
                if name in mine:
                    raise
                sure = sure and stored.data.startswith(b"{")
                needed |= {Digest(each.decode()) for each in _DIGEST.findall(stored.data)}
                self._notes.append(f"left as it is: {error.message}")
                continue
            if name in mine or self._is_record(name):
                own.append(FoundDocument(name=name, document=document))
                data[name] = stored.data
            else:
                needed |= {blob.digest for blob in document.blobs()}
        if not sure:
            self._notes.append("no blob is removed: a document that cannot be read may need it")
        return _Found(tuple(own), data, frozenset(needed), sure)

    def _listed(self) -> Iterable[str]:
        """Records of the cache; in a place that shares blobs, all documents."""
        prefix = "" if self._place.kind in _SHARED else f"{self._place.documents[0]}-r-"
        return sorted(entry.name for entry in self._backend.names(prefix))

    def _is_record(self, name: str) -> bool:
        return any(name.startswith(f"{document}-r-") for document in self._place.documents)

    def _rewrite(self, new: FoundDocument, found: _Found) -> bool:
        if not self._is_unchanged(new.name, found):
            return False
        put_document(self._place.connect(), new.name, new.document)
        return True

    def _remove(self, name: str, found: _Found) -> bool:
        """Where documents cannot be removed, an empty one takes the place."""
        if not self._is_unchanged(name, found):
            return False
        try:
            self._backend.remove(name)
        except RemoteError as error:
            if error.retryable:
                raise
            put_document(self._place.connect(), name, CacheDocument())
            self._notes.append(f"{name} is not removed but empty now: {error.message}")
            return False
        return True

    def _is_unchanged(self, name: str, found: _Found) -> bool:
        """Whether nobody has written it since it was read. What others write is not thrown away."""
        stored = self._backend.read(name)
        if stored is not None and stored.data == found.data[name]:
            return True
        self._notes.append(f"{name} was written by somebody meanwhile and is left as it is")
        self._sure = False
        return False

    def _loose(self, plan: PrunePlan) -> dict[Digest, int]:
        """Blobs that can go, with their sizes: those of the plan, and what others left behind."""
        if self._place.kind in _COLLECTORS:
            return {}
        planned = dict(plan.blobs)
        listed = dict(self._backend.blobs())
        there = {**planned, **listed} if self._dry_run else listed
        return {
            digest: size
            for digest, size in there.items()
            if digest not in plan.kept and (digest in planned or self._is_settled(digest))
        }

    def _is_settled(self, digest: Digest) -> bool:
        if not isinstance(self._backend, DatedBlobs):
            return True
        changed = self._backend.blob_changed(digest)
        return changed is not None and time.time() - changed > SETTLED

    def _remove_blobs(self, blobs: Mapping[Digest, int]) -> dict[Digest, int]:
        """Those that are gone."""
        from concurrent.futures import ThreadPoolExecutor

        def remove(digest: Digest) -> RemoteError | None:
            try:
                self._backend.remove_blob(digest)
            except RemoteError as error:
                return error
            return None

        with ThreadPoolExecutor(_AT_ONCE, "prune") as pool:
            errors = dict(zip(blobs, pool.map(remove, blobs), strict=True))
        refused = [error for error in errors.values() if error is not None]
        if refused:
            self._notes.append(f"{len(refused)} blobs stay: {refused[0].message}")
        return {digest: size for digest, size in blobs.items() if errors[digest] is None}
