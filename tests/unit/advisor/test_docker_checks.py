"""Docker's build checks: which findings there are, where, and what the fixes leave alone."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lamina.advisor.checking import Report, check_project
from lamina.advisor.fixing import fix_project
from lamina.advisor.options import CheckOptions, parse_check_options
from lamina.advisor.project import Asked, Project, Sources
from lamina.advisor.reading import read_dockerfile
from lamina.advisor.ruleset import docker_rules
from lamina.dockerfile.expansion import Lexer
from lamina.dockerfile.instructions.commands import EnvCommand
from lamina.errors import UserError
from lamina.oci.config import ContainerConfig, ImageConfig, RootFS
from lamina.oci.platform import Platform
from lamina.source import SourceFile

RULES = docker_rules()
HOST = Platform(os="linux", architecture="amd64")
BUILD = Asked(build_platform=HOST)
ARM = ImageConfig(os="linux", architecture="arm64", rootfs=RootFS(diff_ids=("sha256:1",)))


def project(
    text: str,
    asked: Asked | None = None,
    bases: dict[str, ImageConfig] | None = None,
    ignore: str = "",
) -> Project:
    sources = Sources(
        dockerfile=SourceFile("Dockerfile", text),
        ignore=SourceFile(".dockerignore", ignore) if ignore else None,
    )
    return Project(
        dockerfile=read_dockerfile(sources.dockerfile),
        sources=sources,
        asked=asked,
        bases=bases or {},
    )


def report(
    text: str, asked: Asked | None = None, bases: dict[str, ImageConfig] | None = None
) -> Report:
    found = check_project(project(text, asked, bases), RULES)
    assert not found.failed
    return found


def found(
    text: str, asked: Asked | None = None, bases: dict[str, ImageConfig] | None = None
) -> list[tuple[int, str]]:
    """Lines and rules."""
    return [(one.span.line, one.rule) for one in report(text, asked, bases).findings]


def mended(text: str, *, unsafe: bool = False) -> str:
    def read(sources: Sources) -> Project:
        return Project(dockerfile=read_dockerfile(sources.dockerfile), sources=sources)

    sources = Sources(dockerfile=SourceFile("Dockerfile", text))
    result = fix_project(sources, RULES, read=read, unsafe=unsafe)
    again = fix_project(result.project.sources, RULES, read=read, unsafe=unsafe)
    assert not again.changes
    return result.project.sources.dockerfile.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("skip=all", CheckOptions(skip=frozenset(("all",)))),
        ("skip = A , B", CheckOptions(skip=frozenset(("A", "B")))),
        ("skip=A,all", CheckOptions(skip=frozenset(("A",)))),
        ("error=1;skip=A", CheckOptions(skip=frozenset(("A",)), error=True)),
        ("experimental=all", CheckOptions(experimental=frozenset(("all",)))),
        ("", CheckOptions()),
    ],
)
def test_options(text: str, expected: CheckOptions) -> None:
    """`all` counts only where it stands alone; blanks do not matter."""
    assert parse_check_options(text) == expected


@pytest.mark.parametrize("text", ["skip", "skpi=A", "error=maybe", "skip=A;;"])
def test_wrong_options(text: str) -> None:
    """They are an error, and do not pass for none."""
    with pytest.raises(UserError, match="check option"):
        parse_check_options(text)
    wrong = report(f"# check={text}\nFROM scratch\n").error
    assert wrong is not None
    assert wrong.span is not None
    assert wrong.span.line == 1


def test_a_comment_skips_for_its_instruction_alone() -> None:
    """The next instruction is judged again, and a reason may follow."""
    text = "FROM scratch\n# check=skip=SecretsUsedInArgOrEnv // known\nENV key=1\nENV token=1\n"
    assert found(text) == [(4, "SecretsUsedInArgOrEnv")]


def test_a_comment_above_the_later_of_two() -> None:
    """The second CMD is what makes the first one void, so its comment decides."""
    text = 'FROM scratch\n%sCMD ["a"]\n%sCMD ["b"]\n'
    skip = "# check=skip=MultipleInstructionsDisallowed\n"
    assert found(text % ("", skip)) == []
    assert found(text % (skip, "")) == [(3, "MultipleInstructionsDisallowed")]


def test_the_build_argument_takes_the_place_of_the_directive() -> None:
    """BUILDKIT_DOCKERFILE_CHECK is the last word."""
    text = "# check=skip=all\nFROM scratch as a\n"
    assert found(text, BUILD) == []
    asked = Asked(build_platform=HOST, build_args={"BUILDKIT_DOCKERFILE_CHECK": "error=true"})
    assert found(text, asked) == [(2, "FromAsCasing")]
    assert report(text, asked).strict


def test_experimental_rules_are_asked_for() -> None:
    """One by one or all at once, also past `skip=all`."""
    body = "# about\nARG a=1\nFROM scratch\n"
    assert found(body) == []
    for options in ("experimental=all", "skip=all;experimental=InvalidDefinitionDescription"):
        assert found(f"# check={options}\n{body}") == [(3, "InvalidDefinitionDescription")]


def test_only_what_the_target_needs_fails_a_build() -> None:
    """A check looks at every stage, a build at those that it runs."""
    text = "FROM scratch AS a\nENV a b\nFROM scratch AS b\nENV c d\nFROM a\n"
    assert found(text, BUILD) == [(2, "LegacyKeyValueFormat"), (4, "LegacyKeyValueFormat")]
    needed = Asked(build_platform=HOST, all_stages=False)
    assert found(text, needed) == [(2, "LegacyKeyValueFormat")]
    assert found(text, Asked(build_platform=HOST, target="b")) == [(4, "LegacyKeyValueFormat")]


def test_what_the_base_image_sets_is_defined() -> None:
    """Its variables, its shell and its triggers count."""
    config = ContainerConfig(
        env=("GREETING=hi",), shell=("/bin/zsh", "-c"), on_build=("ENV late=$NOBODY",)
    )
    base = ImageConfig(os="linux", architecture="amd64", config=config)
    text = "FROM custom\nENV A=$GREETING\nCMD run it\n"
    assert found(text, BUILD, {"docker.io/library/custom:latest": base}) == [(1, "UndefinedVar")]
    assert found(text, BUILD) == [(3, "JSONArgsRecommended")]


def test_variables_of_an_unknown_base_are_not_guessed() -> None:
    """Only a slip of the pen is told from what the image may set."""
    assert found("FROM golang\nENV A=$GOPATH/bin:$JAVA_HOME\n") == []
    assert found("FROM golang\nARG VERSION=1\nENV A=$VERSON\n") == [(3, "UndefinedVar")]
    assert found("FROM debian:13\nENV A=$GOPATH\n") == [(2, "UndefinedVar")]


def test_a_base_for_another_platform() -> None:
    """Known by its configuration; an image without files fits everywhere."""
    text = "FROM custom\n"
    assert found(text, BUILD, {"custom": ARM}) == [(1, "InvalidBaseImagePlatform")]
    assert found(text, None, {"custom": ARM}) == []
    empty = ImageConfig(os="linux", architecture="arm64")
    assert found(text, BUILD, {"custom": empty}) == []
    asked = Asked(build_platform=HOST, platform=Platform(os="linux", architecture="arm64"))
    assert found(text, asked, {"custom": ARM}) == []


def test_findings_above_an_error() -> None:
    """What cannot be read ends the checks that need the whole file, not the others."""
    told = report("FROM scratch AS Bad\nMAINTAINER me\ncopy a b\nBADCMD\nMAINTAINER you\n")
    assert [one.rule for one in told.findings] == ["StageNameCasing", "MaintainerDeprecated"]
    assert told.error is not None
    assert told.error.message == "dockerfile parse error on line 4: unknown instruction: BADCMD"


@pytest.mark.parametrize("text", ["", "\n", "#!/bin/sh\n", "\0\0", "hello\n", "{}", "RUN a\n"])
def test_what_is_no_dockerfile(text: str) -> None:
    """Nothing is found, and the error says what is wrong."""
    told = report(text)
    assert told.error is not None
    assert not told.findings


def test_line_ends_and_the_byte_order_mark_stay() -> None:
    """Fixes change words, and nothing around them."""
    text = (
        "\ufefffrom scratch as Base\r\n"
        "ENV a b c\r\n"
        "# check=experimental=InvalidDefinitionDescription\r\n"
        "ARG x=1\r\n"
        "RUN a \\\r\n\r\n  b\r\n"
        "EXPOSE 80/TCP   [::1]:81:82/UDP\r\n"
        "MAINTAINER me\r\n"
    )
    assert mended(text, unsafe=True) == (
        "\ufeffFROM scratch AS base\r\n"
        'ENV a="b c"\r\n'
        "# check=experimental=InvalidDefinitionDescription\r\n"
        "#\r\n"
        "ARG x=1\r\n"
        "RUN a \\\r\n  b\r\n"
        "EXPOSE 80/tcp   82/udp\r\n"
        'LABEL org.opencontainers.image.authors="me"\r\n'
    )


@pytest.mark.parametrize(
    ("line", "fixed"),
    [
        ("CMD nginx -g 'daemon off;'", 'CMD ["nginx", "-g", "daemon off;"]'),
        ("CMD exec app --x=1", 'CMD ["app", "--x=1"]'),
        ("CMD app $X", None),
        ("CMD a && b", None),
        ("CMD a > b", None),
        ("CMD X=1 app", None),
        ("CMD cd /x", None),
        ("CMD *.sh", None),
        ("CMD a \\\n  b", None),
        ("CMD " + "a" * 5000 + "$", None),
    ],
)
def test_json_only_where_no_shell_is_needed(line: str, fixed: str | None) -> None:
    """What a shell would change is left to it; long lines cost nothing."""
    text = f"FROM scratch\n{line}\n"
    assert mended(text, unsafe=True) == (f"FROM scratch\n{fixed}\n" if fixed else text)
    assert mended(text) == text


WORDS = st.text(string.ascii_letters + " ${}'\"\\=:-", min_size=1, max_size=20)


@given(WORDS)
def test_a_legacy_value_stays_the_same(value: str) -> None:
    """Whatever stands in it: quotes, variables, blanks."""
    lexer = Lexer()
    variables = {"a": "x y", "b": "'"}
    text = f"FROM scratch\nENV name {value}\n"
    before = read_dockerfile(SourceFile("Dockerfile", text))
    assume(before.error is None)
    (old,) = before.stages[0].commands
    assert isinstance(old, EnvCommand)
    assume(old.env[0].legacy)
    (new,) = read_dockerfile(SourceFile("Dockerfile", mended(text))).stages[0].commands
    assert isinstance(new, EnvCommand)
    assert new.env[0].key == old.env[0].key
    assert len(new.env) == 1
    try:
        wanted = lexer.word(old.env[0].value, variables)
    except UserError:
        return
    assert lexer.word(new.env[0].value, variables) == wanted


def test_a_legacy_value_on_several_lines() -> None:
    """It stays where it is; one that starts below the name has blanks that a quote would keep."""
    assert mended("FROM scratch\nENV a b \\\n  c\n") == 'FROM scratch\nENV a="b \\\n  c"\n'
    text = "FROM scratch\nENV a \\\n  b c\n"
    assert mended(text) == text


def test_a_word_over_two_lines_is_not_touched() -> None:
    """It stands nowhere as a whole."""
    text = "FROM scratch as Na\\\nme\nEXPOSE 80/T\\\nCP\n"
    assert [rule for _, rule in found(text)] == [
        "FromAsCasing",
        "StageNameCasing",
        "ExposeProtoCasing",
    ]
    assert mended(text) == text


def test_a_directory_that_the_base_image_is_known_to_have() -> None:
    """A relative WORKDIR becomes the path that it is now, which changes nothing."""
    base = ImageConfig(os="linux", architecture="amd64", config=ContainerConfig(working_dir="/srv"))
    (one,) = report("FROM custom\nWORKDIR app\n", BUILD, {"custom": base}).findings
    assert one.fix is not None
    assert one.fix.safe
    assert [edit.text for edit in one.fix.edits] == ["/srv/"]
    (one,) = report("FROM custom\nWORKDIR app\n").findings
    assert one.fix is not None
    assert not one.fix.safe


def test_large_files_take_no_longer_a_line() -> None:
    """Ten thousand instructions with findings are judged at once, one after the other."""
    text = "FROM scratch\n" + "ENV key value\nCMD app\nEXPOSE 80/TCP\n" * 3000
    assert len(found(text)) > 9000
