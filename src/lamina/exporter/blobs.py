"""Layers as blobs: made when needed, remembered, and reused as they came where they were pulled.

A layer that was made here has no bytes of its own: they are written from its files, in one pass
that yields everything at once.

    files ──► tar ──┬──► SHA-256 ──────────────────────────► diff ID
                    └──► compressor ──► blob store (SHA-256) ──► digest, size

What came out is kept in an index under the layer's id and the form it was written in, so a second
export of the layer costs a look-up. A blob that is gone (pruned) is written again: the same files
give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from lamina.content.blob import KnownBlob
from lamina.content.compression import Compression, compression_of, compressor
from lamina.content.decompression import decompressing_reader
from lamina.content.store import BlobStore
from lamina.errors import HostError
from lamina.exporter.layerports import BlobIndex, LayerFiles
from lamina.exporter.options import LayerForm
from lamina.layer.contents import Contents
from lamina.layer.stack import Layer, Stack
from lamina.layer.tar import HashingSink, Sink, write_tar
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest

_TAR_FORMAT = "1"
"""Part of the name of every form: to be changed when `write_tar` writes other bytes."""

_PLAIN = f"{_TAR_FORMAT}:{Compression.UNCOMPRESSED.value}"
ORIGIN = "lamina.layer.origin"
"""Annotation of a layer in the local image store: `Layer.origin`; of a name: the image as which
it was pulled or pushed. Never leaves the store.
"""

UNWRITTEN = "lamina.image.unwritten"
"""Annotation of a name in the local image store: the layers made here are named by their plain
tars, and get another form when the image leaves.
"""

_CHUNK = 1 << 20
_T = TypeVar("_T")


class LayerBlob(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that lies in the blob store, and the digest of its plain tar."""

    descriptor: Descriptor
    diff_id: Digest


