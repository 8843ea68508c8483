"""The numbers as values, and as JSON and Markdown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bench.advice import Advice
from bench.growth import Curve
from bench.limits import Limit
from bench.measure import Cost
from bench.scenarios import remote
from bench.scenarios.remote import Exchange

OURS = "lamina"
# who Lamina is compared with: the first of these that ran the scenario
REFERENCES = ("buildctl", "docker", "buildah", "podman", "kaniko")
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one scenario. `missing` says of builders why they have no costs.

    `work` are the seconds of the work itself, which no builder can save.
    """

    name: str
    target: float | None = None
    memory_target: float | None = None
    work: float = 0.0
    tree: str = ""
    costs: dict[str, list[Cost]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    not_yet: str = ""

    @property
    def reference(self) -> str | None:
        return next((name for name in REFERENCES if self.costs.get(name)), None)

    def seconds(self, builder: str) -> float:
        return statistics.median(cost.seconds for cost in self.costs[builder])

    def memory(self, builder: str) -> int:
        return max(cost.memory for cost in self.costs[builder])

    def ratio(self) -> float | None:
        """Lamina's time to the reference's, both over the work itself."""
        if self.reference is None or not self.costs.get(OURS):
            return None
        theirs = self.seconds(self.reference) - self.work
        return max(self.seconds(OURS) - self.work, 0) / theirs if theirs > 0 else None

    def memory_ratio(self) -> float | None:
        if self.reference is None or not self.costs.get(OURS):
            return None
        return self.memory(OURS) / self.memory(self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run. `builders` maps names to version and flags, `absent` to why they cannot run."""

    machine: Mapping[str, str]
    builders: Mapping[str, str]
    absent: Mapping[str, str]
    results: Sequence[Result]
    limits: Sequence[Limit] = ()
    exchanges: Sequence[Exchange] = ()
    curves: Sequence[Curve] = ()
    advice: Sequence[Advice] = ()


def to_json(report: Report) -> str:
    document = asdict(report)
    for written, result in zip(document["results"], report.results, strict=True):
        written |= {"reference": result.reference, "ratio": result.ratio()}
        written["median"] = {name: result.seconds(name) for name in result.costs}
    for written, curve in zip(document["curves"], report.curves, strict=True):
        written |= {"exponent": curve.exponent, "last_exponent": curve.last_exponent}
    return json.dumps(document, indent=1) + "\n"


def to_markdown(report: Report) -> str:
    names = [*report.builders]
    parts = [
        *([times_table(report.results, names)] if report.results else ()),
        *([costs_table(report.results, names)] if report.results else ()),
        *([limits_table(report.limits, report.results)] if report.limits else ()),
        *([exchanges_table(report.exchanges)] if report.exchanges else ()),
        *([curves_table(report.curves)] if report.curves else ()),
        *([advice_table(report.advice)] if report.advice else ()),
        listing("Cannot run here", report.absent),
        listing("Builders", report.builders),
        listing("Machine", report.machine),
    ]
    return "\n".join(part for part in parts if part)


def times_table(results: Sequence[Result], names: Sequence[str]) -> str:
    head = ["scenario", *(f"{name}, s" for name in names), "ratio", "at most"]
    rows = []
    for result in results:
        if result.not_yet:
            rows.append([result.name, *("" for _ in names), "", f"not yet: {result.not_yet}"])
            continue
        times = [spread(result, name) for name in names]
        rows.append([result.name, *times, verdict(result.ratio(), result.target), bound(result)])
    note = "Medians, with the fastest and the slowest round where there were several.\n"
    return f"{table(head, rows)}\n{note}"


def spread(result: Result, name: str) -> str:
    if not result.costs.get(name):
        return f"- ({result.missing.get(name, 'not measured')})"
    times = [cost.seconds for cost in result.costs[name]]
    median = f"{statistics.median(times):.2f}"
    return median if len(times) == 1 else f"{median} ({min(times):.2f}-{max(times):.2f})"


def verdict(ratio: float | None, target: float | None) -> str:
    if ratio is None:
        return "-"
    shown = f"{ratio:.2f}"
    return f"**{shown}**" if target is not None and ratio > target else shown


def bound(result: Result) -> str:
    if result.target is None:
        return ""
    over = f", over the {result.work:.1f} s of the work" if result.work else ""
    return f"{result.target:g}{over}"


def costs_table(results: Sequence[Result], names: Sequence[str]) -> str:
    head = ["scenario", *(f"{name}, CPU s / peak MiB" for name in names), "memory ratio", "at most"]
    rows = []
    for result in results:
        if result.not_yet:
            continue
        bound = f"{result.memory_target:g}" if result.memory_target is not None else ""
        shown = verdict(result.memory_ratio(), result.memory_target)
        rows.append([result.name, *(cpu_and_memory(result, n) for n in names), shown, bound])
    return table(head, rows)


def cpu_and_memory(result: Result, name: str) -> str:
    if not result.costs.get(name):
        return "-"
    cpu = statistics.median(cost.cpu for cost in result.costs[name])
    return f"{cpu:.2f} / {result.memory(name) // MIB}"


def curves_table(curves: Sequence[Curve]) -> str:
    head = ["time against", "size: seconds", "exponent", "of the last step", "at most"]
    rows = []
    for curve in curves:
        points = ", ".join(f"{size:,}: {seconds:.3g}" for size, seconds in curve.seconds.items())
        exponents = [verdict(e, curve.target) for e in (curve.exponent, curve.last_exponent)]
        rows.append([curve.name, points, *exponents, f"{curve.target:g}"])
    return table(head, rows)


def advice_table(measured: Sequence[Advice]) -> str:
    rows = [[x.name, verdict(x.seconds, x.target), f"{x.target:g}"] for x in measured]
    return table(["advisor", "lamina, s", "at most"], rows)


def exchanges_table(exchanges: Sequence[Exchange]) -> str:
    """Push, pull and external caches, beside the tool that does the same."""
    head = ["over the line", "lamina, s", "beside, s", "ratio", "at most", "peak MiB", "moved"]
    rows = []
    for each in exchanges:
        medians = {n: statistics.median(c.seconds for c in x) for n, x in each.costs.items()}
        peaks = {n: max(cost.memory for cost in costs) for n, costs in each.costs.items()}
        others = [name for name in medians if name != OURS]
        ratio = medians[OURS] / medians[others[0]] if others else None
        moved = [f"{name} {size:,} B" for name, size in each.moved.items()]
        if each.requests:
            sent = sum(not request.startswith("GET ") for request in each.requests)
            moved.append(f"{len(each.requests)} requests, {sent} that write")
        if peaks.get(OURS, 0) > remote.MEMORY or each.moved.get(OURS, 0) > remote.LINE:
            moved.append("**too much**")
        rows.append(
            [
                each.name,
                f"{medians[OURS]:.2f}" if medians else "-",
                ", ".join(f"{medians[name]:.2f} ({name})" for name in others) or "-",
                verdict(ratio, each.target),
                f"{each.target:g}" if each.target else "",
                ", ".join(f"{name} {peak // MIB}" for name, peak in peaks.items()),
                ", ".join(moved),
            ]
        )
    return table(head, rows)


def limits_table(limits: Sequence[Limit], results: Sequence[Result]) -> str:
    """What the machine can do, and Lamina's builds of the same bytes below."""
    rows = [[f"`{x.name}`", f"{x.seconds:.2f}", f"{x.size / x.seconds / MIB:,.0f}"] for x in limits]
    for result in results:
        if result.name.startswith("1 GiB") and result.costs.get(OURS):
            seconds = result.seconds(OURS)
            rows.append([f"lamina: {result.name}", f"{seconds:.2f}", f"{1024 / seconds:,.0f}"])
    return table(["physical limit", "seconds", "MiB/s"], rows)


def listing(title: str, items: Mapping[str, str]) -> str:
    lines = [f"- {name}: {value}" for name, value in items.items()]
    return "\n".join([f"{title}:", "", *lines, ""]) if lines else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows)) + "\n"
