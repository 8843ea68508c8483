"""What the store takes, and what goes from it, as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from lamina.cache.eviction import Going, Item, Kind, Why
from lamina.ui.printable import encode
from lamina.ui.quantities import render_age, render_bytes
from lamina.ui.table import render_table

_ID = 12
_WIDEST = 60  # letters of a step's name in a table
_NAMES = {Kind.STEP: "layer", Kind.BASE: "image layer", Kind.BLOB: "blob", Kind.MOUNT: "mount"}
_DAY = 86400.0


class _Kind(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def reclaimable(self) -> int: ...
    @property
    def shared(self) -> int: ...


class _Piece(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def used(self) -> float: ...
    @property
    def seconds(self) -> float: ...
    @property
    def what(self) -> str: ...
    @property
    def users(self) -> int: ...
    @property
    def needed(self) -> str: ...
    @property
    def useless(self) -> bool: ...


def render_use(
    kinds: Iterable[_Kind],
    pieces: Sequence[_Piece],
    *,
    root: str,
    total: int,
    max_size: int | None,
    now: float,
) -> bytes:
    """A table of kinds with their sum; with `pieces`, a second one of these."""
    rows = [
        (
            each.kind,
            str(each.count) if each.count else "",
            render_bytes(each.size),
            render_bytes(each.reclaimable) if each.reclaimable else "",
            render_bytes(each.shared) if each.shared else "",
        )
        for each in kinds
    ]
    rows.append(("total", "", render_bytes(total), "", ""))
    text = render_table(("kind", "count", "size", "reclaimable", "shared"), rows)
    limit = f", max-size is {render_bytes(max_size)}" if max_size is not None else ""
    text += f"{total} bytes in {root}{limit}\n"
    if pieces:
        header = ("id", "kind", "size", "used", "again in", "users", "needed by", "what")
        text += "\n" + render_table(header, [_piece(piece, now) for piece in pieces])
    return encode(text)


def _piece(piece: _Piece, now: float) -> tuple[str, ...]:
    needed = piece.needed or ("(nobody)" if piece.useless else "")
    return (
        short(piece.name),
        piece.kind,
        render_bytes(piece.size),
        render_age(now - piece.used),
        _seconds(piece.seconds),
        str(piece.users) if piece.users else "",
        needed,
        cut(piece.what),
    )


class _Limits(Protocol):
    @property
    def max_size(self) -> int | None: ...
    @property
    def keep_seconds(self) -> float | None: ...


class _Tidied(Protocol):
    @property
    def rows(self) -> int: ...
    @property
    def files(self) -> int: ...
    @property
    def freed(self) -> int: ...


class _Pruned(Protocol):
    @property
    def dry_run(self) -> bool: ...
    @property
    def now(self) -> float: ...
    @property
    def total(self) -> int: ...
    @property
    def limits(self) -> _Limits: ...
    @property
    def going(self) -> tuple[Going, ...]: ...
    @property
    def lacking(self) -> int: ...
    @property
    def untagged(self) -> tuple[str, ...]: ...
    @property
    def tidied(self) -> _Tidied: ...
    @property
    def freed(self) -> int: ...


def render_pruned(pruned: _Pruned) -> bytes:
    """A table of what goes and why, then the sum."""
    text = ""
    if pruned.going:
        rows = [
            (
                short(each.item.name) if each.item.kind is not Kind.MOUNT else "",
                _NAMES[each.item.kind],
                render_bytes(each.item.size),
                cut(each.item.what),
                _why(each, pruned),
            )
            for each in pruned.going
        ]
        text += render_table(("id", "kind", "size", "what", "why"), rows)
    verb = "would go" if pruned.dry_run else "removed"
    text += "".join(f"image {name}: {verb}, its layers are gone\n" for name in pruned.untagged)
    if pruned.tidied.rows:
        text += f"{pruned.tidied.rows} rows of the index that nothing refers to: {verb}\n"
    if pruned.tidied.files:
        text += f"{pruned.tidied.files} files that nobody has used for long: {verb}\n"
    free = "would free" if pruned.dry_run else "freed"
    text += f"{free} {render_bytes(pruned.freed)} of {render_bytes(pruned.total)}\n"
    if pruned.lacking:
        text += (
            f"{render_bytes(pruned.lacking)} are still too much: what is left is in use, "
            "or belongs to images (--all takes these, too)\n"
        )
    elif pruned.limits.max_size is None and pruned.limits.keep_seconds is None:
        text += _unlimited(pruned)
    return encode(text)


def _unlimited(pruned: _Pruned) -> str:
    if any(each.why is Why.ALL for each in pruned.going):
        return ""
    return "only what nothing refers to: --max-size 20GB or --keep-days 14 takes more, --all all\n"


def _why(going: Going, pruned: _Pruned) -> str:
    item = going.item
    unused = render_age(pruned.now - item.used)
    match going.why:
        case Why.USELESS:
            return "nothing refers to it"
        case Why.AGED:
            days = (pruned.limits.keep_seconds or 0.0) / _DAY
            return f"used {unused}, and not in the last {days:g} days"
        case Why.ROOM | Why.ALL:
            newer = ", a newer result of the step is there" if item.replaced else ""
            return f"used {unused}, had again in {_seconds(item.seconds)}{newer}"


def pruned_json(pruned: _Pruned) -> bytes:
    """One object."""
    limits = pruned.limits
    document = {
        "dry_run": pruned.dry_run,
        "total": pruned.total,
        "freed": pruned.freed,
        "lacking": pruned.lacking,
        "max_size": limits.max_size,
        "keep_days": None if limits.keep_seconds is None else limits.keep_seconds / _DAY,
        "going": [_going_json(each.item, each.why) for each in pruned.going],
        "untagged": pruned.untagged,
        "rows": pruned.tidied.rows,
        "files": pruned.tidied.files,
    }
    return msgspec.json.encode(document) + b"\n"


def _going_json(item: Item, why: Why) -> dict[str, object]:
    return {
        "id": item.name,
        "kind": item.kind.value,
        "size": item.size,
        "used": item.used,
        "seconds": item.seconds,
        "what": item.what,
        "why": why.value,
    }


def short(name: str) -> str:
    """A digest as people write it."""
    return name.rpartition(":")[2][:_ID]


def cut(text: str) -> str:
    """The beginning of a long text."""
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f}s" if seconds < 10 else f"{seconds:.0f}s"
