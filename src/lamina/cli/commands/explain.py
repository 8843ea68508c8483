"""`lamina explain`: why the steps of a build ran."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import click

from lamina.cli.command import Command, Session
from lamina.cli.values import Values
from lamina.errors import UsageError
from lamina.trace.explanation import Explanation
from lamina.trace.steps import RecordedStep
from lamina.ui.printable import encode

MISSED = 1


def command() -> click.Command:
    return Command(
        "explain",
        params=[
            click.Argument(["words"], nargs=-1, metavar="[BUILD|IMAGE] [STEP]"),
            click.Option(
                ["--against"], metavar="BUILD", help="Compare with this build, step by step"
            ),
            click.Option(["--diff"], is_flag=True, help="Show what changed in the text of files"),
            click.Option(["--json"], is_flag=True, help="Print JSON"),
            click.Option(
                ["--fail-on-miss"], is_flag=True, help="Exit with 1 if a step was not cached"
            ),
            click.Option(
                ["--may-miss"],
                multiple=True,
                metavar="STEP",
                help="With --fail-on-miss: a step that need not be cached",
            ),
        ],
        run=run,
        usage="[FLAGS] [BUILD|IMAGE] [STEP]",
        epilog="BUILD: latest, ^1 (the one before), the beginning of an id, or an image. "
        'STEP: 3/7, "build 3/7", its number, or part of its text.',
    )


def run(session: Session, flags: Mapping[str, object]) -> int:
    values = Values(flags)
    may_miss = values.texts("may_miss")
    if may_miss and not values.is_set("fail_on_miss"):
        raise UsageError("--may-miss is for --fail-on-miss")
    from lamina.control.explain import explain
    from lamina.ui.explain import explanation_json, render_explanation

    build, step = _named(values.texts("words"), session)
    told = explain(
        session.root,
        build,
        step,
        against=values.text("against"),
        diff=values.is_set("diff"),
    )
    now = time.time()
    if values.is_set("json"):
        import msgspec

        data = msgspec.json.encode(explanation_json(told, now=now)) + b"\n"
        session.stdout.write(data)
    else:
        session.stdout.write(encode(render_explanation(told, now=now)))
    if not values.is_set("fail_on_miss"):
        return 0
    return MISSED if _missed(told, may_miss, session) else 0


def _named(words: Sequence[str], session: Session) -> tuple[str, str]:
    """The build and the step. One word is a step where it looks like one, or where no build is
    called so.
    """
    if len(words) > 2:
        raise UsageError(f"a build and a step are all that can be named, not {len(words)} words")
    if len(words) != 1:
        return (words[0], words[1]) if words else ("latest", "")
    from lamina.control.history import History, UnknownBuild, UnknownStep, find_step, recorded_steps

    (word,) = words
    history = History.of(session.root)
    try:
        history.find(word)
        return word, ""
    except UnknownBuild as unnamed:
        latest = history.find("latest")
        try:
            find_step(recorded_steps(latest), word, build=latest.build)
        except UnknownStep as unknown:
            if "^" in word:
                raise unnamed from None
            if "/" in word or "several" in unknown.message:
                raise
            raise UnknownBuild(
                f"no build, and no step of the latest build, is called {word!r}",
                hint=unknown.hint,
            ) from None
        return "latest", word


def _missed(told: Explanation, may_miss: Sequence[str], session: Session) -> bool:
    from lamina.control.history import find_step

    missed = {step.step for step in told.steps if (step.causes if told.against else step.ran)}
    steps = {
        step.step: RecordedStep(
            number=step.step,
            name=f"[{step.where}] {step.text}" if step.where else step.text,
            line=step.line,
            started=0.0,
        )
        for step in told.steps
    }
    allowed = {find_step(steps, text, build=told.build).number for text in may_miss}
    return bool(missed - allowed)
