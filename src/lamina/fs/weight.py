"""How much a folder holds, as far as that can be told quickly."""

from __future__ import annotations

import os
import stat
import time


def weigh(folder: str, *, patience: float) -> tuple[int, bool]:
    """The bytes of all files below a folder, and whether those are all.

    They are not where more than `patience` seconds would be needed. What is removed meanwhile, or
    cannot be read, counts nothing; a file with several names counts once.
    """
    until = time.monotonic() + patience
    total, todo, seen = 0, [folder], set[int]()
    while todo:
        if time.monotonic() > until:
            return total, False
        try:
            entries = os.scandir(todo.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    todo.append(entry.path)
                elif status.st_nlink == 1 or status.st_ino not in seen:
                    total += status.st_size
                    if status.st_nlink > 1:
                        seen.add(status.st_ino)
    return total, True
