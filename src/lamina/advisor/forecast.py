"""What a cache would have done over a repository's history: values, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec


class StepName(msgspec.Struct, frozen=True, kw_only=True):
    """A step by its stage ("" where there is one only) and its text; `turn` tells equal ones of one
    build apart, from 0.
    """

    stage: str
    text: str
    turn: int = 0

    @property
    def runs(self) -> bool:
        """Whether it is a RUN; everything else takes next to no time."""
        return self.text.removeprefix("ONBUILD ").startswith("RUN")


class ForecastStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one build. `seconds` is what it takes to run; None where nobody knows."""

    name: StepName
    hit: bool
    seconds: float | None = None


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """One build that was replayed. `error` says why it would not have got to its end."""

    steps: tuple[ForecastStep, ...] = ()
    error: str = ""


class ForecastCommit(msgspec.Struct, frozen=True, kw_only=True):
    """A commit: `time` in seconds since 1970, `before` with the Dockerfile as it is, `after` with
    the other one (None where there is none).
    """

    id: str
    time: int
    subject: str
    before: Replay
    after: Replay | None = None

    @property
    def counts(self) -> bool:
        """Whether all builds of it came to their end: only such are compared."""
        return not self.before.error and (self.after is None or not self.after.error)


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """What builds add up to. `seconds` is the time of the misses, without `unknown` of them."""

    builds: int = 0
    hits: int = 0
    misses: int = 0
    seconds: float = 0.0
    unknown: int = 0

    @property
    def rate(self) -> float:
        """Hits of all steps, from 0 to 1."""
        return self.hits / max(1, self.hits + self.misses)

    @property
    def timed(self) -> bool:
        """Whether the time of a miss, at least, is known."""
        return self.unknown < self.misses or not self.misses


class StepRow(msgspec.Struct, frozen=True, kw_only=True):
    """A step over all builds; None where that Dockerfile does not have it."""

    name: StepName
    before: Total | None
    after: Total | None


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """The commits, oldest first. `asked` is how many were asked for.

    `before` and `after` say which Dockerfiles were replayed; `after` is "" where there is one only.
    `notes` say what is not known.
    """

    asked: int
    before: str
    after: str = ""
    commits: tuple[ForecastCommit, ...]
    notes: tuple[str, ...] = ()

    def counted(self) -> tuple[ForecastCommit, ...]:
        """The commits whose builds are compared."""
        return tuple(commit for commit in self.commits if commit.counts)

    def replays(self, *, after: bool) -> Iterator[Replay]:
        """The builds that count, with one of the Dockerfiles."""
        for commit in self.counted():
            replay = commit.after if after else commit.before
            if replay is not None:
                yield replay

    def total(self, *, after: bool) -> Total:
        """All of them together."""
        replays = tuple(self.replays(after=after))
        return add_up((step for each in replays for step in each.steps), builds=len(replays))

    def saved(self) -> float | None:
        """Seconds that a build takes less, on average, and maybe more than that; None where nobody
        can say so much.

        A time that is not known would only add to what is saved, if the step misses as often before
        as afterwards. Of a RUN that is new, nobody knows what it costs.
        """
        before, after = self.total(after=False), self.total(after=True)
        if not self.after or not before.builds or not (before.timed and after.timed):
            return None
        for row in self.rows():
            hidden = row.before.unknown if row.before else 0
            if row.name.runs and row.after is not None and row.after.unknown > hidden:
                return None
        return (before.seconds - after.seconds) / before.builds

    def rows(self) -> tuple[StepRow, ...]:
        """Every step: those of the latest build first, in its order, then those of earlier ones."""
        found: dict[StepName, tuple[list[ForecastStep], list[ForecastStep]]] = {}
        for after in (False, True):
            for replay in reversed(tuple(self.replays(after=after))):
                for step in replay.steps:
                    found.setdefault(step.name, ([], []))[after].append(step)
        return tuple(
            StepRow(
                name=name,
                before=add_up(before, builds=len(before)) if before else None,
                after=add_up(after, builds=len(after)) if after else None,
            )
            for name, (before, after) in found.items()
        )


def add_up(steps: Iterable[ForecastStep], *, builds: int) -> Total:
    """What steps of some builds come to."""
    hits = misses = unknown = 0
    seconds = 0.0
    for step in steps:
        if step.hit:
            hits += 1
            continue
        misses += 1
        if step.seconds is None:
            unknown += 1
        else:
            seconds += step.seconds
    return Total(builds=builds, hits=hits, misses=misses, seconds=seconds, unknown=unknown)
