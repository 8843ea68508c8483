"""Text to syntax, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.dockerfile.directives import find_directive, find_syntax
from lamina.dockerfile.instructions.parse import parse
from lamina.dockerfile.parser import parse_syntax
from lamina.dockerfile.problems import DockerfileSyntaxError
from lamina.dockerfile.syntax import (
    Blank,
    ByteOrderMark,
    Comment,
    DirectiveLine,
    Instruction,
    Syntax,
)
from lamina.errors import UserError
from lamina.source import SourceFile

PIECES = st.sampled_from(
    (
        *("FROM a", "RUN ", "COPY ", "ONBUILD ", "ENV ", "HEALTHCHECK ", "x", "=", "--link", "--"),
        *("# escape=`\n", "# syntax=x\n", "#", " ", "\t", "\n", "\r\n", "\\\n", "`\n", "\\", "`"),
        *(
            "<<EOF",
            "<<-'A'",
            "EOF\n",
            "\tA\n",
            "[",
            "]",
            '"',
            "'",
            ",",
            "$",
            "${a:-b}",
            "ä",
            "\xa0",
        ),
    )
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=30).map("".join),
    st.binary(max_size=60).map(lambda data: data.decode("utf-8", "surrogateescape")),
)


def source(text: str) -> SourceFile:
    return SourceFile("Dockerfile", text)


def syntax_of(text: str) -> Syntax:
    return parse_syntax(source(text))


def only(text: str) -> Instruction:
    (instruction,) = syntax_of(text).instructions
    return instruction


@given(TEXTS)
def test_what_parses_can_be_written_back(text: str) -> None:
    """The nodes together are the text, each with a span that starts where the last one ended."""
    try:
        syntax = syntax_of("FROM scratch\n" + text)
    except UserError:
        return
    assert syntax.text == "FROM scratch\n" + text
    at = 0
    for node in syntax.nodes:
        assert node.span.start == at
        at = node.span.end


@given(TEXTS)
def test_bad_text_is_the_user_s_fault(text: str) -> None:
    """No text makes the parser fail with anything but a UserError that knows its place."""
    try:
        parse(syntax_of(text))
    except UserError as error:
        assert error.span is not None  # noqa: PT017


def test_nodes_are_of_the_kind_that_they_look_like() -> None:
    """Byte order mark, directive, comment, blank line and instruction are told apart."""
    syntax = syntax_of("\ufeff# escape=`\n# a comment\n \t\nFROM a`\n b\n")
    kinds = [type(node) for node in syntax.nodes]
    assert kinds == [ByteOrderMark, DirectiveLine, Comment, Blank, Instruction]
    assert syntax.escape == "`"


def test_an_instruction_is_all_of_its_lines() -> None:
    """Comments and empty lines in a continuation, and heredocs, belong to the instruction."""
    text = "RUN a \\\n  # why\n\n  && cat <<X\nhello\nX\n"
    instruction = only(text)
    assert instruction.span.text == text
    assert instruction.original == "RUN a   && cat <<X"
    assert (instruction.code.line, instruction.code.end_line) == (1, 6)
    assert [doc.content for doc in instruction.heredocs] == ["hello\n"]


def test_code_is_what_can_be_underlined() -> None:
    """`code` leaves out the blanks before an instruction and its line end, but no line."""
    assert only("  FROM a\r\n").code.text == "FROM a"
    code = only("FROM a\\\n\n").code
    assert (code.line, code.end_line) == (1, 2)


@pytest.mark.parametrize(
    ("text", "original"),
    [
        ("RUN a\\\nb", "RUN ab"),
        ("RUN a\\ \t\nb", "RUN ab"),
        ("RUN a\\\r\nb\r\n", "RUN ab"),
        ("RUN a \\\\\n", "RUN a \\\\"),
        ("\\\nRUN a", "RUN a"),
        ("# escape=`\nRUN a`\nb\\\n", "RUN ab\\"),
        ("RUN a\\", "RUN a"),
    ],
)
def test_continuations_join(text: str, original: str) -> None:
    """An escape letter at the end of a line joins it with the next, unless it is escaped."""
    assert only(text).original == original


def test_an_empty_line_in_a_continuation_is_warned_of() -> None:
    """The warning stands on the last line of the instruction, and says which one it is."""
    (warning,) = syntax_of("FROM a\nRUN b \\\n\n  c\nRUN d\n").warnings
    assert warning.message == "Empty continuation line found in: RUN b   c"
    assert warning.span.line == 4


def test_heredocs_follow_in_order() -> None:
    """Each takes the lines up to its own name; only `<<-` ignores tabs before it."""
    copy = only("COPY <<a <<-'b' /\nb\n\ta\na\n\tx\n\tb\n")
    assert [(doc.name, doc.content, doc.expand, doc.chomp) for doc in copy.heredocs] == [
        ("a", "b\n\ta\n", True, False),
        ("b", "\tx\n", False, True),
    ]


def test_heredocs_of_a_trigger_belong_to_the_onbuild() -> None:
    """ONBUILD RUN takes heredocs, ONBUILD CMD does not."""
    assert [doc.name for doc in only("ONBUILD RUN <<a\na\n").heredocs] == ["a"]
    assert only("ONBUILD CMD <<a\n").heredocs == ()


def test_exec_form_takes_no_heredoc() -> None:
    """What looks like a heredoc in a JSON array is a string."""
    run = only('RUN ["<<a"]')
    assert run.json
    assert run.heredocs == ()


@pytest.mark.parametrize(
    ("text", "message", "lines"),
    [
        ("", "file with no instructions", (1, 1)),
        ("FROM a\nRUN <<X\nb\n", "unterminated heredoc", (2, 3)),
        ("# escape=x\nFROM a", "invalid escape token 'x' does not match ` or \\", (1, 1)),
        (
            "# check=a\n# check=b\nFROM a",
            "only one check parser directive can be used",
            (2, 2),
        ),
        (
            'FROM a\nCMD ["a", 1]',
            "when using JSON array syntax, arrays must be comprised of strings only",
            (2, 2),
        ),
        ("FROM a\nENV \\\n a", "ENV must have two arguments", (2, 3)),
        (
            "FROM a\nRUN " + "x" * 65533,
            "dockerfile line greater than max allowed size of 65535",
            (2, 2),
        ),
    ],
)
def test_syntax_errors_know_their_lines(text: str, message: str, lines: tuple[int, int]) -> None:
    """An error has the reference's words and the lines of the whole instruction."""
    with pytest.raises(DockerfileSyntaxError) as caught:
        syntax_of(text)
    assert caught.value.message == message
    assert caught.value.span is not None
    assert (caught.value.span.line, caught.value.span.end_line) == lines


