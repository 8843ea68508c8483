"""What the demo leaves behind: a report of each story, and why the steps of its build ran."""

from __future__ import annotations

from pathlib import Path

from demo.builds import Builder

PLACE = Path(__file__).resolve().parent.parent / "build" / "demo"
TELLING = {"order": "^1", "bind": "latest", "apt": "latest"}  # the build that says the most


def leave(builder: Builder, name: str) -> Path:
    """Write the report of a story, and print what `lamina explain` says of the same build."""
    PLACE.mkdir(parents=True, exist_ok=True)
    page, build = PLACE / f"{name}.html", TELLING[name]
    builder.must("report", build, "-o", page)
    explained = builder.must("explain", build)
    (PLACE / f"{name}.txt").write_text(explained)
    print("\n  lamina explain says of it:\n")
    for line in explained.splitlines():
        print(f"    {line}".rstrip(), flush=True)
    return page
