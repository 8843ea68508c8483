"""Records of builds as text and as JSON: lists, one build with its steps, two side by side."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from lamina.trace.events import Warned
from lamina.trace.pairs import BuildPair, PairedStep, StepPair
from lamina.trace.record import BuildRecord
from lamina.trace.steps import RecordedStep
from lamina.trace.verdict import Hit, sentence
from lamina.ui.causes import render_files
from lamina.ui.printable import escaped, one_line
from lamina.ui.quantities import render_age, render_bytes
from lamina.ui.table import render_table

SHORT = 12
_WIDEST = 60


def render_builds(records: Iterable[BuildRecord], *, now: float) -> str:
    """A line a build, newest first."""
    return render_table(
        ("build", "when", "what", "time", "cached", "ran", "outcome"),
        [_row(record, now) for record in records],
    )


def _row(record: BuildRecord, now: float) -> tuple[str, ...]:
    end = record.finished
    return (
        record.build[:SHORT],
        render_age(now - record.started),
        _what(record),
        render_seconds(end.seconds) if end else "",
        str(end.cached) if end else "",
        str(end.ran) if end else "",
        record.outcome + (" (imported)" if record.imported else ""),
    )


def _what(record: BuildRecord) -> str:
    """Its names, or else where it was built from."""
    place = record.context.rstrip("/").rpartition("/")[2] or record.context
    if record.dockerfile not in ("", "Dockerfile"):
        place = f"{place} ({record.dockerfile})"
    target = f" target {record.target}" if record.target else ""
    return ", ".join(record.tags) + (f" from {place}" if record.tags else place) + target


def summary_json(record: BuildRecord) -> dict[str, object]:
    """A build as `history ls --json` has it, without its steps."""
    end = record.finished
    return {
        "build": record.build,
        "started": record.started,
        "outcome": record.outcome,
        "error": end.error if end else "",
        "seconds": end.seconds if end else None,
        "cached": end.cached if end else None,
        "ran": end.ran if end else None,
        "context": record.context,
        "dockerfile": record.dockerfile,
        "target": record.target,
        "platforms": record.platforms,
        "tags": record.tags,
        "outputs": msgspec.to_builtins(record.outputs),
        "imported": record.imported,
    }


def render_build(
    record: BuildRecord, steps: Mapping[int, RecordedStep], sizes: Mapping[str, int], *, now: float
) -> str:
    """Everything that is known of one build. `sizes` are bytes by the key of a step."""
    end = record.finished
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.started))
    facts = [
        ("build", record.build + (" (imported)" if record.imported else "")),
        ("started", f"{started} ({render_age(now - record.started)})"),
        ("outcome", record.outcome + (f": {end.error}" if end and end.error else "")),
        ("dockerfile", f"{record.dockerfile or 'Dockerfile'} in {record.context}"),
        ("target", record.target),
        ("platforms", ", ".join(record.platforms)),
        ("names", ", ".join(record.tags)),
        *(("argument", f"{k}={v}") for k, v in record.request.get("build_args", {}).items()),
        *(("output", _output(output)) for output in msgspec.to_builtins(record.outputs)),
        *(("warning", event.message) for event in record.events if isinstance(event, Warned)),
    ]
    width = max(len(name) for name, _ in facts) + 2
    lines = [f"{name:{width}}{one_line(text)}" for name, text in facts if text]
    rows = [_step(step, sizes) for step in steps.values() if step.position or step.error]
    table = render_table(("step", "time", "size", "what", "why"), rows) if rows else ""
    return escaped("".join(f"{line}\n" for line in lines)) + f"\n{table}" + _total(record, sizes)


def _output(output: Mapping[str, object]) -> str:
    return " ".join(str(output[name]) for name in ("type", "digest") if output.get(name))


def _step(step: RecordedStep, sizes: Mapping[str, int]) -> tuple[str, ...]:
    size = sizes.get(step.key)
    return (
        step.label or str(step.number),
        "" if step.cached else render_seconds(step.seconds),
        "" if size is None else render_bytes(size),
        _cut(step.text),
        _cut(_why(step)),
    )


def _why(step: RecordedStep) -> str:
    if step.canceled:
        return "canceled"
    if step.error:
        return f"failed: {step.error}"
    if not step.ended:
        return "did not end"
    match step.verdict:
        case None:
            return ""
        case Hit(source=source):
            return f"cached, from {source}" if source else "cached"
        case verdict:
            return sentence(verdict) + ("; same result as before" if step.same else "")


def _total(record: BuildRecord, sizes: Mapping[str, int]) -> str:
    end = record.finished
    if end is None:
        return "\nthe build has not ended, or it was killed\n"
    size = f", {render_bytes(sum(sizes.values()))} of files in its steps" if sizes else ""
    return f"\n{end.cached} cached, {end.ran} ran, {render_seconds(end.seconds)} in all{size}\n"


def build_json(
    record: BuildRecord, steps: Mapping[int, RecordedStep], sizes: Mapping[str, int]
) -> dict[str, object]:
    """A build as `history show --json` has it."""
    return {
        **summary_json(record),
        "version": record.version,
        "lamina": record.lamina,
        "request": record.request,
        "text": record.text,
        "steps": [
            {**msgspec.to_builtins(step), "size": sizes.get(step.key)} for step in steps.values()
        ],
    }


def render_pair(pair: BuildPair) -> str:
    """Two builds: their arguments, their Dockerfiles, and the steps that differ."""
    return escaped("".join(f"{line}\n" for line in _pair_lines(pair)))


def _pair_lines(pair: BuildPair) -> Iterator[str]:
    before, after = (render_seconds(each) if each is not None else "?" for each in pair.seconds)
    yield f"build {pair.before[:SHORT]} ({before})  →  build {pair.after[:SHORT]} ({after})"
    if pair.arguments:
        yield ""
        yield "arguments"
    for argument in pair.arguments:
        values = [_value(argument.before), _value(argument.after)]
        yield f"  {argument.name}: {values[0]} → {values[1]}"
    if pair.dockerfile:
        yield ""
        yield from pair.dockerfile.splitlines()
    differing = [step for step in pair.steps if differs(step)]
    yield ""
    if not differing:
        yield "no step differs"
    for step in differing:
        yield from _pair_step(step)


def differs(pair: StepPair) -> bool:
    """Whether a step came out, or was decided, otherwise; or took another time."""
    one, two = pair.before, pair.after
    if one is None or two is None or one.key != two.key or one.outcome != two.outcome:
        return True
    return abs(one.seconds - two.seconds) > max(1.0, 0.2 * max(one.seconds, two.seconds))


def _pair_step(pair: StepPair) -> Iterator[str]:
    one, two = pair.before, pair.after
    shown = two or one
    assert shown is not None
    text = f"[{shown.where}] {one_line(shown.text)}" if shown.where else one_line(shown.text)
    if one is None or two is None:
        yield f"{'+' if one is None else '-'} {_cut(text)}  {_ended(shown)}"
        return
    yield f"  {_cut(text)}  {_ended(one)} → {_ended(two)}"
    if pair.files:
        yield f"      {render_files(pair.files)}"
    for change in pair.changes:
        yield f"      {change.part}: {_value(change.before)} → {_value(change.after)}"


def _ended(step: PairedStep) -> str:
    return step.outcome if step.outcome == "cached" else f"{step.outcome} {step.seconds:.1f}s"


def _value(text: str | None) -> str:
    if text is None:
        return "—"
    return _cut(text.removeprefix("sha256:")[:SHORT] if text.startswith("sha256:") else text)


def render_seconds(seconds: float) -> str:
    """`0.2s`, `1m 12s`, `2h 3m`."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60}m"


def _cut(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _WIDEST else line[: _WIDEST - 1] + "…"
