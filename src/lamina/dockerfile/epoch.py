"""SOURCE_DATE_EPOCH: the time that everything a build makes is dated with
(reproducible-builds.org).
"""

from __future__ import annotations

import datetime

from lamina.errors import UserError


def parse_epoch(text: str | None) -> int | None:
    """Seconds since 1970. `context` is a directory here, which has no time of its own: None.

    Raises UserError.
    """
    if not text or text == "context":
        return None
    try:
        return int(text)
    except ValueError:
        raise UserError(
            f"invalid SOURCE_DATE_EPOCH: {text}", hint="give the seconds since 1970-01-01 UTC"
        ) from None


def timestamp(epoch: int) -> str:
    """The RFC 3339 form that image documents use."""
    moment = datetime.datetime.fromtimestamp(epoch, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
