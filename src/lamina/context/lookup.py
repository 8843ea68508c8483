"""Finding a path in a tree that can be listed, symlinks resolved as in a chroot."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from lamina.errors import UserError
from lamina.layer.entry import Entry, Kind

_MOST_LINKS = 255


def look_up(
    top: Entry, path: bytes, inside: Callable[[bytes], Mapping[bytes, Entry]], *, follow: bool
) -> Entry | None:
    """What stands at `path` below `top`, its `path` being the real one; None where nothing does.

    `inside` gives what a directory holds, by name. Symlinks on the way are followed, the last one
    only with `follow`. Raises UserError for a circle of them, and what `inside` raises.
    """
    todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
    trail = [top]
    links = 0
    while todo:
        part = todo.pop()
        if part == b"..":
            if len(trail) > 1:
                trail.pop()
            continue
        if trail[-1].kind is not Kind.DIRECTORY:
            return None
        entry = inside(trail[-1].path).get(part)
        if entry is None:
            return None
        if entry.kind is not Kind.SYMLINK or (not todo and not follow):
            trail.append(entry)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise UserError(f"too many levels of symbolic links: /{os.fsdecode(path)}")
        if entry.link.startswith(b"/"):
            del trail[1:]
        todo += [part for part in reversed(entry.link.split(b"/")) if part not in (b"", b".")]
    return trail[-1]