def test_a_quote_left_open_announces_no_heredoc() -> None:
    """What is no word here is left to the shell."""
    assert only("RUN x <<'y\n").heredocs == ()


def test_the_longest_line_is_read() -> None:
    """65535 bytes are a line, with the line end on top."""
    assert only("RUN " + "x" * 65531 + "\n").args == ("x" * 65531,)
    with pytest.raises(DockerfileSyntaxError):
        syntax_of("RUN " + "ä" * 32766)


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ('RUN ["a", "b\\n"]', ("a", "b\n")),
        ('RUN ["a", "\\ud800"]', ("a", "\ufffd")),
        ('RUN ["a",]', ('["a",]',)),
        ('RUN ["a"] b', ('["a"] b',)),
        ("RUN [NaN]", ("[NaN]",)),
        ("RUN []", ()),
        ("COPY a\tb  c", ("a", "b", "c")),
        ("ARG a=\"b c\" d='e f' g\\ h", ('a="b c"', "d='e f'", "g\\ h")),
        ("ENV a b  c", ("a", "b  c", "")),
        ('ENV a="b c" d=', ("a", '"b c"', "=", "d", "", "=")),
        ("HEALTHCHECK CMD a  b", ("CMD", "a  b")),
    ],
)
def test_arguments_split_as_the_instruction_wants(text: str, args: tuple[str, ...]) -> None:
    """JSON is taken where it is JSON; words keep their quotes."""
    assert only(text).args == args


@pytest.mark.parametrize(
    ("line", "flags", "args"),
    [
        ("COPY --a=b --c d e", ("--a=b", "--c"), ("d", "e")),
        ('COPY --a="b c" d e', ("--a=b c",), ("d", "e")),
        ("COPY --a=b\\ c d e", ("--a=b c",), ("d", "e")),
        ("COPY -- --a b", (), ("--a", "b")),
        ("COPY --ä=ü a b", ("--ä=ü",), ("a", "b")),
        ("COPY a --b c", (), ("a", "--b", "c")),
        ("COPY --a", ("--a",), ()),
    ],
)
def test_flags_stand_first(line: str, flags: tuple[str, ...], args: tuple[str, ...]) -> None:
    """Flags lose their quotes; a lone `--` ends them."""
    assert (only(line).flags, only(line).args) == (flags, args)


def test_comments_are_those_since_the_last_instruction() -> None:
    """An empty comment starts anew; a blank line does not; directives are no comments."""
    syntax = syntax_of("# syntax=x\n# a\n#\n# b\n\n# c\nFROM d\nRUN e\n")
    assert [node.comments for node in syntax.instructions] == [("b", "c"), ()]


def test_directives_stand_on_top() -> None:
    """A comment ends the directives; a `#!` line may stand above `syntax` and `check` alone."""
    assert syntax_of("# hello\n# escape=`\nFROM a").escape == "\\"
    text = "#!/bin/lamina\n# check=skip=all;error=true\nFROM a"
    found = find_directive("check", text)
    assert found is not None
    assert (found.value, found.line) == ("skip=all;error=true", 2)
    assert find_syntax("// syntax = other\n") is not None


def test_deep_triggers_do_not_exhaust_the_stack() -> None:
    """ONBUILD may be written as often as a line has room; it is refused later."""
    text = "FROM a\n" + "ONBUILD " * 5000 + "RUN b"
    with pytest.raises(UserError, match="Chaining ONBUILD"):
        parse(syntax_of(text))
