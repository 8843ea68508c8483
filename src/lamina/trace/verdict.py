"""Why a step was or was not run: made where the decision is made, recorded as it is."""

from __future__ import annotations

from typing import assert_never

import msgspec

from lamina.cachekey.difference import Change, FileGroup, group_files


class Hit(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """The record with this key was used. `source` is the external cache it came from, if any."""

    record: str
    source: str = ""


class NeverBuilt(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """No earlier run of this step is known. `asked` are the external caches that do not know it
    either.
    """

    asked: tuple[str, ...] = ()


class KeyChanged(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """The nearest earlier run had other inputs: these.

    `source` is the external cache that knows of that run, if it was not here; `asked` are the
    external caches that have no record with the new key. Of very many changes `left_out` are not
    listed; then `groups` tell all changes of files, those listed too.
    """

    changes: tuple[Change, ...]
    record: str = ""
    source: str = ""
    asked: tuple[str, ...] = ()
    left_out: int = 0
    groups: tuple[FileGroup, ...] = ()

    def files(self) -> tuple[FileGroup, ...]:
        """All changes of files, by what happened to them."""
        return self.groups or group_files(self.changes)


class ResultGone(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """There is a record, but its layers are needed, and one of them cannot be had any more.

    `source` is the external cache that should have it; without one it was removed here.
    """

    record: str
    source: str = ""


class Forced(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The user asked for it to run (`flag`)."""

    flag: str


class Uncacheable(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The step has no key: it is always looked at anew."""

    why: str


_SHOWN = 3
_LISTED = 1000  # changes of one key: a listing may have a hundred thousand


def key_changed(
    changes: tuple[Change, ...],
    *,
    record: str,
    source: str = "",
    asked: tuple[str, ...] = (),
) -> KeyChanged:
    """The verdict, of bounded size whatever has changed."""
    left_out = max(len(changes) - _LISTED, 0)
    listed = changes
    if left_out:  # what was written anew says more than another mode
        listed = tuple(sorted(changes, key=lambda c: c.part.startswith(("mode:", "owner:"))))
    return KeyChanged(
        changes=listed[:_LISTED],
        record=record,
        source=source,
        asked=asked,
        left_out=left_out,
        groups=group_files(changes) if left_out else (),
    )


Verdict = Hit | NeverBuilt | KeyChanged | ResultGone | Forced | Uncacheable


def sentence(verdict: Verdict) -> str:
    """The verdict in a few words, as `why:` lines show it."""
    match verdict:
        case Hit(source=source):
            return f"cached, from {source}" if source else "cached"
        case NeverBuilt(asked=asked):
            return " and ".join(["never built here", *(f"not in {each}" for each in asked)])
        case KeyChanged():
            shown, more = _told(verdict)
            return ", ".join(shown) + (f" and {more} more" if more else "")
        case ResultGone(source=source):
            if source:
                return f"its result cannot be had from {source}"
            return "its earlier result was removed from the store"
        case Forced(flag=flag):
            return f"{flag} demands it"
        case Uncacheable(why=why):
            return why
        case _:
            assert_never(verdict)


def _told(verdict: KeyChanged) -> tuple[list[str], int]:
    """The first changes in words, and how many more there are. Many modes that changed alike are
    one.
    """
    alike = [g for g in verdict.files() if g.kind in ("mode", "owner") and g.count > _SHOWN]
    known = {(group.kind, group.before, group.after) for group in alike}
    single = [
        change
        for change in verdict.changes
        if (change.part.partition(":")[0], change.before, change.after) not in known
    ]
    texts = [_change(change) for change in single[:_SHOWN]]
    texts += [f"{g.kind} {g.before} → {g.after} on {g.count} files" for g in alike]
    total = len(verdict.changes) + verdict.left_out
    units = total - sum(group.count for group in alike) + len(alike)
    return texts[:_SHOWN], units - len(texts[:_SHOWN])


def _change(change: Change) -> str:
    kind, _, name = change.part.partition(":")
    before, after = change.before, change.after
    match kind:
        case "file":
            return f"file {name} {_happened(before, after)}"
        case "files":
            return f"the files of {_source(name)} changed"
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


def _source(name: str) -> str:
    """What is copied: `INPUT:PATH`, or the place where it is mounted."""
    number, _, path = name.partition(":")
    return path if number.isdigit() else name


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
