"""`# check=skip=A,B;error=true`: what a file says of its own checks, at its top or above one of its
instructions.

    skip=A,B|all           these rules are not looked at
    experimental=A,B|all   these experimental rules are, which otherwise are not
    error=true             findings of Docker's own rules fail a build

At the top the directive is for the whole file; as a comment above an instruction it is added to
that, for this instruction alone. The build argument BUILDKIT_DOCKERFILE_CHECK takes the place of
the directive at the top.
Source: the Dockerfile reference, "check"; where it is silent, BuildKit.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from lamina.advisor.project import Project
from lamina.advisor.rule import Rule
from lamina.dockerfile.directives import DirectiveReader, find_directive, first_word
from lamina.errors import UserError
from lamina.notation.boolean import parse_bool
from lamina.notation.gostrings import quote
from lamina.source import Span

ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
_ALL = "all"
_MOST_OPTIONS = 3


class CheckOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which rules are looked at; `all` among the names stands for every rule."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def allow(self, rule: Rule) -> bool:
        if rule.experimental:
            return not self.experimental.isdisjoint((_ALL, rule.name))
        return self.skip.isdisjoint((_ALL, rule.name))

    def merged(self, more: CheckOptions) -> CheckOptions:
        """With those of a comment. Only the whole file can make findings errors."""
        return CheckOptions(
            skip=self.skip | more.skip,
            experimental=self.experimental | more.experimental,
            error=self.error,
        )


def parse_check_options(text: str) -> CheckOptions:
    """Raises UserError."""
    found: dict[str, str] = {}
    for part in text.strip().split(";", _MOST_OPTIONS - 1) if text.strip() else ():
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals or name not in ("skip", "experimental", "error"):
            raise UserError(f"invalid check option {quote(name if equals else part)}")
        found[name] = value.strip()
    error = parse_bool(found.get("error", "false"))
    if error is None:
        raise UserError(f"failed to parse check option {quote('error=' + found['error'])}")
    return CheckOptions(
        skip=_names(found.get("skip", "")),
        experimental=_names(found.get("experimental", "")),
        error=error,
    )


def file_options(project: Project) -> CheckOptions:
    """Those of the whole file. Raises UserError, with its place."""
    asked = project.asked
    if asked is not None and (given := asked.build_args.get(ARGUMENT)) is not None:
        try:
            return parse_check_options(given)
        except UserError as error:
            error.message = f"failed to parse build-arg:{ARGUMENT}: {error.message}"
            raise
    source = project.dockerfile.source
    directive = find_directive("check", source.text)
    if directive is None:
        return CheckOptions()
    try:
        return parse_check_options(first_word(directive.value))
    except UserError as error:
        error.message = f"failed to parse check options: {error.message}"
        start = source.line_starts[directive.line - 1]
        error.place(Span(source, start, start + len(source.line(directive.line))))
        raise


def comment_options(comments: Iterable[str]) -> CheckOptions:
    """Those of the comments above an instruction: of the first that has any; wrong ones say
    nothing.
    """
    for comment in comments:
        directive = DirectiveReader(comment="").read(comment)
        if directive is not None and directive.name == "check":
            try:
                return parse_check_options(first_word(directive.value))
            except UserError:
                break
    return CheckOptions()


def _names(text: str) -> frozenset[str]:
    """`all` stands alone, or for nothing."""
    names = frozenset(name.strip() for name in text.split(","))
    return names if text == _ALL else names - {"", _ALL}
