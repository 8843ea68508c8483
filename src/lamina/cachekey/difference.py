"""The difference between two keys, part by part and file by file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from lamina.cachekey.key import ListedFile, Part


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named part of a key that differs; `before` or `after` is None where it is new or gone.

    `part` is the part's name (`env:PATH`, `base`), or `file:`, `mode:`, `owner:` and a path.
    """

    part: str
    before: str | None = None
    after: str | None = None


def compare_parts(before: Iterable[Part], after: Iterable[Part]) -> tuple[Change, ...]:
    """The parts that differ, those of `after` first and in its order."""
    old = {part.name: part.value for part in before}
    new = {part.name: part.value for part in after}
    changes = [
        Change(part=name, before=old.get(name), after=value)
        for name, value in new.items()
        if old.get(name) != value
    ]
    changes += [Change(part=name, before=old[name]) for name in old if name not in new]
    return tuple(changes)


def compare_listings(
    before: Iterable[ListedFile], after: Iterable[ListedFile]
) -> tuple[Change, ...]:
    """The files that differ, sorted by path."""
    old = {file.path: file for file in before}
    new = {file.path: file for file in after}
    return tuple(
        change
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
        for change in _compare_file(path, old, new)
    )


def _compare_file(
    path: bytes, old: Mapping[bytes, ListedFile], new: Mapping[bytes, ListedFile]
) -> Iterator[Change]:
    name = path.decode("utf-8", "backslashreplace") or "."
    if path not in old:
        yield Change(part=f"file:{name}", after=new[path].content.hex())
        return
    if path not in new:
        yield Change(part=f"file:{name}", before=old[path].content.hex())
        return
    one, two = old[path], new[path]
    if one.content != two.content:
        yield Change(part=f"file:{name}", before=one.content.hex(), after=two.content.hex())
    if one.mode != two.mode:
        yield Change(part=f"mode:{name}", before=f"{one.mode:04o}", after=f"{two.mode:04o}")
    if (one.uid, one.gid) != (two.uid, two.gid):
        before, after = f"{one.uid}:{one.gid}", f"{two.uid}:{two.gid}"
        yield Change(part=f"owner:{name}", before=before, after=after)
