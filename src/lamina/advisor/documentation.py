"""The docstring of a rule's module, read: front matter, and the examples in its fences."""

from __future__ import annotations

import re

from lamina.advisor.finding import Impact
from lamina.advisor.rule import Check, Example, Rule
from lamina.errors import InternalError

_FRONT = re.compile(r"---\n(?P<fields>.*?)\n---\n", re.DOTALL)
_HEADING = re.compile(
    r"^\*\*(?P<kind>Incorrect|Correct)(?: \((?P<title>.*)\))?:\*\*$", re.MULTILINE
)
_FENCE = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def read_rule(module: str, documentation: str, check: Check) -> Rule:
    """The rule of a module. Raises InternalError for documentation that lacks something."""
    front = _FRONT.match(documentation)
    if front is None:
        raise InternalError(f"the rule {module} has no front matter")
    fields = _fields(front["fields"])
    try:
        return Rule(
            name=fields.get("name") or module.replace("_", "-"),
            title=fields["title"],
            impact=Impact(fields["impact"]),
            impact_description=fields["impactDescription"],
            tags=tuple(fields["tags"].split(", ")),
            documentation=documentation,
            incorrect=_examples(documentation, "Incorrect"),
            correct=_examples(documentation, "Correct"),
            check=check,
            url=fields.get("url", ""),
            experimental=fields.get("experimental") == "true",
            whole_file=fields.get("skip") == "file",
        )
    except (KeyError, ValueError) as error:
        raise InternalError(f"the front matter of the rule {module}: {error}") from None


def _fields(text: str) -> dict[str, str]:
    """`name: value` a line; an indented line continues a value, which may stand in quotes."""
    pairs = (line.split(": ", 1) for line in re.sub(r"\n +", " ", text).splitlines())
    return {name: value.strip('"') for name, value in pairs}


def _examples(documentation: str, kind: str) -> tuple[Example, ...]:
    headings = [*_HEADING.finditer(documentation)]
    ends = [*(heading.start() for heading in headings[1:]), len(documentation)]
    return tuple(
        Example(
            title=heading["title"] or "",
            files=tuple(
                (_file(fence["info"]), fence["text"])
                for fence in _FENCE.finditer(documentation, heading.end(), end)
            ),
        )
        for heading, end in zip(headings, ends, strict=True)
        if heading["kind"] == kind
    )


def _file(info: str) -> str:
    """`dockerfile`, or the path behind the language (`yaml .github/workflows/build.yml`)."""
    language, _, path = info.strip().partition(" ")
    return path or language
