"""Syntax to typed instructions."""

from __future__ import annotations

import pytest

from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.instructions.parse import parse, parse_instruction, parse_trigger
from lamina.dockerfile.parser import parse_syntax
from lamina.dockerfile.problems import InstructionError, UnknownFlag, UnknownInstruction
from lamina.source import SourceFile


def parsed(line: str) -> c.Stage | c.Command:
    (node,) = parse_syntax(SourceFile("Dockerfile", line)).instructions
    return parse_instruction(node)


def upper(word: str) -> str:
    """An expander that shows where it was."""
    return word.upper()


def test_a_file_is_stages_below_global_arguments() -> None:
    """ARGs above the first FROM are apart; every other command belongs to the FROM above it."""
    text = "ARG a=1\n# b is first\nFROM x AS B\nARG c\nRUN d\nFROM --platform=$p b\n"
    stages, meta = parse(parse_syntax(SourceFile("Dockerfile", text)))
    assert [arg.args[0].key for arg in meta] == ["a"]
    assert [(s.name, s.base_name, s.platform, s.doc_comment) for s in stages] == [
        ("b", "x", "", "is first"),
        ("", "b", "$p", ""),
    ]
    assert [command.original for command in stages[0].commands] == ["ARG c", "RUN d"]
    assert stages[0].span.text == "FROM x AS B"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a b", "FROM requires either one or three arguments"),
        (
            "FROM a AS 1b",
            (
                'invalid name for build stage: "1b", '
                "name can't start with a number or contain symbols"
            ),
        ),
        ("COPY --form=x a b", "unknown flag: --form (did you mean from?)"),
        ("COPY --xyz a b", "unknown flag: --xyz"),
        ("COPY --link=maybe a b", "expecting boolean value for flag --link, not: maybe"),
        ("COPY --link= a b", "missing a value on flag: --link"),
        ("COPY --from a b", "missing a value on flag: --from"),
        ("COPY --from=x --from=y a b", "duplicate flag specified: --from"),
        ("RUN --network=all x", 'invalid network mode "all"'),
        ("RUN --security=none x", 'security "none" is not valid'),
        ("RUNN x", "unknown instruction: RUNN (did you mean RUN?)"),
        ("coppy x", "unknown instruction: coppy (did you mean copy?)"),
        ("xyzzy", "unknown instruction: xyzzy"),
        ("ARG =a", "ARG names can not be blank"),
        ("ENV =a", "ENV names can not be blank"),
        ('VOLUME [" "]', "VOLUME specified can not be an empty string"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("SHELL sh", "SHELL requires the arguments to be in JSON form"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD from x", "FROM isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --interval=1us CMD x", 'Interval "interval" cannot be less than 1ms'),
        ("HEALTHCHECK --timeout=1 CMD x", 'time: missing unit in duration "1"'),
        ("HEALTHCHECK --timeout=1y CMD x", 'time: unknown unit "y" in duration "1y"'),
        ("HEALTHCHECK --timeout=x CMD x", 'time: invalid duration "x"'),
        ("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)"),
        ("HEALTHCHECK --retries=x CMD x", 'strconv.ParseInt: parsing "x": invalid syntax'),
    ],
)
def test_what_is_wrong_is_said(line: str, reason: str) -> None:
    """A reason in the reference's words, with the instruction or the word at fault underlined."""
    with pytest.raises(InstructionError) as caught:
        parsed(line)
    assert caught.value.message == caught.value.reason == reason
    assert caught.value.span is not None
    assert caught.value.span.text in line


def test_errors_of_a_file_name_their_line() -> None:
    """The message of a whole file's error says on which line it stands, and its class stays."""
    syntax = parse_syntax(SourceFile("Dockerfile", "FROM a\n\nRUN \\\n --nope b\n"))
    with pytest.raises(UnknownFlag) as caught:
        parse(syntax)
    assert str(caught.value) == "dockerfile parse error on line 3: unknown flag: --nope"
    assert caught.value.reason == "unknown flag: --nope"
    with pytest.raises(UnknownInstruction):
        parse(parse_syntax(SourceFile("Dockerfile", "FRM a")))


def test_a_command_needs_a_stage() -> None:
    """Only ARG may stand above FROM."""
    with pytest.raises(InstructionError, match="no build stage in current context"):
        parse(parse_syntax(SourceFile("Dockerfile", "ARG a\nRUN b\nFROM c")))


def test_copy_knows_paths_from_inline_files() -> None:
    """Heredocs among the sources become contents, without tabs if they say so."""
    copy = parsed("COPY --from=s --parents --exclude=a --exclude=b x <<-'f' /d\n\ty\nf\n")
    assert isinstance(copy, c.CopyCommand)
    assert (copy.sources, copy.dest, copy.from_) == (("x",), "/d", "s")
    assert (copy.parents, copy.link, copy.exclude) == (True, False, ("a", "b"))
    assert copy.contents == (c.SourceContent(path="f", data="y\n", expand=False),)
    assert copy.original == "COPY --from=s --parents --exclude=a --exclude=b x <<-'f' /d"


