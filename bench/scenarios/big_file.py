"""One GiB is copied and exported as a gzip-compressed OCI archive: hashing and compression."""

from __future__ import annotations

import random
from pathlib import Path

from bench.scenarios import Scenario

MIB = 1 << 20


def prepare(context: Path, /) -> None:
    """Half of the file is noise and half is text, so that it can be compressed to about half."""
    (context / "Dockerfile").write_text("FROM scratch\nCOPY big /big\n")
    noise = random.Random(1)
    with (context / "big").open("wb") as stream:
        for number in range(512):
            stream.write(noise.randbytes(MIB))
            stream.write((b"%d lines of text\n" % number).ljust(64, b".") * (MIB // 64))


SCENARIOS = [
    Scenario(name="1 GiB exported as gzip", prepare=prepare, cold=True, export=True),
]
