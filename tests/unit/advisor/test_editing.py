"""Edits of instructions keep the habits of the file, and touch nothing else."""

from __future__ import annotations

import pytest

from lamina.advisor.editing import (
    add_flags,
    flag_spans,
    insert_above,
    remove_flag,
    remove_instruction,
    remove_step,
    remove_word,
)
from lamina.advisor.finding import changed
from lamina.advisor.project import Dockerfile
from lamina.advisor.reading import read_dockerfile
from lamina.advisor.runs import Run, read_run
from lamina.dockerfile.instructions.commands import RunCommand
from lamina.source import SourceFile


def dockerfile(text: str) -> Dockerfile:
    return read_dockerfile(SourceFile("Dockerfile", text))


def last_run(file: Dockerfile) -> Run:
    command = file.stages[-1].commands[-1]
    assert isinstance(command, RunCommand)
    return read_run(file, command)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("RUN x\n", "RUN --a=1 \\\n    --b \\\n    x\n"),
        ("RUN x", "RUN --a=1 \\\n    --b \\\n    x"),
        ("run   x && \\\n  y\n", "run   --a=1 \\\n  --b \\\n  x && \\\n  y\n"),
        ("RUN x && \\\n\ty\n", "RUN --a=1 \\\n\t--b \\\n\tx && \\\n\ty\n"),
        ("RUN \\\n  x\n", "RUN \\\n  --a=1 \\\n  --b \\\n  x\n"),
        ("RUN --network=none x\n", "RUN --network=none \\\n    --a=1 \\\n    --b x\n"),
        (
            "RUN --network=none \\\n  # why\n  x\n",
            "RUN --network=none \\\n  --a=1 \\\n  --b \\\n  # why\n  x\n",
        ),
        ('RUN ["x"]\n', 'RUN --a=1 \\\n    --b \\\n    ["x"]\n'),
        ("RUN <<E\nx\nE\n", "RUN --a=1 \\\n    --b \\\n    <<E\nx\nE\n"),
        ("RUN x\r\n", "RUN --a=1 \\\r\n    --b \\\r\n    x\r\n"),
    ],
)
def test_flags_are_added(before: str, after: str) -> None:
    """Flags come before the command, each on its line, indented as the instruction is."""
    head = "FROM a\r\n" if "\r" in before else "FROM a\n"
    file = dockerfile(head + before)
    edit = add_flags(file, last_run(file).node, ("--a=1", "--b"))
    fixed = changed(file.source, (edit,))
    assert fixed.text == head + after
    again = read_dockerfile(fixed)
    assert again.error is None or "--" in str(again.error)  # flags that no RUN has
    assert len(flag_spans(again, [*again.syntax.instructions][-1])) >= 2


def test_another_escape_letter() -> None:
    """Continuations are written with the escape letter of the file."""
    file = dockerfile("# escape=`\nFROM a\nRUN x\n")
    edit = add_flags(file, last_run(file).node, ("--network=none",))
    fixed = changed(file.source, (edit,))
    assert fixed.text.endswith("RUN --network=none `\n    x\n")
    assert last_run(read_dockerfile(fixed)).text == "x"


@pytest.mark.parametrize(
    ("run", "step", "left"),
    [
        ("a && b && c", 1, "a && c"),
        ("a && b", 1, "a"),
        ("a && b", 0, "b"),
        ("a; b; c", 1, "a; c"),
        ("a \\\n    && b \\\n    # why\n    && c", 2, "a \\\n    && b"),
        ("a || b", 1, None),
        ("a && b || c", 1, None),
        ("a", 0, None),
    ],
)
def test_steps_are_removed(run: str, step: int, left: str | None) -> None:
    """The rest of a script does what it did; where it would not, there is no edit."""
    file = dockerfile(f"FROM a\nRUN {run}\n")
    found = last_run(file)
    edit = remove_step(found, found.steps[step])
    text = changed(file.source, (edit,)).text if edit is not None else None
    assert text == (f"FROM a\nRUN {left}\n" if left is not None else None)


def test_words_are_removed() -> None:
    """An argument goes with the continuation before it."""
    file = dockerfile("FROM a\nRUN pip install \\\n    --no-cache-dir \\\n    x\n")
    run = last_run(file)
    (invocation,) = run.invocations()
    edit = remove_word(run, invocation, invocation.words[2])
    assert edit is not None
    assert changed(file.source, (edit,)).text == "FROM a\nRUN pip install \\\n    x\n"


def test_flags_are_removed() -> None:
    """A flag goes with the continuation behind it."""
    file = dockerfile("FROM a\nRUN --network=none \\\n    --security=sandbox x\n")
    node = last_run(file).node
    first, second = flag_spans(file, node)
    one = changed(file.source, (remove_flag(file, node, first),))
    assert one.text == "FROM a\nRUN --security=sandbox x\n"
    both = changed(file.source, (remove_flag(file, node, first), remove_flag(file, node, second)))
    assert both.text == "FROM a\nRUN x\n"


def test_lines_are_inserted_above_comments() -> None:
    """What stands on an instruction stays on it."""
    file = dockerfile("FROM a\r\n\r\n# why\r\n# and how\r\nRUN x\r\n")
    edit = insert_above(file, last_run(file).node, "RUN y\n\n")
    fixed = changed(file.source, (edit,)).text
    assert fixed == "FROM a\r\n\r\nRUN y\r\n\r\n# why\r\n# and how\r\nRUN x\r\n"


def test_instructions_are_removed() -> None:
    """One empty line is left where two would meet; comments stay."""
    file = dockerfile("FROM a\n\nCOPY . .\n\n# why\nRUN x\n")
    node = file.node(file.stages[0].commands[0])
    assert changed(file.source, (remove_instruction(file, node),)).text == (
        "FROM a\n\n# why\nRUN x\n"
    )
