"""Push, pull, and a build on an empty store from an external cache, over loopback."""

from __future__ import annotations

from bench.scenarios import NotYet

REASON = "Lamina does not push and has no external cache yet"

SCENARIOS = [NotYet(name="push, pull, and a build from an external cache", reason=REASON)]
