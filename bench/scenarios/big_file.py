"""One GiB is copied and exported: reading, hashing, writing, compression."""

from __future__ import annotations

import random
from pathlib import Path

from bench.builders import Output
from bench.scenarios import MIB, ONE_OF_THEM, Scenario

TARGETS = {
    Output.STORE: (0.7, 2),
    Output.GZIP: (0.25, 1),
    Output.ZSTD: (0.5, 1),
    Output.PLAIN: (None, 1),
    Output.FOLDER: (None, 1),
}


def write_big(path: Path) -> None:
    """Half of the file is noise and half is text, so that it can be compressed to about half."""
    noise = random.Random(1)
    with path.open("wb") as stream:
        for number in range(512):
            stream.write(noise.randbytes(MIB))
            stream.write((b"%d lines of text\n" % number).ljust(64, b".") * (MIB // 64))


def prepare(context: Path, /) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY big /big\n")
    write_big(context / "big")


SCENARIOS = [
    Scenario(
        name=f"1 GiB file, cold, to {output.value}",
        prepare=prepare,
        cold=True,
        output=output,
        target=target,
        memory=0.8 if output is Output.STORE else None,
        rounds=rounds,
        without=ONE_OF_THEM,
    )
    for output, (target, rounds) in TARGETS.items()
]
