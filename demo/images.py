"""The base images of the stories: from a registry where one answers, else made on this machine."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from demo.builds import Builder, StoryFailed
from tools.bases import Impossible, busybox_rootfs, debian_rootfs, kept_files, os_release

PATIENCE = 15.0  # seconds for a registry to answer


def provide(builder: Builder, image: str) -> None:
    """See to it that FROM IMAGE works, and say where the image comes from."""
    if pullable(builder, image):
        print(f"  {image}: from its registry", flush=True)
        return
    make, what = MADE_HERE[image]
    print(f"  {image}: no registry in reach, so it is {what}", flush=True)
    try:
        builder.must("import", make(), image)
    except Impossible as error:
        raise StoryFailed(f"{image} can be had from nowhere: {error}") from error


def pullable(builder: Builder, image: str) -> bool:
    """Whether a build that needs no more than the image's configuration gets it in time."""
    with tempfile.TemporaryDirectory() as context:
        (Path(context) / "Dockerfile").write_text(f"FROM {image}\nLABEL asked=yes\n")
        try:
            code, _ = builder.run("build", "--output=type=cacheonly", context, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return False
    return code == 0


def busybox() -> Path:
    made = kept_files() / "busybox.tar"
    made.write_bytes(busybox_rootfs())
    return made


def node() -> Path:
    return debian_rootfs("nodejs", "npm")


def system() -> str:
    return os_release().get("PRETTY_NAME", "this system")


MADE_HERE: dict[str, tuple[Callable[[], Path], str]] = {
    "alpine:latest": (busybox, "made of this machine's static busybox"),
    "node:latest": (node, f"made with mmdebstrap: {system()} with nodejs and npm"),
    "debian:bookworm-slim": (debian_rootfs, f"made with mmdebstrap: {system()}, minimal"),
}