class LayerBlobs:
    """Gives the blobs of layers. Safe for several threads.

    `fetch` brings the blob of a layer into the blob store, verified; `unpack` the files of a layer
    from an external cache into the layer store. `contents` of files that were read a moment ago are
    not read again.
    """

    def __init__(
        self,
        *,
        content: BlobStore,
        layers: LayerFiles,
        index: BlobIndex,
        fetch: Callable[[Layer], None],
        unpack: Callable[[Layer], None] | None = None,
        threads: int = 2,
        contents: Contents | None = None,
    ) -> None:
        self._content = content
        self._layers = layers
        self._index = index
        self._fetch = fetch
        self._unpack = unpack
        self._threads = threads
        self._contents = contents

    def diff_id(self, layer: Layer) -> Digest:
        """The digest of the layer's plain tar; reads its files where that is not yet known."""
        if layer.pulled:
            return layer.id
        return layer.diff_id or self.plain(layer).digest

    def diff_ids(self, stack: Stack) -> tuple[Digest, ...]:
        return self._each(stack, self.diff_id)

    def plain(self, layer: Layer) -> Descriptor:
        """The plain tar of a layer that a step made, as a blob; it is not written."""
        form = LayerForm(compression=Compression.UNCOMPRESSED)
        if layer.diff_id is not None and layer.size:
            told = KnownBlob(digest=layer.diff_id, size=layer.size, diff_id=layer.diff_id)
            return _descriptor(told, form)
        made = self._made(layer)
        assert made is not None, "a pulled layer is the blob that it came as"
        known = self._index.blob(made, _PLAIN)
        if known is None:
            plain = HashingSink()
            self._tar(made, plain, None)
            known = self._put_plain(made, plain)
        return _descriptor(known, form)

    def references(self, stack: Stack) -> tuple[LayerBlob, ...]:
        """Layers as they came or as plain tars, without a blob being made or fetched.

        Pulled ones carry the annotation `ORIGIN`, so that they can still be fetched later.
        """

        def reference(layer: Layer) -> LayerBlob:
            if layer.blob is not None and not self._has_plain(layer):
                noted = {**layer.blob.annotations, ORIGIN: layer.origin} if layer.origin else {}
                blob = msgspec.structs.replace(layer.blob, annotations=noted)
                return LayerBlob(descriptor=blob, diff_id=layer.diff_id or layer.id)
            descriptor = self.plain(layer)
            return LayerBlob(descriptor=descriptor, diff_id=descriptor.digest)

        if all(self._is_known(layer) for layer in stack):  # nothing to compute, so no threads
            return tuple(map(reference, stack))
        return self._each(stack, reference)

    def _has_plain(self, layer: Layer) -> bool:
        """Whether a layer's plain tar is known, or can be told from files that are here."""
        if layer.diff_id is not None:
            return bool(layer.size) or self._layers.has(layer.id)
        return self._made(layer) is not None

    def _is_known(self, layer: Layer) -> bool:
        if layer.size or not self._has_plain(layer):
            return True
        made = self._made(layer)
        return made is None or self._index.blob(made, _PLAIN) is not None

    def missing(self, stack: Stack, form: LayerForm) -> int:
        """About how many bytes `ensure` will have to read, plain or compressed as they come."""
        wanted = {layer.id: layer for layer in stack}
        return sum(self._missing(layer, form) for layer in wanted.values())

    def ensure(
        self, stack: Stack, form: LayerForm, advance: Callable[[int], None] | None = None
    ) -> tuple[LayerBlob, ...]:
        """The layers as blobs that are in the blob store. May raise whatever `fetch` raises.

        `advance` is told how many more bytes were read, by several threads.
        """
        return self._each(stack, lambda layer: self.blob(layer, form, advance))

    def blob(
        self, layer: Layer, form: LayerForm, advance: Callable[[int], None] | None = None
    ) -> LayerBlob:
        """One layer as a blob that is in the blob store."""
        advance = advance or _unseen
        layer = self._original(layer)
        made = self._made(layer, form)
        if made is not None:
            self._bring_files(layer)
            name = form_name(form)
            known = self._remembered(made, name, lambda: self._write(made, form, advance))
            return LayerBlob(descriptor=_descriptor(known, form), diff_id=known.diff_id)
        assert layer.blob is not None
        if _is_converted(layer, form):
            name = f"pulled:{form_name(form)}"
            known = self._remembered(layer.id, name, lambda: self._convert(layer, form, advance))
            return LayerBlob(descriptor=_descriptor(known, form), diff_id=layer.id)
        if not self._content.has(layer.blob.digest):
            self._bring(layer)
            advance(layer.blob.size)
        return _unchanged(layer, form)

    def foreseen(self, layer: Layer, form: LayerForm) -> LayerBlob | None:
        """What `blob` will give, where that is known beforehand; the blob need not be here."""
        layer = self._original(layer)
        made = self._made(layer, form)
        if made is None and not _is_converted(layer, form):
            return _unchanged(layer, form)
        name = form_name(form) if made is not None else f"pulled:{form_name(form)}"
        known = self._index.blob(made or layer.id, name)
        if known is None:
            return None
        return LayerBlob(descriptor=_descriptor(known, form), diff_id=known.diff_id)

    def _missing(self, layer: Layer, form: LayerForm) -> int:
        layer = self._original(layer)
        made = self._made(layer, form)
        if made is not None:
            known = self._index.blob(made, form_name(form))
            if known is not None and self._content.has(known.digest):
                return 0
            if not self._layers.has(made):
                return layer.size
            return sum(entry.size for entry in self._layers.manifest(made).entries)
        assert layer.blob is not None
        if _is_converted(layer, form):
            known = self._index.blob(layer.id, f"pulled:{form_name(form)}")
            return 0 if known is not None and self._content.has(known.digest) else layer.blob.size
        return 0 if self._content.has(layer.blob.digest) else layer.blob.size

    def _made(self, layer: Layer, form: LayerForm | None = None) -> Digest | None:
        """The id of a layer that is written from its files; None for one that is what it came as.

        Images in the local store name such layers by their diff IDs, as if they had been pulled.
        A layer from an external cache is what it came as only where writing it in `form` would give
        the same, so that an image is the same wherever its layers were made.
        """
        if not layer.pulled:
            blob = layer.blob
            if blob is None or form is None or not _is_written_so(blob, form):
                return layer.id
            nearer = self._layers.has(layer.id) and not self._content.has(blob.digest)
            return layer.id if nearer else None
        made = self._index.layer_of(layer.id)
        return made if made is not None and self._layers.has(made) else None

    def _original(self, layer: Layer) -> Layer:
        """A layer of the local image store that was never here, as an external cache has it."""
        blob = layer.blob
        if not layer.pulled or blob is None or blob.digest != layer.id:
            return layer
        if self._content.has(blob.digest) or self._made(layer) is not None:
            return layer
        claimed = self._index.claimed(layer.id)
        if claimed is not None and self._layers.has(claimed.id):
            self.plain(Layer(id=claimed.id))  # remembers which diff ID it really has
            return layer
        return claimed or layer

    def _bring_files(self, layer: Layer) -> None:
        if layer.diff_id is not None and self._unpack and not self._layers.has(layer.id):
            self._unpack(layer)

    def _remembered(self, layer: Digest, name: str, make: Callable[[], KnownBlob]) -> KnownBlob:
        known = self._index.blob(layer, name)
        if known is None or not self._content.has(known.digest):
            known = make()
            self._index.add_blob(layer, name, known)
        return known

    def _bring(self, layer: Layer) -> Descriptor:
        blob = layer.blob
        assert blob is not None
        if not self._content.has(blob.digest):
            self._fetch(layer)
        if not self._content.has(blob.digest):
            raise HostError(
                f"the blob {blob.digest} of the layer {layer.id} is missing from the store",
                hint="pull or build the image that it belongs to again",
            )
        return blob

    def _write(self, made: Digest, form: LayerForm, advance: Callable[[int], None]) -> KnownBlob:
        """One pass over the files."""
        with self._content.writer() as blob:
            with compressor(form.compression, blob, level=form.level) as compressed:
                plain = HashingSink(_Watched(compressed, advance))
                self._tar(made, plain, form.clamp_ns)
            digest = blob.commit()
        if form.clamp_ns is None:
            self._put_plain(made, plain)
        return KnownBlob(digest=digest, size=blob.offset, diff_id=plain.digest())

    def _put_plain(self, made: Digest, plain: HashingSink) -> KnownBlob:
        diff_id = plain.digest()
        known = KnownBlob(digest=diff_id, size=plain.size, diff_id=diff_id)
        self._index.add_blob(made, _PLAIN, known)
        self._index.add_layer(diff_id, made)
        return known

    def _tar(self, made: Digest, out: Sink, clamp_ns: int | None) -> None:
        manifest, files = self._layers.manifest(made), self._layers.diff_dir(made)
        write_tar(manifest, files, out, clamp_ns=clamp_ns, contents=self._contents)

    def _convert(self, layer: Layer, form: LayerForm, advance: Callable[[int], None]) -> KnownBlob:
        """A pulled layer in another compression. Its plain bytes are verified on the way."""
        source = self._bring(layer)
        with (
            self._content.open(source.digest) as file,
            decompressing_reader(file, compression_of(source.media_type)) as reader,
            self._content.writer() as blob,
        ):
            with compressor(form.compression, blob, level=form.level) as compressed:
                plain = HashingSink(compressed)
                while data := reader.read(_CHUNK):
                    plain.write(data)
            advance(source.size)
            if plain.digest() != layer.id:
                raise HostError(f"the blob {source.digest} is not the layer {layer.id}")
            return KnownBlob(digest=blob.commit(), size=blob.offset, diff_id=layer.id)

    def _each(self, stack: Stack, act: Callable[[Layer], _T]) -> tuple[_T, ...]:
        """The results in order; equal layers are looked at once."""
        wanted = {layer.id: layer for layer in stack}
        if len(wanted) < 2:
            return tuple(map(act, wanted.values())) * len(stack)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(self._threads, "layer") as pool:
            futures = {key: pool.submit(act, layer) for key, layer in wanted.items()}
            try:
                found = {key: future.result() for key, future in futures.items()}
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return tuple(found[layer.id] for layer in stack)


