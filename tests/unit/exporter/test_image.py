from __future__ import annotations

import pytest

from lamina.errors import InternalError
from lamina.exporter.image import BuiltImage, clamped, finished_config, rfc3339
from lamina.layer.stack import Layer
from lamina.oci.config import History, ImageConfig
from lamina.oci.digest import Digest, digest_of
from lamina.oci.manifest import encode_document
from lamina.oci.platform import Platform

EARLY, LATE = "2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
EPOCH = 1_700_000_000
AT_EPOCH = "2023-11-14T22:13:20Z"


def built(
    *history: History, layers: int, base: int = 0, created: str | None = LATE
) -> tuple[BuiltImage, list[Digest]]:
    ids = [digest_of(b"%d" % number) for number in range(layers)]
    image = BuiltImage(
        platform=Platform(os="linux", architecture="amd64"),
        config=ImageConfig(architecture="amd64", os="linux", created=created, history=history),
        stack=tuple(Layer(id=one) for one in ids),
        base_history=base,
    )
    return image, ids


def test_the_diff_ids_come_in_and_everything_else_stays() -> None:
    """Nothing but rootfs changes where the configuration is whole."""
    image, ids = built(History(created=LATE, created_by="COPY a b"), layers=1)
    config = finished_config(image, ids)
    assert config.rootfs.diff_ids == tuple(ids)
    assert config.history == image.config.history
    assert config.created == LATE


def test_an_image_without_layers_still_says_so() -> None:
    """Readers expect `rootfs.diff_ids` in every configuration."""
    image, ids = built(layers=0)
    assert b'"rootfs":{"type":"layers","diff_ids":[]}' in encode_document(
        finished_config(image, ids)
    )


def test_diff_ids_must_match_the_layers() -> None:
    """A wrong number of them is a bug, not an image."""
    image, _ = built(layers=2)
    with pytest.raises(InternalError):
        finished_config(image, [])


def test_history_that_a_base_lacks_is_made_up_at_its_place() -> None:
    """As many entries that are not empty as layers, and the base's come first."""
    own = History(created=LATE, created_by="COPY a b")
    image, ids = built(own, layers=3)
    history = finished_config(image, ids).history or ()
    assert [entry.empty_layer for entry in history] == [False] * 3
    assert history[-1] == own
    assert all(entry.created == LATE for entry in history)


def test_history_of_more_layers_than_there_are_becomes_empty() -> None:
    """The last ones are called empty, as no layer is left for them."""
    image, ids = built(History(created_by="a"), History(created_by="b"), layers=1)
    history = finished_config(image, ids).history or ()
    assert [entry.empty_layer for entry in history] == [False, True]


def test_missing_times_are_those_of_the_neighbours() -> None:
    """Forward from the entry before; the first ones take the first known."""
    image, ids = built(
        History(empty_layer=True),
        History(created=EARLY, empty_layer=True),
        History(empty_layer=True),
        layers=0,
    )
    history = finished_config(image, ids).history or ()
    assert [entry.created for entry in history] == [EARLY] * 3


def test_an_epoch_clamps_what_was_added_and_not_the_base() -> None:
    """Base entries keep later times; earlier times stay as they are."""
    image, ids = built(
        History(created=LATE, created_by="base"),
        History(created=EARLY, created_by="old", empty_layer=True),
        History(created=LATE, created_by="new"),
        layers=2,
        base=1,
    )
    config = finished_config(image, ids, epoch=EPOCH)
    assert [entry.created for entry in config.history or ()] == [LATE, EARLY, AT_EPOCH]
    assert config.created == AT_EPOCH


def test_an_epoch_before_made_up_history_still_spares_the_base() -> None:
    """Entries that are made up for the base count as the base's."""
    image, ids = built(History(created=LATE, created_by="new"), layers=2)
    history = finished_config(image, ids, epoch=EPOCH).history or ()
    assert history[-1].created == AT_EPOCH
    assert history[0].created == LATE


def test_an_image_without_a_time_takes_that_of_its_history() -> None:
    """`created` is the last time that is known."""
    image, ids = built(History(created=EARLY, empty_layer=True), layers=0, created=None)
    assert finished_config(image, ids).created == EARLY


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (None, AT_EPOCH),
        ("nonsense", AT_EPOCH),
        (EARLY, EARLY),
        (AT_EPOCH, AT_EPOCH),
        ("2023-11-14T22:13:20.000000001Z", AT_EPOCH),
        ("2023-11-14T23:13:21+01:00", AT_EPOCH),
        ("2023-11-14T23:13:19+01:00", "2023-11-14T23:13:19+01:00"),
    ],
)
def test_clamping(created: str | None, expected: str) -> None:
    """The earlier of the two, to the nanosecond and across time zones."""
    assert clamped(created, EPOCH) == expected


def test_rfc3339_is_utc_with_a_z() -> None:
    """As Go writes times, which every reader takes."""
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
