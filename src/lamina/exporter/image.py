"""What a build made, and the configuration document that becomes of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from lamina.errors import InternalError
from lamina.layer.stack import Stack
from lamina.oci.config import History, ImageConfig, RootFS
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest
from lamina.oci.platform import Platform

_FRACTION = re.compile(r"\.\d*[1-9]")


class Attestation(msgspec.Struct, frozen=True, kw_only=True):
    """What is said about an image, and when (`made`, in seconds since 1970).

    `predicate` gives it as JSON. It is told the blobs of the layers whose form is known, by their
    ids, and the epoch of the output, if there is one. `filename` is its name in an output that is
    files; with `inline_only` it goes into images alone, and does not make an archive an index.
    """

    predicate_type: str
    predicate: Callable[[Mapping[Digest, Descriptor], int | None], bytes]
    made: float
    filename: str = "provenance.json"
    inline_only: bool = False


class BuiltImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image for one platform before it has a form.

    `config` is complete but for `rootfs.diff_ids`. Each entry of its history that is not empty
    stands for one layer of `stack`. `base_history` is how many of the first entries are the base
    image's: SOURCE_DATE_EPOCH leaves their times alone.
    """

    platform: Platform
    config: ImageConfig
    stack: Stack
    base_history: int = 0
    attestation: Attestation | None = None


def finished_config(
    image: BuiltImage, diff_ids: Sequence[Digest], *, epoch: int | None = None
) -> ImageConfig:
    """The configuration with its diff IDs, a whole history, and times not later than `epoch` (in
    seconds).

    As BuildKit does it: history that a base image lacks is made up, times that are missing are
    those of the neighbours, and an epoch changes the times of what this build added, never the
    base's.
    """
    if len(diff_ids) != len(image.stack):
        raise InternalError(f"{len(diff_ids)} diff IDs for {len(image.stack)} layers")
    history = _whole(image.config.history or (), layers=len(diff_ids), base=image.base_history)
    added = len(image.config.history or ()) - image.base_history
    history = _timed(history, base=len(history) - max(added, 0), epoch=epoch)
    created = image.config.created or next(
        (entry.created for entry in reversed(history) if entry.created), None
    )
    return msgspec.structs.replace(
        image.config,
        created=created if epoch is None else clamped(created, epoch),
        rootfs=RootFS(diff_ids=tuple(diff_ids)),
        history=history,
    )


def clamped(created: str | None, epoch: int) -> str:
    """The earlier of an RFC 3339 time and `epoch`; the epoch for what is no time."""
    moment = _moment(created)
    if created is None or moment is None:
        return rfc3339(epoch)
    second = moment.replace(microsecond=0).timestamp()
    # Go writes nanoseconds, which Python's times do not hold.
    if second < epoch or (second == epoch and not _FRACTION.search(created)):
        return created
    return rfc3339(epoch)


def rfc3339(epoch: int) -> str:
    """Seconds since 1970 as `2024-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_precise(moment: float) -> str:
    """Seconds since 1970 as `2024-01-31T12:00:00.123456Z`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _whole(history: tuple[History, ...], *, layers: int, base: int) -> tuple[History, ...]:
    """History in which every layer has its entry: what is missing can only be the base's."""
    missing = layers - sum(not entry.empty_layer for entry in history)
    if missing >= 0:
        unknown = History(comment="the base image has no history of this layer")
        return (*history[:base], *(unknown,) * missing, *history[base:])
    left, kept = layers, list[History]()
    for entry in history:
        if not entry.empty_layer and left == 0:
            entry = msgspec.structs.replace(entry, empty_layer=True)  # noqa: PLW2901
        left -= not entry.empty_layer
        kept.append(entry)
    return tuple(kept)


def _timed(history: tuple[History, ...], *, base: int, epoch: int | None) -> tuple[History, ...]:
    """History in which every entry has a time, if one of them has."""
    latest = next((entry.created for entry in history if entry.created), None)
    timed = []
    for number, entry in enumerate(history):
        created = latest = entry.created or latest
        if epoch is not None and number >= base:
            created = clamped(created, epoch)
        timed.append(msgspec.structs.replace(entry, created=created))
    return tuple(timed)
