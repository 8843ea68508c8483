"""The attributes of an output (`--output type=oci,KEY=VALUE,…`), checked before anything is
built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from lamina.content.compression import Compression
from lamina.errors import UsageError
from lamina.exporter.annotations import Annotation, Place, parse_attribute
from lamina.notation.boolean import parse_bool
from lamina.notation.suggest import nearest
from lamina.oci.reference import Reference, parse_reference

_IMAGE_KEYS = frozenset(
    (
        "annotation.KEY",
        "attestation-inline",
        "compression",
        "compression-level",
        "force-compression",
        "name",
        "oci-artifact",
        "oci-mediatypes",
        "rewrite-timestamp",
        "source-date-epoch",
    )
)
PLACEMENT_KEYS = frozenset(
    ("name-canonical", "push", "push-by-digest", "registry.insecure", "store", "unpack")
)
"""What `type=image` has besides."""

_ELSEWHERE = "not supported here: images are pushed with type=image,push=true"
_DANGLING = "not supported: an image in the local store has a tag; give it one with name=NAME:TAG"
_REFUSED = {
    "push": _ELSEWHERE,
    "push-by-digest": _ELSEWHERE,
    "registry.insecure": _ELSEWHERE,
    "name-canonical": "not supported here: it is for images in the local store, type=image",
    "context": "loading into a Docker context is not supported: there is no daemon",
    "dangling-name-prefix": _DANGLING,
    "danging-name-empty-only": _DANGLING,
    "prefer-nondist-layers": "not supported: foreign layers become ordinary ones",
}
_HARMLESS = frozenset(("unpack", "store"))


class LayerForm(msgspec.Struct, frozen=True, kw_only=True):
    """How layers are written. `level` None is the compression's own default.

    `force` compresses pulled layers anew; without it they stay as they came.
    `clamp_ns` is the latest time (in nanoseconds since 1970) that a file of a new layer may have.
    """

    compression: Compression = Compression.GZIP
    level: int | None = None
    force: bool = False
    docker_types: bool = False
    clamp_ns: int | None = None


class ImageOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the attributes of an image output say. `epoch` None leaves it to the build's.

    `artifact` writes attestations as OCI artifacts; `inline` makes an index also for those that
    ask for no file.
    """

    form: LayerForm = LayerForm()
    names: tuple[Reference, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    rewrite_timestamp: bool = False
    epoch: int | None = None
    has_epoch: bool = False
    artifact: bool = True
    inline: bool = False


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where `type=image` puts the image: registries (`push`), the local store, or both.

    `by_digest` gives it no tag there, `insecure` lets a registry speak HTTP or show any
    certificate, `unpack` makes its files at once.
    """

    push: bool = False
    by_digest: bool = False
    insecure: bool = False
    store: bool = True
    unpack: bool = False


def parse_placement(attributes: Mapping[str, str]) -> Placement:
    """Raises UsageError.

    `name-canonical` needs nothing: the local store finds every image as NAME@DIGEST, too.
    """
    boolean(attributes, "name-canonical", default=False)
    placement = Placement(
        push=boolean(attributes, "push", default=False),
        by_digest=boolean(attributes, "push-by-digest", default=False),
        insecure=boolean(attributes, "registry.insecure", default=False),
        store=boolean(attributes, "store", default=True),
        unpack=boolean(attributes, "unpack", default=False),
    )
    if placement.unpack and boolean(attributes, "rewrite-timestamp", default=False):
        raise UsageError('"rewrite-timestamp" conflicts with "unpack"')
    if placement.by_digest and "push" not in attributes:
        raise UsageError("push-by-digest=true without push=true", hint="add push=true, or --push")
    if placement.by_digest:
        for name in _split(attributes.get("name", "")):
            if parse_reference(name).tag:
                raise UsageError(
                    f"can't push tagged ref {name} by digest", hint="leave out the tag"
                )
    return placement


def parse_image_options(
    attributes: Mapping[str, str], *, output: str, more: Iterable[str] = ()
) -> ImageOptions:
    """The attributes that every image output has; those in `more` are left to the caller.

    Raises UsageError for an unknown one, naming the nearest.
    """
    more = frozenset(more)
    annotations = []
    for key, value in attributes.items():
        if annotation := parse_attribute(key, value):
            annotations.append(annotation)
        elif key not in more:
            check_known(key, value, known=_IMAGE_KEYS | more, output=output)
    epoch = attributes.get("source-date-epoch")
    form = _layer_form(attributes)
    if form.docker_types and any(one.place is not Place.MANIFEST for one in annotations):
        raise UsageError('cannot export annotations with "oci-mediatypes=false"')
    if form.docker_types and boolean(attributes, "oci-artifact", default=False):
        raise UsageError('"oci-artifact=true" conflicts with "oci-mediatypes=false"')
    return ImageOptions(
        form=form,
        names=parse_names(attributes.get("name", "")),
        annotations=tuple(annotations),
        rewrite_timestamp=boolean(attributes, "rewrite-timestamp", default=False),
        epoch=integer("source-date-epoch", epoch) if epoch else None,
        has_epoch=epoch is not None,
        artifact=boolean(attributes, "oci-artifact", default=True),
        inline=boolean(attributes, "attestation-inline", default=output == "image"),
    )


def check_known(key: str, value: str, *, known: frozenset[str], output: str) -> None:
    """Raises UsageError if an output has no such attribute, or one that is not supported."""
    if key in known or key in _HARMLESS:
        return
    if key in _REFUSED:
        if parse_bool(value) is False:
            return
        raise UsageError(f"{key}={value}: {_REFUSED[key]}")
    near = nearest(key, known)
    offered = ", ".join(sorted(known | {"dest"}))
    raise UsageError(
        f"the output {output} has no attribute {key!r}"
        + (f" (did you mean {near}?)" if near else ""),
        hint=f"it has {offered}",
    )


def boolean(attributes: Mapping[str, str], key: str, *, default: bool) -> bool:
    """The value of a flag; empty means true. Raises UsageError."""
    text = attributes.get(key)
    if text is None:
        return default
    value = parse_bool(text or "true")
    if value is None:
        message = f"non-bool value specified for {key}: {text!r}"
        raise UsageError(message, hint="write true or false")
    return value


def parse_names(text: str) -> tuple[Reference, ...]:
    """Image names with commas between them; what has no tag gets `latest`. Raises UserError."""
    return tuple(parse_reference(name).with_default_tag() for name in _split(text))


def _split(names: str) -> list[str]:
    return [name for each in names.split(",") if (name := each.strip())]


def _layer_form(attributes: Mapping[str, str]) -> LayerForm:
    name = attributes.get("compression", "gzip")
    known = [kind.value for kind in Compression]
    if name not in known:
        reason = " (eStargz is not supported)" if name == "estargz" else ""
        near = nearest(name, known)
        raise UsageError(
            f"unsupported compression {name!r}" + (f" (did you mean {near}?)" if near else reason),
            hint=f"there are {', '.join(known)}",
        )
    docker_types = not boolean(attributes, "oci-mediatypes", default=True)
    if docker_types and name == Compression.ZSTD.value:
        raise UsageError(f'compression={name} conflicts with "oci-mediatypes=false"')
    level = attributes.get("compression-level")
    return LayerForm(
        compression=Compression(name),
        level=integer("compression-level", level) if level is not None else None,
        force=boolean(attributes, "force-compression", default=False),
        docker_types=docker_types,
    )


def integer(key: str, text: str) -> int:
    """The value of a number. Raises UsageError."""
    try:
        return int(text, 10)
    except ValueError:
        raise UsageError(f"non-integer value specified for {key}: {text!r}") from None
