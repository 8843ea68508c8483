"""How Lamina's time grows with the size of what it is given: an exponent fitted to the times.

One is linear. Seconds of start-up that do not depend on the size flatten a curve, so the exponent
between the two largest sizes is given, too.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.builders import Base, Builder, Job
from bench.measure import measure
from bench.scenarios import Prepare, cached, write_files
from lamina.cache.index import Index
from lamina.cachekey.key import CacheKey, Part

FILES = (1_000, 10_000, 100_000)
LAYERS = (1, 10, 100)
RECORDS = (1_000, 10_000, 100_000)
LOOKUPS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Seconds by size, and the exponent that is promised."""

    name: str
    target: float
    seconds: dict[int, float] = field(default_factory=dict)

    @property
    def exponent(self) -> float:
        return slope(list(self.seconds.items()))

    @property
    def last_exponent(self) -> float:
        return slope(list(self.seconds.items())[-2:])


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The exponent e of the power law size^e that fits best (least squares of the logarithms)."""
    x, y = ([math.log(point[axis]) for point in points] for axis in (0, 1))
    return statistics.linear_regression(x, y).slope


def prepare_files(context: Path, /, *, files: int) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nCOPY files /files\n")
    write_files(context / "files", files, content=lambda number: f"{number}\n" * 100)


def prepare_layers(context: Path, /, *, layers: int) -> None:
    steps = "".join(f"RUN echo {number} >/made{number}\n" for number in range(layers))
    (context / "Dockerfile").write_text(f"FROM busybox\n{steps}")


# name, exponent promised, sizes, how a context is made, whether the build is a first one
BUILDS: tuple[tuple[str, float, tuple[int, ...], Callable[..., None], str, bool], ...] = (
    ("files, everything cached", 1.05, FILES, cached.prepare, "files", False),
    ("files, cold", 1.05, FILES, prepare_files, "files", True),
    ("layers, everything cached", 1.05, LAYERS, prepare_layers, "layers", False),
    ("layers, cold", 1.05, LAYERS, prepare_layers, "layers", True),
)


def curves(builder: Builder, base: Base, disk: Path, rounds: int) -> list[Curve]:
    """All curves of one builder; the lookup's is that of Lamina's own index."""
    found = []
    for name, target, sizes, prepare, parameter, cold in BUILDS:
        curve = Curve(name=name, target=target)
        for size in sizes:
            context = partial(prepare, **{parameter: size})
            curve.seconds[size] = build_time(builder, base, disk, context, cold, rounds)
        found.append(curve)
    return [*found, lookups(disk)]


def build_time(
    builder: Builder, base: Base, disk: Path, prepare: Prepare, cold: bool, rounds: int
) -> float:
    context = disk / "context"
    context.mkdir()
    prepare(context)
    job = Job(context=context, dest=disk / "out", bases=(base,))
    times = []
    try:
        builder.fresh((base,))
        if not cold:
            measure([builder.command(job)], builder.env())
        for number in range(rounds):
            if cold and number:
                builder.fresh((base,))
            times.append(measure([builder.command(job)], builder.env()).seconds)
    finally:
        builder.close()
        shutil.rmtree(context)
    return statistics.median(times)


def lookups(disk: Path) -> Curve:
    """Seconds of one lookup, key known, in an index that was just opened: the median of many."""

    curve = Curve(name="records in the index, one lookup", target=0.1)
    index = Index(str(disk / "index.sqlite"))
    keys: list[CacheKey] = []
    for size in RECORDS:
        for number in range(len(keys), size):
            parts = (
                Part("instruction", f"RUN step {number}"),
                Part("parent", "sha256:" + "0" * 64),
            )
            keys.append(CacheKey(parts=parts))
            index.add(keys[-1], locus=f"step {number}", name="RUN", stack=(), seconds=1.0)
        index.close()
        os.sync()
        index = Index(str(disk / "index.sqlite"))
        asked = random.Random(size).choices(keys, k=LOOKUPS)
        curve.seconds[size] = statistics.median(lookup(index, key) for key in asked)
    index.close()
    return curve


def lookup(index: Index, key: CacheKey) -> float:
    digest = key.digest
    started = time.perf_counter()
    if index.record(digest) is None:
        raise AssertionError("the index lost a record")
    return time.perf_counter() - started
