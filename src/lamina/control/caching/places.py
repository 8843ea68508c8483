"""What `--cache-from` and `--cache-to` mean for a build: which places, and what they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from lamina.cache.index import Record
from lamina.cache.memos import Memo
from lamina.control import wiring
from lamina.control.caching.imports import CacheImports
from lamina.control.request import BuildRequest, CacheRequest
from lamina.control.store import Store
from lamina.errors import UsageError, UserError
from lamina.exporter.blobs import LayerBlobs
from lamina.exporter.image import BuiltImage
from lamina.graph.vertex import Vertex
from lamina.notation.boolean import parse_bool
from lamina.oci.platform import Platform
from lamina.oci.reference import Reference, parse_reference
from lamina.ops.run import Seed
from lamina.ops.stacks import Stacks
from lamina.remotecache.composing import Built
from lamina.remotecache.errors import NoCacheService
from lamina.remotecache.mounts.choosing import ALL, choose
from lamina.remotecache.place import CachePlace, Setting
from lamina.trace.recorder import Recorder

if TYPE_CHECKING:
    from lamina.control.caching.exports import CacheExports
    from lamina.control.caching.mounts import TravellingMounts
    from lamina.registry.client import RegistryClient

_INLINE_ARGUMENT = "BUILDKIT_INLINE_CACHE"


class CachePlaces(msgspec.Struct, frozen=True, kw_only=True):
    """The places of a build, checked. `inline`: the images hold their cache, too. `closed` are the
    addresses that would be written, if a --cache-from of them were not read-only. `out_of_reach`
    says why caches are left out that only the jobs of a CI service have.
    """

    sources: tuple[CachePlace, ...] = ()
    targets: tuple[CachePlace, ...] = ()
    inline: bool = False
    closed: tuple[str, ...] = ()
    out_of_reach: tuple[str, ...] = ()


def inline_argument(request: BuildRequest) -> bool:
    """Whether the build argument of BuildKit asks for an inline cache. Raises UsageError."""
    text = request.build_args.get(_INLINE_ARGUMENT)
    if not text:
        return False
    value = parse_bool(text)
    if value is None:
        raise UsageError(f"invalid boolean value for {_INLINE_ARGUMENT}: {text}")
    return value


def choose_places(
    request: BuildRequest,
    store: Store,
    environ: Mapping[str, str],
    *,
    platforms: Sequence[Platform],
) -> CachePlaces:
    """Checks every flag. Raises UsageError.

    The same flags are good in a job of GitHub Actions and on the machine of who wrote them: there
    the service of those jobs is left out, with a warning. buildx leaves it out silently.
    """
    away: dict[str, None] = {}
    setting = Setting(
        environ=environ,
        client=_clients(environ),
        scratch=store.blobs,
        platforms=tuple(platforms),
        neighbours=_neighbours(request),
    )

    def chosen(caches: Iterable[CacheRequest], *, writes: bool) -> Iterator[CachePlace]:
        for each in caches:
            try:
                yield wiring.choose_cache(each, setting, writes=writes)
            except NoCacheService as error:
                away[error.message] = None

    sources = tuple(chosen(request.cache_from, writes=False))
    outside = (each for each in request.cache_to if each.type != "inline")
    targets = tuple(chosen(outside, writes=True))
    _check_inline(request.cache_to)
    for place in (*sources, *targets):
        choose(place.options.mounts, default=ALL)
    closed = {(each.kind, each.address) for each in sources if each.options.read_only}
    return CachePlaces(
        sources=sources,
        targets=tuple(each for each in targets if (each.kind, each.address) not in closed),
        inline=inline_argument(request) or any(e.type == "inline" for e in request.cache_to),
        closed=tuple(each.address for each in targets if (each.kind, each.address) in closed),
        out_of_reach=tuple(away),
    )


def _clients(environ: Mapping[str, str]) -> Callable[[frozenset[str]], RegistryClient]:
    @cache
    def open_client(insecure: frozenset[str]) -> RegistryClient:
        from lamina.registry.client import RegistryClient

        return RegistryClient(environ=environ, insecure=insecure)

    return open_client


def _check_inline(caches: Sequence[CacheRequest]) -> None:
    for each in caches:
        if each.type == "inline" and each.attributes.get("mode", "min") != "min":
            raise UsageError("--cache-to type=inline: an inline cache is always mode=min")
        unknown = set(each.attributes) - {"mode"}
        if each.type == "inline" and unknown:
            raise UsageError(f"--cache-to type=inline has no attribute {min(unknown)!r}")


def _neighbours(request: BuildRequest) -> tuple[Reference, ...]:
    """Repositories that may have blobs of this build: its images', and the caches'."""
    named = [
        each.attributes["ref"]
        for each in (*request.cache_from, *request.cache_to)
        if each.type == "registry" and each.attributes.get("ref")
    ]
    found = []
    for text in named:
        with suppress(UserError):  # told where the cache is opened
            found.append(parse_reference(text))
    return tuple(dict.fromkeys((*request.tags, *found)))


class ExternalCaches:
    """The external caches of one build, from its begin to its end."""

    def __init__(self, places: CachePlaces, *, store: Store, recorder: Recorder) -> None:
        self._places = places
        self._store = store
        self._recorder = recorder
        self._exports: CacheExports | None = None
        self._mounts: TravellingMounts | None = None
        self.imports = CacheImports(places.sources, recorder=recorder, store=store.blobs)

    def start(self) -> None:
        """Begin to read."""
        for why in self._places.out_of_reach:
            self._recorder.warn(f"a cache is left out: {why}")
        for address in self._places.closed:
            self._recorder.warn(f"{address} is not written: --cache-from says read-only")
        self.imports.start()

    def prepare(self, blobs: LayerBlobs, stacks: Stacks) -> None:
        """Get ready to write, before the first step runs."""
        if self._places.targets or self._places.inline:
            from lamina.control.caching.exports import CacheExports

            self._exports = CacheExports(
                self._places.targets,
                store=self._store,
                recorder=self._recorder,
                blobs=blobs,
                stacks=stacks,
            )

    def mounts_of(self, targets: Sequence[Vertex]) -> Seed:
        """What fills the cache mounts of these vertices; they are saved at the end."""
        from lamina.control.caching.mounts import TravellingMounts

        self._mounts = TravellingMounts(
            targets, imports=self.imports, store=self._store, recorder=self._recorder
        )
        return self._mounts.seed

    def built(
        self, records: tuple[Record, ...], memos: tuple[Memo, ...], images: Sequence[BuiltImage]
    ) -> Built:
        """What the build has to say."""
        ids = frozenset(layer.id for image in images for layer in image.stack)
        return Built(records=records, memos=memos, images=ids)

    def offer(self, record: Record) -> None:
        """A step has been made."""
        if self._exports is not None:
            self._exports.offer(record)

    def inlined(
        self, images: Sequence[BuiltImage], built: Built, *, epoch: int | None
    ) -> list[BuiltImage]:
        """The images, with their cache in them where that is wanted."""
        if self._exports is None or not self._places.inline:
            return list(images)
        return [self._exports.inlined(image, built, epoch=epoch) for image in images]

    def finish(self, built: Built) -> None:
        """Write the caches. Raises what went wrong with one that has `ignore-error=false`."""
        if self._exports is not None:
            mounts = self._mounts
            self._exports.finish(
                built, saver_of=mounts.saver_of if mounts else lambda place, step: None
            )

    def close(self) -> None:
        """Nothing is read or sent any more."""
        self.imports.close()
        if self._exports is not None:
            self._exports.close()
