"""Bind mounts of a RUN step: files of another stage, an image, or the context made a layer."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack

import msgspec

from lamina.cache.memos import Memos, known_digest
from lamina.cachekey.key import ListedFile, Listing, Part
from lamina.executor.spec import OverlayMount
from lamina.graph.mounts import BindMount
from lamina.graph.ops import TreeSource
from lamina.layer.stack import Layer, Stack
from lamina.ops.copying.select import select
from lamina.ops.listing import listed_files
from lamina.ops.stacks import Stacks, identity

_MEMO = "subtree"


class Binder(msgspec.Struct, frozen=True):
    """Makes bind mounts, and the parts of keys that they are."""

    stacks: Stacks
    memos: Memos

    def part(self, mount: BindMount, source: Stack) -> tuple[Part, tuple[Listing, ...]]:
        """The part of a key that a mount is. Raises UserError where the source does not exist."""
        if len(source) == 1 and not source[0].pulled:
            listing = Listing(
                f"files:{mount.target}",
                identity(source),
                lambda: self._files(mount, source[0]),
                costly=True,
            )
            return Part(listing.part, listing.digest), (listing,)
        if mount.source == "/":
            return Part(f"input:{mount.target}", identity(source)), ()
        return Part(f"input:{mount.target}", self._subtree(mount.source, source)), ()

    def mount(self, mount: BindMount, source: Stack, held: ExitStack) -> OverlayMount:
        """The mount for the sandbox. What is written to it goes with `held`."""
        self.stacks.ensure(source)
        lower = self.stacks.lower(source)
        if not lower:  # `scratch`: an overlay needs something to stand on
            lower = (held.enter_context(self.stacks.layers.work()).diff,)
        upper = work = None
        if not mount.read_only:
            scratch = held.enter_context(self.stacks.layers.work())
            upper, work = scratch.diff, scratch.work
        return OverlayMount(
            lower=lower,
            upper=upper,
            work=work,
            target=mount.target,
            subpath=mount.source,
        )

    def _files(self, mount: BindMount, layer: Layer) -> tuple[ListedFile, ...]:
        """The files of a layer that was made for the mount, by their names below its source."""
        below = mount.source.strip("/").encode("utf-8", "surrogateescape")
        self.stacks.ensure((layer,))
        entries = self.stacks.layers.manifest(layer.id).entries
        return listed_files([entry for entry in entries if entry.path != below], below=below)

    def _subtree(self, path: str, source: Stack) -> str:
        """The digest of what is at `path` in a stack; computed once, for layers never change."""
        pure = hashlib.sha256(f"{identity(source)}\n{path}".encode("utf-8", "surrogateescape"))
        known = known_digest(self.memos, _MEMO, pure.digest())
        if known is not None:
            return known
        digest = select(self.stacks.view(source), TreeSource(input=0, path=path)).digest
        self.memos.add_memo(_MEMO, pure.digest(), digest.encode())
        return digest
