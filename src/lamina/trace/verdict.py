"""Why a step was or was not run: made where the decision is made, recorded as it is."""

from __future__ import annotations

from typing import assert_never

import msgspec

from lamina.cachekey.difference import Change


class Hit(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The record with this key was used."""

    record: str


class NeverBuilt(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """No earlier run of this step is known."""


class KeyChanged(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The nearest earlier run had other inputs: these."""

    changes: tuple[Change, ...]
    record: str = ""


class ResultGone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """There is a record, but a layer of its result was removed."""

    record: str


class Forced(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The user asked for it to run (`flag`)."""

    flag: str


class Uncacheable(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The step has no key: it is always looked at anew."""

    why: str


Verdict = Hit | NeverBuilt | KeyChanged | ResultGone | Forced | Uncacheable


def sentence(verdict: Verdict) -> str:
    """The verdict in a few words, as `why:` lines show it."""
    match verdict:
        case Hit():
            return "cached"
        case NeverBuilt():
            return "never built here"
        case KeyChanged(changes=changes):
            shown = [_change(change) for change in changes[:3]]
            more = len(changes) - len(shown)
            return ", ".join(shown) + (f" and {more} more" if more else "")
        case ResultGone():
            return "its earlier result was removed from the store"
        case Forced(flag=flag):
            return f"{flag} demands it"
        case Uncacheable(why=why):
            return why
        case _:
            assert_never(verdict)


def _change(change: Change) -> str:
    kind, _, name = change.part.partition(":")
    before, after = change.before, change.after
    match kind:
        case "file":
            return f"file {name} {_happened(before, after)}"
        case "mode":
            return f"mode of {name} {before} → {after}"
        case "owner":
            return f"owner of {name} {before} → {after}"
        case "argument":
            return f"build argument {name} {_from_to(before, after)}"
        case "env":
            return f"variable {name} {_from_to(before, after)}"
        case "base":
            return "base image moved"
        case "parent":
            return f"{name or 'the step above'} gave another result"
        case "mount":
            return f"mount {name} {_happened(before, after)}"
        case "input":
            return f"{name} changed"
        case "instruction":
            return "the instruction changed"
        case _:
            return f"{change.part} {_happened(before, after)}"


def _happened(before: str | None, after: str | None) -> str:
    if before is None:
        return "added"
    return "removed" if after is None else "changed"


def _from_to(before: str | None, after: str | None) -> str:
    quotes = '""'
    if before is None:
        return f"added ({after})"
    if after is None:
        return f"{before} removed"
    return f"{before or quotes} → {after or quotes}"
