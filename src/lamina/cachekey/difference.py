"""The difference between two keys, part by part and file by file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from lamina.cachekey.disclosure import disclosed
from lamina.cachekey.key import ListedFile, Part


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named part of a key that differs; `before` or `after` is None where it is new or gone.

    `part` is the part's name (`env:PATH`, `base`), or `file:`, `mode:`, `owner:` and a path of the
    part `within`, which is a listing.
    """

    part: str
    before: str | None = None
    after: str | None = None
    within: str = ""


FileKind = Literal["added", "removed", "changed", "mode", "owner"]
_KINDS: tuple[FileKind, ...] = ("changed", "added", "removed", "mode", "owner")
_NAMED = 20  # paths that a group keeps: more than anybody reads


class FileGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Files that changed alike. `before` and `after` are modes (`0644`) or owners (`0:0`), and ""
    for the other kinds. `paths` are the first of the `count` paths; `within` as for a change.
    """

    kind: FileKind
    within: str = ""
    before: str = ""
    after: str = ""
    count: int
    paths: tuple[str, ...]


def group_files(changes: Iterable[Change]) -> tuple[FileGroup, ...]:
    """The changes of files (others are passed over) by what happened to them."""
    groups: dict[tuple[str, FileKind, str, str], list[str]] = {}
    for change in changes:
        kind, _, path = change.part.partition(":")
        match kind:
            case "file":
                what: FileKind = "changed"
                if change.before is None or change.after is None:
                    what = "added" if change.before is None else "removed"
                groups.setdefault((change.within, what, "", ""), []).append(path)
            case "mode" | "owner":
                what = "mode" if kind == "mode" else "owner"
                key = (change.within, what, change.before or "", change.after or "")
                groups.setdefault(key, []).append(path)
            case _:
                continue
    return tuple(
        FileGroup(
            kind=kind,
            within=within,
            before=before,
            after=after,
            count=len(paths),
            paths=tuple(paths[:_NAMED]),
        )
        for (within, kind, before, after), paths in sorted(
            groups.items(), key=lambda item: (_KINDS.index(item[0][1]), -len(item[1]))
        )
    )


def compare_parts(before: Iterable[Part], after: Iterable[Part]) -> tuple[Change, ...]:
    """The parts that differ, those of `after` first and in its order. `before` may be as it was
    told to others.
    """
    old = {part.name: part.value for part in before}
    new = {part.name: part.value for part in after}
    changes = [
        Change(part=name, before=old.get(name), after=value)
        for name, value in new.items()
        if old.get(name) not in (value, disclosed(Part(name, value)).value)
    ]
    changes += [Change(part=name, before=old[name]) for name in old if name not in new]
    return tuple(changes)


def compare_listings(
    before: Iterable[ListedFile], after: Iterable[ListedFile], *, within: str = ""
) -> tuple[Change, ...]:
    """The files that differ, sorted by path. `within` is the part that the listings are of."""
    old = {file.path: file for file in before}
    new = {file.path: file for file in after}
    return tuple(
        change
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
        for change in _compare_file(path, old, new, within)
    )


def _compare_file(
    path: bytes,
    old: Mapping[bytes, ListedFile],
    new: Mapping[bytes, ListedFile],
    within: str,
) -> Iterator[Change]:
    name = path.decode("utf-8", "backslashreplace") or "."
    one, two = old.get(path), new.get(path)
    content = (one.content.hex() if one else None, two.content.hex() if two else None)
    if content[0] != content[1]:
        yield Change(part=f"file:{name}", before=content[0], after=content[1], within=within)
    if one is None or two is None:
        return
    if one.mode != two.mode:
        modes = f"{one.mode:04o}", f"{two.mode:04o}"
        yield Change(part=f"mode:{name}", before=modes[0], after=modes[1], within=within)
    if (one.uid, one.gid) != (two.uid, two.gid):
        owners = f"{one.uid}:{one.gid}", f"{two.uid}:{two.gid}"
        yield Change(part=f"owner:{name}", before=owners[0], after=owners[1], within=within)