def test_add_tells_flags_that_are_off_from_those_not_given() -> None:
    """`--unpack=false` is not the same as nothing."""
    add = parsed("ADD --unpack=false --keep-git-dir --checksum=sha256:0 a b")
    assert isinstance(add, c.AddCommand)
    assert (add.unpack, add.keep_git_dir, add.checksum) == (False, True, "sha256:0")
    plain = parsed("ADD a b")
    assert isinstance(plain, c.AddCommand)
    assert (plain.unpack, plain.keep_git_dir) == (None, None)


def test_shell_and_exec_form() -> None:
    """The shell form is one string, the exec form is the strings of the array."""
    shell, exec_ = parsed("RUN a  b"), parsed('RUN ["a", "b"]')
    assert isinstance(shell, c.RunCommand)
    assert isinstance(exec_, c.RunCommand)
    assert shell.line == c.CommandLine(words=("a  b",), prepend_shell=True)
    assert exec_.line == c.CommandLine(words=("a", "b"), prepend_shell=False)


def test_run_keeps_its_heredocs() -> None:
    """The tabs are still there: the shell wants to see them."""
    run = parsed("RUN --network=none <<-a cat\n\tb\na\n")
    assert isinstance(run, c.RunCommand)
    assert run.line.files == (c.InlineFile(name="a", data="\tb\n", chomp=True),)
    assert (run.network, run.flags_used) == ("none", ("network",))


def test_healthcheck_durations_are_nanoseconds() -> None:
    """Parts add up; fractions count."""
    check = parsed("HEALTHCHECK --interval=1m1.5s --start-period=0s --retries=3 CMD a b")
    assert isinstance(check, c.HealthCheckCommand)
    assert check.health == c.Health(
        test=("CMD-SHELL", "a b"), interval=61_500_000_000, start_period=0, retries=3
    )


@pytest.mark.parametrize(
    ("line", "expanded"),
    [
        ("ENV a=b", {"env": (c.KeyValue(key="A", value="B"),)}),
        ("LABEL a b", {"labels": (c.KeyValue(key="A", value="B", legacy=True),)}),
        ("ARG a=b", {"args": (c.KeyValueOptional(key="A", value="B"),)}),
        ("ARG a", {"args": (c.KeyValueOptional(key="A"),)}),
        ("USER a", {"user": "A"}),
        ("WORKDIR a", {"path": "A"}),
        ("STOPSIGNAL a", {"signal": "A"}),
        ("VOLUME a b", {"volumes": ("A", "B")}),
        (
            "COPY --from=a --chown=b --chmod=c --exclude=d e f",
            {"from_": "a", "chown": "B", "chmod": "C", "exclude": ("d",), "dest": "F"},
        ),
        ("ADD --checksum=a b c", {"checksum": "A", "sources": ("B",), "dest": "C"}),
    ],
)
def test_expansion_touches_what_may_hold_variables(line: str, expanded: dict[str, object]) -> None:
    """The command stays the same but for the named fields, and the original is not changed."""
    command = parsed(line)
    assert isinstance(
        command,
        c.EnvCommand
        | c.LabelCommand
        | c.ArgCommand
        | c.UserCommand
        | c.WorkdirCommand
        | c.StopSignalCommand
        | c.VolumeCommand
        | c.CopyCommand
        | c.AddCommand,
    )
    result = command.expand(upper)
    assert {name: getattr(result, name) for name in expanded} == expanded
    assert (result.span, result.original) == (command.span, line)
    assert command == parsed(line)


def test_a_port_may_become_several() -> None:
    """EXPOSE is expanded word by word, and was sorted before that."""
    expose = parsed("EXPOSE b a")
    assert isinstance(expose, c.ExposeCommand)
    assert expose.expand_words(lambda word: (word, "x")).ports == ("a", "x", "b", "x")


def test_inline_files_are_expanded_apart() -> None:
    """A quoted name keeps its variables."""
    copy = parsed("COPY <<a <<'b' /\nx\na\nx\nb\n")
    assert isinstance(copy, c.CopyCommand)
    assert [file.data for file in copy.expand_contents(upper).contents] == ["X\n", "x\n"]


def test_a_trigger_is_a_line_of_its_own() -> None:
    """The expression of ONBUILD, heredocs and all, is what a later build parses."""
    onbuild = parsed("ONBUILD  RUN --network=none <<a\nb\na\n")
    assert isinstance(onbuild, c.OnbuildCommand)
    assert onbuild.expression == "RUN --network=none <<a\nb\na"
    run = parse_trigger(onbuild.expression, image="base")
    assert isinstance(run, c.RunCommand)
    assert run.line.files[0].data == "b\n"
    assert run.span.file.name == "ONBUILD trigger of base"


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("RUN a\nRUN b", "onbuild trigger should be a single expression"),
        ("FROM a", "FROM isn't allowed as an ONBUILD trigger"),
        ("NOPE a", "unknown instruction: NOPE"),
    ],
)
def test_bad_triggers(expression: str, reason: str) -> None:
    """A base image may hold any text; it is refused in a sentence."""
    with pytest.raises(InstructionError, match=reason):
        parse_trigger(expression, image="base")
