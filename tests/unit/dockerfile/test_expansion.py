"""Variables and quotes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.dockerfile.expansion import Lexer
from lamina.dockerfile.patterns import replace_matches, trim_prefix, trim_suffix
from lamina.dockerfile.problems import ExpansionError

ENV = {"A": "a", "EMPTY": "", "WORDS": " x  y ", "PATH": "/usr/lib/a.tar.gz", "COST": "$5"}
PIECES = st.sampled_from(
    (
        *("$", "{", "}", ":", "-", "+", "?", "#", "%", "/", "*", "\\", "`", "'", '"', "<"),
        *("${A:-", "${PATH%", "${PATH//", "${U?", " ", "x", "\n", "ä", "A", "EMPTY"),
    )
)
SOURCES = st.lists(PIECES, max_size=25).map("".join)
LEXERS = st.builds(
    Lexer,
    escape=st.sampled_from(("\\", "`")),
    raw_quotes=st.booleans(),
    raw_escapes=st.booleans(),
    skip_quotes=st.booleans(),
    skip_unset=st.booleans(),
)


@given(LEXERS, SOURCES)
def test_nothing_but_an_expansion_error(lexer: Lexer, source: str) -> None:
    """Every text is expanded, or refused in a sentence that starts with the text."""
    try:
        expansion = lexer.expand(source, ENV)
    except ExpansionError as error:
        assert error.message.startswith('failed to process "')  # noqa: PT017
        return
    assert all(expansion.words)
    assert expansion.matched <= set(ENV)
    assert not expansion.unmatched & set(ENV)


@given(st.text(alphabet="abc /=.,-_", max_size=20))
def test_plain_text_stays(text: str) -> None:
    """Without quotes, escapes and references the text is the result, and blanks separate words."""
    expansion = Lexer().expand(text, ENV)
    assert expansion.text == text
    assert expansion.words == tuple(text.split())


@given(st.text(alphabet="a\"$\\'` {}", max_size=20))
def test_all_raw_modes_change_nothing(text: str) -> None:
    """With raw quotes and escapes and unset variables kept, a word without `${` is itself."""
    lexer = Lexer(raw_escapes=True, skip_quotes=True, skip_unset=True)
    if "${" not in text:
        assert lexer.word(text, {}) == text


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("$A${A}", "aa"),
        ("$U|${U}", "|"),
        ("${EMPTY:-d} ${EMPTY-d} ${U:-d} ${U-d}", "d  d d"),
        ("${EMPTY:+d} ${EMPTY+d} ${U:+d} ${U+d} ${A:+d}", " d   d"),
        ("${U:-${A:-x}}", "a"),
        ("${U:-'}'}", "}"),
        ("'$A' \"$A\" \\$A", "$A a $A"),
        ('"\\a\\"\\$\\\\"', '\\a"$\\'),
        ("${PATH#*/} ${PATH##*/}", "usr/lib/a.tar.gz a.tar.gz"),
        ("${PATH%.*} ${PATH%%.*}", "/usr/lib/a.tar /usr/lib/a"),
        ("${PATH/\\//-} ${PATH//\\//-}", "-usr/lib/a.tar.gz -usr-lib-a.tar.gz"),
        ("$1x $?y", "x y"),
        ("a\\", "a"),
    ],
)
def test_forms(source: str, result: str) -> None:
    """Every form of a reference gives what the table of the reference manual says."""
    assert Lexer().word(source, ENV) == result


def test_text_before_a_nested_word_is_kept() -> None:
    """A default within a word does not swallow what stands before it."""
    assert Lexer().words("80${U:-80}/tcp x", ENV) == ("8080/tcp", "x")


def test_words_come_out_of_variables() -> None:
    """Blanks in a value separate words, unless quoted."""
    assert Lexer().words('a$WORDS"$WORDS"', ENV) == ("a", "x", "y", " x  y ")


def test_matches_are_told() -> None:
    """Names are matched if they are set, also if their value is not used."""
    expansion = Lexer().expand("${A:+$U}${V:-w}", ENV)
    assert expansion.matched == frozenset(("A",))
    assert expansion.unmatched == frozenset(("U", "V"))


@pytest.mark.parametrize("escape", ["\\", "`"])
def test_the_escape_letter_is_the_file_s(escape: str) -> None:
    """Only the escape letter of the file takes the meaning of a dollar."""
    other = "`" if escape == "\\" else "\\"
    lexer = Lexer(escape=escape)
    assert lexer.word(f"{escape}$A{other}$A", ENV) == f"$A{other}a"


def test_deep_nesting_is_refused() -> None:
    """A hundred substitutions within each other are enough."""
    with pytest.raises(ExpansionError):
        Lexer().word("${U:-" * 5000 + "}" * 5000, ENV)


@given(st.text("ab*?", max_size=6), st.text("ab\n", max_size=8), st.booleans())
def test_trimmed_prefix_is_one_that_matches(pattern: str, value: str, longest: bool) -> None:
    """What is cut off is the shortest, or longest, of all prefixes that match."""
    ends = [i for i in range(len(value) + 1) if _matches(pattern, value[:i])]
    expected = value if not ends else value[(max if longest else min)(ends) :]
    assert trim_prefix(pattern, value, longest=longest) == expected
    backwards = trim_suffix(pattern[::-1], value[::-1], longest=longest)
    assert backwards == expected[::-1]


def _matches(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return _matches(pattern[1:], text) or (
            text[:1] not in ("", "\n") and _matches(pattern, text[1:])
        )
    first = text[:1]
    fits = first not in ("", "\n") if pattern[0] == "?" else first == pattern[0]
    return fits and _matches(pattern[1:], text[1:])


def test_many_stars_take_no_time() -> None:
    """The time to match grows with the length of the value, not with its power."""
    assert trim_prefix("*a" * 20 + "b", "a" * 5000, longest=False) == "a" * 5000


@pytest.mark.parametrize(
    ("pattern", "replacement", "result"),
    [("b", "$0$0", "abbac"), ("", "-", "-a-b-a-c-"), ("*", "x", "x"), ("?", "$$", "$$$$")],
)
def test_replacing_everything(pattern: str, replacement: str, result: str) -> None:
    """Empty matches count between letters, not behind a match; `$0` is the match."""
    assert replace_matches(pattern, "abac", replacement, everywhere=True) == result
