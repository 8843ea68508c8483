"""A place that a build reads from or writes to: the backend, and what the flag said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from lamina.content.store import BlobStore
from lamina.oci.platform import Platform
from lamina.oci.reference import Reference
from lamina.remotecache.document import CacheDocument
from lamina.remotecache.layouts import Note, RecordsPlace, read_records, read_single
from lamina.remotecache.options import CacheOptions, Layout
from lamina.remotecache.port import CacheWriter

if TYPE_CHECKING:
    from lamina.registry.client import RegistryClient


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What places need of a build.

    `client` makes the registries' client; it is told which domains need no proper TLS.
    `scratch` holds documents while they are sent. `platforms` are those that are built,
    `neighbours` repositories that may have blobs already.
    """

    environ: Mapping[str, str]
    client: Callable[[frozenset[str]], RegistryClient]
    scratch: BlobStore
    platforms: tuple[Platform, ...] = ()
    neighbours: tuple[Reference, ...] = ()


class CachePlace(msgspec.Struct, frozen=True, kw_only=True):
    """One `--cache-from` or `--cache-to`, checked; nothing was asked yet.

    `address` is what messages call it. `origin` is what a layer from there has as its origin: where
    it can, it tells by itself how to fetch the layer. `documents` are the names of a cache of one
    document, the first of which is read. `connect` makes the backend.
    """

    kind: str
    address: str
    documents: tuple[str, ...]
    options: CacheOptions
    connect: Callable[[], CacheWriter]
    origin: str = ""
    reset: bool = False

    @property
    def records(self) -> RecordsPlace | None:
        """Where the entries of `layout=records` are; None for the other layout."""
        if self.options.layout is not Layout.RECORDS:
            return None
        return RecordsPlace.of(self.documents[0], scope=self.options.scope, base=self.options.base)

    def read(self, *, note: Note) -> CacheDocument | None:
        """What the cache says; None where there is none yet.

        What nobody trusted has signed is left out, where `verify=` demands that. Raises
        UnreadableCache, NotACache, and what the backend raises.
        """
        reader = self.connect()
        records = self.records
        if records is not None:
            return read_records(reader, records, note=note, check=self.checker(note=note))
        entry = read_single(reader, self.documents[0], subject=self.address)
        return None if entry is None else self.checker(note=note)(entry.document)

    def checker(self, *, note: Note) -> Callable[[CacheDocument], CacheDocument]:
        """Takes what is not signed out of a document, where only signed records are wanted.

        Raises UserError for a key that cannot be used.
        """
        if not self.options.verify:
            return _trusting
        from lamina.remotecache.signing import load_trusted_keys, verified

        keys = load_trusted_keys(self.options.verify)

        def check(document: CacheDocument) -> CacheDocument:
            trusted, dropped = verified(document, keys)
            if dropped:
                note(
                    f"{self.address}: {dropped} records are not used: no key of"
                    f" verify={self.options.verify} has signed them"
                )
            return trusted

        return check


def _trusting(document: CacheDocument) -> CacheDocument:
    return document
