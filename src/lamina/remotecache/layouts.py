"""How the documents of a cache lie in a place: one that is overwritten, or many that are merged.

    single    buildcache                            read, and replaced by the next writer
    records   buildcache-r-main-68c1f2aa0123456789  immutable, a new one for every writer
              buildcache-r-main-68c1f31b89abcdef01

With records nothing is lost when ten builds write at once: each adds an entry under a name that
nobody else has, and readers merge what they find. A name ends with the time in seconds since 1970
and 40 random bits, both in hexadecimal, so entries sort by age. Whoever finds many of them writes
what they say into one entry that `replaces` them, and then removes them. A reader that saw a name
whose entry is gone lists the names again: what it said is in an entry that was written before.

Scopes fall back: a branch reads its own records first, then those of its base, then the default's.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from lamina.errors import RemoteError
from lamina.remotecache.document import CacheDocument
from lamina.remotecache.encoding import decode, encode
from lamina.remotecache.merging import merge, says_all
from lamina.remotecache.port import CacheCleaner, CacheReader, CacheWriter, StoredDocument

DEFAULT_SCOPE: Final = "default"
MANY: Final = 8
"""A writer that finds this many entries of its scope makes one of them."""

_LOOKS: Final = 4
_AT_ONCE: Final = 8
_ID = re.compile(r"[0-9a-f]{18}")
_PLAIN_SCOPE = re.compile(r"[A-Za-z0-9._-]{1,40}")

Note = Callable[[str], None]
"""Takes a sentence about something that went less than well."""
Check = Callable[[CacheDocument], CacheDocument]
"""Leaves out of a document what is not to be believed."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A document that was read, with the name that it has."""

    name: str
    document: CacheDocument


class RecordsPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where entries of `layout=records` go: `tag` begins all names, `scopes` are read in order,
    the first is written.
    """

    tag: str
    scopes: tuple[str, ...]

    @classmethod
    def of(cls, tag: str, *, scope: str, base: str) -> RecordsPlace:
        scopes = (scope or DEFAULT_SCOPE, base or DEFAULT_SCOPE, DEFAULT_SCOPE)
        return cls(tag=tag, scopes=tuple(dict.fromkeys(scopes)))

    def prefix(self, scope: str) -> str:
        """What the names of a scope's entries begin with; good for a tag of a registry."""
        return f"{self.tag}-r-{_word(scope)}-"

    def new_name(self) -> str:
        """A name that nobody else has."""
        return f"{self.prefix(self.scopes[0])}{int(time.time()):08x}{secrets.token_hex(5)}"

    def names(self, reader: CacheReader, scope: str) -> list[str]:
        """The entries of a scope, the newest first."""
        prefix = self.prefix(scope)
        found = (entry.name for entry in reader.names(prefix) if entry.name.startswith(prefix))
        return sorted((n for n in found if _ID.fullmatch(n[len(prefix) :])), reverse=True)


def read_single(reader: CacheReader, name: str, *, subject: str) -> Entry | None:
    """The only document. Raises UnreadableCache, and what the reader raises."""
    stored = reader.read(name)
    if stored is None:
        return None
    return Entry(name=name, document=decode(stored.data, subject=subject))


def read_scope(reader: CacheReader, place: RecordsPlace, scope: str, *, note: Note) -> list[Entry]:
    """The entries of a scope that no other one replaces, the newest first.

    An entry that cannot be read is left out, with a note.
    """
    found: dict[str, Entry | None] = {}
    for _ in range(_LOOKS):
        names = place.names(reader, scope)
        gone = _read_new(reader, names, found, note=note)
        if not gone:
            break
    replaced = _replaced(found.values())
    return [
        entry
        for name in sorted(found, reverse=True)
        if (entry := found[name]) is not None and name not in replaced
    ]


def read_records(
    reader: CacheReader, place: RecordsPlace, *, note: Note, check: Check
) -> CacheDocument | None:
    """What the entries of all scopes say; None where there is none. Each goes through `check`."""
    entries = [
        entry for scope in place.scopes for entry in read_scope(reader, place, scope, note=note)
    ]
    return merge([check(entry.document) for entry in entries]) if entries else None


def write_entry(
    writer: CacheWriter,
    place: RecordsPlace,
    document: CacheDocument,
    entries: Sequence[Entry],
    *,
    note: Note,
    sign: Check,
) -> bool:
    """Adds what `document` says to the entries of its scope, which `read_scope` gave.

    Many of them become one. False where they said it all. What is written goes through `sign`.
    """
    said = [entry.document for entry in entries]
    if len(entries) >= MANY:
        old = tuple(sorted(entry.name for entry in entries))
        merged = replace(merge([document, *said]), replaces=old)
        put_document(writer, place.new_name(), sign(merged))
        _remove(writer, old, note=note)
        return True
    if entries and says_all(merge(said), [document]):
        return False
    put_document(writer, place.new_name(), sign(document))
    return True


def put_document(writer: CacheWriter, name: str, document: CacheDocument) -> None:
    """Publishes a document whose blobs are there."""
    stored = StoredDocument(name=name, data=encode(document), blobs=document.blobs())
    writer.write(stored)


def _read_new(
    reader: CacheReader, names: Sequence[str], found: dict[str, Entry | None], *, note: Note
) -> bool:
    """Reads what was not read yet, newest first, some at once. True if one of them was gone."""
    from concurrent.futures import ThreadPoolExecutor

    def read(name: str) -> tuple[Entry | None, bool]:
        try:
            entry = read_single(reader, name, subject=f"{reader.address} ({name})")
        except RemoteError as error:
            # It stays where it is: a newer Lamina may read it, or the network be well again.
            note(f"an entry of the cache is left out: {error.message}")
            return None, False
        return entry, entry is None

    gone = False
    wanted = [name for name in names if name not in found]
    with ThreadPoolExecutor(_AT_ONCE, "cache") as pool:
        while wanted:
            some, wanted = wanted[:_AT_ONCE], wanted[_AT_ONCE:]
            for name, (entry, is_gone) in zip(some, pool.map(read, some), strict=True):
                gone = gone or is_gone
                found[name] = entry
            replaced = _replaced(found.values())
            wanted = [name for name in wanted if name not in replaced]
    return gone


def _replaced(entries: Iterable[Entry | None]) -> set[str]:
    return {name for entry in entries if entry is not None for name in entry.document.replaces}


def _remove(writer: CacheWriter, names: Sequence[str], *, note: Note) -> None:
    """Removes entries whose content is in another one, where the place allows that."""
    if not isinstance(writer, CacheCleaner):
        return
    for name in names:
        try:
            writer.remove(name)
        except RemoteError as error:
            note(f"{writer.address}: entries that are no longer needed stay: {error.message}")
            return


def _word(scope: str) -> str:
    """A scope as a part of a tag: as it is, or shortened with a digest that keeps it apart."""
    if _PLAIN_SCOPE.fullmatch(scope):
        return scope
    clean = re.sub(r"[^A-Za-z0-9._-]+", "_", scope)[:24]
    return f"{clean}.{hashlib.sha256(scope.encode()).hexdigest()[:12]}"
