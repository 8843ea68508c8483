"""The three stories. Each prints what was cached, what ran and what it cost, and checks it."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from demo.builds import Build, Builder, StoryFailed
from demo.images import provide
from tools.registries import npm_secrets

HERE = Path(__file__).parent
DOWNLOAD = re.compile(r"^Get:\d+ \S+ \S+/\S+ \S+ (?P<package>\S+) \S+ \S+ \[", re.MULTILINE)
SIZE = re.compile(r"^Need to get (.*) of archives", re.MULTILINE)
SEVENTH = "libyaml-dev"


def order_your_layers(builder: Builder, work: Path) -> None:
    """One source file changes: the bad order installs everything again, the good order nothing."""
    provide(builder, "node:latest")
    app = work / "app"
    shutil.copytree(HERE / "order" / "app", app)
    options = npm_secrets(work)
    for order in ("bad", "good"):
        print(f"\n  {order} order, first build:")
        builder.build(HERE / "order" / f"{order}.Dockerfile", app, *options)
    page = app / "pages" / "index.md"
    page.write_text(f"{page.read_text()}\nLast seen {time.time_ns()}.\n")
    print("\n  one page has changed.\n\n  bad order, second build:")
    bad = builder.build(HERE / "order" / "bad.Dockerfile", app, *options)
    print("\n  good order, second build:")
    good = builder.build(HERE / "order" / "good.Dockerfile", app, *options)
    expect(not bad.step("npm install").cached, "in the bad order, npm install should run again")
    expect(good.step("npm install").cached, "in the good order, npm install should be cached")
    expect(not good.step("npm run build").cached, "the changed page should be built")
    print(f"\n  {bad.seconds:.1f}s in the bad order, {good.seconds:.1f}s in the good one.")


def use_bind_mounts(builder: Builder, work: Path) -> None:
    """What is mounted is seen by that step alone, and what it hid comes back."""
    provide(builder, "alpine:latest")
    context = work / "bind"
    shutil.copytree(HERE / "bind", context)
    print()
    first = builder.build(context / "Dockerfile", context)
    mounted, after = first.steps[-2].output.split(), first.steps[-1].output.split()
    print(f"\n  under the mount, ls prints {mounted}; the next ls prints {after}.")
    expect(mounted == ["Dockerfile"], "ls under the mount should print Dockerfile")
    expect(after == ["foo.txt"], "the next ls should print foo.txt")
    (context / "new.txt").write_text("new\n")
    print("\n  a file has been added to the context:")
    second = builder.build(context / "Dockerfile", context)
    expect(second.step("touch foo.txt").cached, "what stands above the mount should be cached")
    expect(not second.step("--mount").cached, "the step with the mount should run again")


def keep_downloads(builder: Builder, work: Path) -> None:
    """A seventh package: with cache mounts only it and what it depends on is downloaded."""
    provide(builder, "debian:bookworm-slim")
    fetched: dict[tuple[str, int], list[str]] = {}
    for kind in ("without", "with"):
        for packages in (6, 7):
            dockerfile = apt_dockerfile(work, kind, packages)
            print(f"\n  {kind} cache mounts, {packages} packages:")
            build = builder.build(dockerfile, work)
            fetched[kind, packages] = downloads(build)
    new = set(fetched["without", 7]) - set(fetched["without", 6])
    print(f"\n  {SEVENTH} brings {len(new)} new packages: {', '.join(sorted(new))}.")
    print(f"  without cache mounts, {len(fetched['without', 7])} packages were downloaded for it;")
    print(f"  with cache mounts, {len(fetched['with', 7])}: {', '.join(fetched['with', 7])}.")
    expect(len(fetched["with", 6]) > len(new), "the first build should have downloaded everything")
    expect(SEVENTH in new, f"{SEVENTH} should not be among the first six")
    expect(set(fetched["with", 7]) == new, "exactly the new packages should be downloaded")


def expect(true: bool, otherwise: str) -> None:
    if not true:
        raise StoryFailed(f"the cache did not do its part: {otherwise}")


def apt_dockerfile(work: Path, kind: str, packages: int) -> Path:
    """The story's Dockerfile, with the seventh package after the sixth if it is to have seven."""
    text = (HERE / "apt" / f"{kind}.Dockerfile").read_text()
    if packages == 7:
        text = text.replace("    ca-certificates", f"    ca-certificates \\\n    {SEVENTH}")
    written = work / f"{kind}-{packages}.Dockerfile"
    written.write_text(text)
    return written


def downloads(build: Build) -> list[str]:
    """The packages that apt fetched, as apt itself tells; printed with their size."""
    said = build.step("apt-get install").output
    found = [match["package"] for match in DOWNLOAD.finditer(said)]
    size = SIZE.search(said)
    print(f"    apt: {len(found)} .deb downloaded, {size[1] if size else 'nothing'} to get")
    return found
