"""Shell scripts of RUN, letter for letter."""

from __future__ import annotations

import pytest

from lamina.advisor.shell.script import Script, parse_script
from lamina.advisor.shell.text import ScriptText, script_text
from lamina.dockerfile.parser import parse_syntax
from lamina.source import SourceFile


def text_of(dockerfile: str) -> ScriptText | None:
    syntax = parse_syntax(SourceFile("Dockerfile", dockerfile))
    (run,) = [node for node in syntax.instructions if node.name == "run"]
    return script_text(run, escape=syntax.escape)


def without(script: str, index: int) -> str | None:
    parsed = parse_script(script)
    cut = parsed.without(parsed.steps[index])
    return None if cut is None else script[: cut[0]] + script[cut[1] :]


def commands(script: Script) -> list[str]:
    return [" ".join((each.name, *each.values())) for each in script.invocations()]


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        ("FROM a\nRUN --mount=type=cache,target=/c \\\n  --network=none make all\n", ["make all"]),
        ("FROM a\nRUN a \\\n# comment\n  # more\n && b\n", ["a", "b"]),
        ("# escape=`\nFROM a\nRUN a `\n && b\n", ["a", "b"]),
        ("FROM a\nRUN a \\  \n && b\n", ["a", "b"]),
        ("FROM a\nRUN <<EOF\nset -e\nnpm ci\nEOF\n", ["set -e", "npm ci"]),
        ("FROM a\nRUN <<EOF bash\nnpm ci\nEOF\n", ["npm ci"]),
        ("FROM a\nRUN cat <<EOF > /x && b\nrm -rf /\nEOF\n", ["cat", "b"]),
    ],
)
def test_the_commands_of_a_run(dockerfile: str, expected: list[str]) -> None:
    """Flags, comments and continuations of the Dockerfile are no part of what the shell runs."""
    found = text_of(dockerfile)
    assert found is not None
    assert commands(parse_script(found.text)) == expected


@pytest.mark.parametrize(
    "dockerfile",
    ['FROM a\nRUN ["make", "all"]\n', "FROM a\nRUN <<EOF python3\nimport os\nEOF\n"],
)
def test_what_no_shell_reads(dockerfile: str) -> None:
    """The exec form and other languages are no script."""
    assert text_of(dockerfile) is None


def test_every_word_stands_where_the_file_has_it() -> None:
    """What is found in the script can be edited in the file, also behind letters like é."""
    dockerfile = "FROM a\n# é\nRUN echo é \\\n  # c\n  && pip install 'x y' \\\n     z\n"
    found = text_of(dockerfile)
    assert found is not None
    for invocation in parse_script(found.text).invocations():
        for word in invocation.words:
            at = found.start + word.start
            assert dockerfile[at : found.start + word.end] == word.raw


@pytest.mark.parametrize(
    ("script", "values"),
    [
        ("x 'a b' \"c d\" e\\ f", ["a b", "c d", "e f"]),
        ('x "$A" $(b) `c` ${D}', [None] * 4),
        ("x a\"b\"c'd'", ["abcd"]),
        ('x "a\\nb" \\"', ["a\\nb", '"']),
        ("x --a=b -c1", ["--a=b", "-c1"]),
    ],
)
def test_what_a_command_gets(script: str, values: list[str | None]) -> None:
    """Quotes are undone; what is not known before the script runs is not guessed."""
    (invocation,) = parse_script(script).invocations()
    assert [word.value for word in invocation.arguments] == values


def test_where_a_command_stands() -> None:
    """Commands inside of constructs say so, and variables belong to their command."""
    script = parse_script("if a; then X=1 b; fi; (c | d); export E=2; f > /dev/null 2>&1")
    found = {each.name: each for each in script.invocations()}
    assert found["b"].inside == ("if_statement",)
    assert found["b"].variables == (("X", "1"),)
    assert found["d"].inside == ("subshell", "pipeline")
    assert found["export"].variables == (("E", "2"),)
    assert found["f"].redirects == ("> /dev/null", "2>&1")


@pytest.mark.parametrize(
    ("script", "index", "expected"),
    [
        ("a && b && c", 0, "b && c"),
        ("a && b && c", 1, "a && c"),
        ("a && b && c", 2, "a && b"),
        ("a; b && c", 1, "a; c"),
        ("a && b; c", 1, "a; c"),
        ("a\nb\nc", 1, "a\nc"),
        ("a && b || true", 1, None),
        ("a || b", 1, None),
        ("a", 0, None),
    ],
)
def test_taking_a_step_away(script: str, index: int, expected: str | None) -> None:
    """The rest does what it did; where that cannot be, nothing is taken away."""
    assert without(script, index) == expected


def test_what_is_not_understood_is_told() -> None:
    """A script with an error still gives what could be read."""
    script = parse_script("apt-get update && if then")
    assert not script.whole
    assert "apt-get update" in commands(script)
