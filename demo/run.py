"""`make demo`: three stories of the build cache, with real builds in a store of their own.

python -m demo.run [order] [bind] [apt]        # all three by default
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from demo.builds import Builder, StoryFailed, default_command
from demo.reports import leave
from demo.stories import keep_downloads, order_your_layers, use_bind_mounts

STORIES = {
    "order": ("Order your layers", order_your_layers),
    "bind": ("Use bind mounts", use_bind_mounts),
    "apt": ("Use cache mounts", keep_downloads),
}


def main(names: list[str]) -> int:
    """Tell the stories; exit code 1 if the cache did not do its part in one of them."""
    if unknown := set(names) - set(STORIES):
        print(f"no story {', '.join(unknown)}; there are: {', '.join(STORIES)}", file=sys.stderr)
        return 2
    started = time.monotonic()
    failed, reports = [], list[Path]()
    scratch = Path(tempfile.mkdtemp(prefix="lamina-demo-", dir="/var/tmp"))
    try:
        for number, name in enumerate(names or STORIES, 1):
            title, story = STORIES[name]
            print(f"\n{number}. {title}: {story.__doc__}\n", flush=True)
            work = scratch / name
            work.mkdir()
            try:
                builder = Builder(command=default_command(), store=scratch / "store")
                story(builder, work)
                reports.append(leave(builder, name))
            except StoryFailed as error:
                failed.append(title)
                print(f"\n  FAILED: {error}", flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if failed:
        print(f"\nThe demo FAILED: {', '.join(failed)}")
        return 1
    print(f"\nAll stories hold ({time.monotonic() - started:.0f}s). Their builds, to look into:")
    for report in reports:
        print(f"  {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
