"""What can be wrong with an external cache. The names are stable."""

from __future__ import annotations

from lamina.errors import RemoteError, UsageError


class UnreadableCache(RemoteError):
    """A document that is damaged, too large, or of a version that this Lamina does not know."""


class NotACache(RemoteError):
    """Something else has the name: an ordinary image, another tool's cache."""


class ExportTimedOut(RemoteError):
    """The time that `timeout=` gave an export is over."""


class NoCacheService(UsageError):
    """A cache that only jobs of a CI service have, and no address of one was given."""