def _unseen(amount: int) -> None:
    """Progress that nobody looks at."""


class _Watched:
    """Passes on what is written, and tells how much it was."""

    def __init__(self, out: Sink, advance: Callable[[int], None]) -> None:
        self._out = out
        self._advance = advance

    def write(self, data: bytes | memoryview, /) -> int:
        self._out.write(data)
        self._advance(len(data))
        return len(data)


def form_name(form: LayerForm) -> str:
    """The name of a form in the index: all that changes the bytes of a layer made here."""
    level = "" if form.level is None else f"-{form.level}"
    clamp = "" if form.clamp_ns is None else f"@{form.clamp_ns}"
    return f"{_TAR_FORMAT}:{form.compression.value}{level}{clamp}"


def as_it_came(blob: Descriptor, *, docker_types: bool) -> Descriptor:
    """A pulled layer with a media type of the wanted family, and without private annotations."""
    kind = compression_of(blob.media_type)
    kept = {} if docker_types else _public(blob.annotations)
    return msgspec.structs.replace(
        blob, media_type=kind.media_type(docker=docker_types), annotations=kept, platform=None
    )


def _unchanged(layer: Layer, form: LayerForm) -> LayerBlob:
    """A layer as the blob that it came as."""
    assert layer.blob is not None
    blob = as_it_came(layer.blob, docker_types=form.docker_types)
    if layer.diff_id is None:
        return LayerBlob(descriptor=blob, diff_id=layer.id)
    bare = msgspec.structs.replace(blob, annotations={})
    return LayerBlob(descriptor=bare, diff_id=layer.diff_id)


def _is_written_so(blob: Descriptor, form: LayerForm) -> bool:
    """Whether the blob of a layer that a step made elsewhere is what would be written here."""
    same = compression_of(blob.media_type) is form.compression
    return same and form.clamp_ns is None and not (form.force and form.level is not None)


def _is_converted(layer: Layer, form: LayerForm) -> bool:
    """Whether a pulled layer is compressed anew: where that is forced, and the plain tar of one
    that was imported here, which nobody else has like that.
    """
    if layer.blob is None or not layer.pulled:
        return False
    came = compression_of(layer.blob.media_type)
    imported = came is Compression.UNCOMPRESSED and not layer.origin
    return (form.force or imported) and came is not form.compression


def unique(descriptors: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """One of each digest, in order."""
    return tuple({one.digest: one for one in descriptors}.values())


def _public(annotations: dict[str, str]) -> dict[str, str]:
    private = ("containerd.io/", "buildkit/", ORIGIN)
    return {key: value for key, value in annotations.items() if not key.startswith(private)}


def _descriptor(known: KnownBlob, form: LayerForm) -> Descriptor:
    return Descriptor(
        media_type=form.compression.media_type(docker=form.docker_types),
        digest=known.digest,
        size=known.size,
    )
