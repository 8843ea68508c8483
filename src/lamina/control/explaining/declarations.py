"""Where the Dockerfile of a record says what: the text of a step, the declaration of a variable."""

from __future__ import annotations

import re
from functools import cached_property

import msgspec

from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.instructions.parse import parse
from lamina.dockerfile.parser import parse_syntax
from lamina.errors import LaminaError
from lamina.source import SourceFile
from lamina.trace.record import BuildRecord

_REFERENCE = re.compile(r"\$\{?(\w+)")


class Declared(msgspec.Struct, frozen=True):
    """A variable's declaration: its line, and the value as it is written there."""

    line: int
    argument: bool
    value: str | None


class Declarations(msgspec.Struct, dict=True):
    """The Dockerfile of a build, to be asked. One that cannot be parsed knows nothing."""

    record: BuildRecord

    @cached_property
    def _parsed(self) -> tuple[tuple[c.Stage, ...], tuple[c.ArgCommand, ...]]:
        try:
            syntax = parse_syntax(SourceFile(self.record.dockerfile, self.record.text))
            stages, arguments = parse(syntax)
        except LaminaError:
            return (), ()
        return tuple(stages), tuple(arguments)

    def written(self, line: int) -> str:
        """The instruction that begins on a line, as it is written; "" where none does."""
        for stage in self._parsed[0]:
            for command in (stage, *stage.commands):
                if command.span.line == line:
                    return command.span.text
        return ""

    def writes(self, text: str) -> bool:
        """Whether some instruction is written like this."""
        return any(
            command.span.text == text
            for stage in self._parsed[0]
            for command in (stage, *stage.commands)
        )

    def variable(self, name: str, *, line: int) -> Declared | None:
        """The declaration that holds for the step on `line`."""
        stages, arguments = self._parsed
        stage = next((s for s in reversed(stages) if s.span.line <= line), None)
        visited = 0
        while stage is not None and visited <= len(stages):
            found = None
            for command in stage.commands:
                if command.span.line >= line:
                    break
                found = _declaration(command, name) or found
            if found is not None:
                return found
            below = stage.base_name.lower()
            stage = next((s for s in stages if s.name and s.name.lower() == below), None)
            line, visited = 1 << 31, visited + 1
        for command in arguments:
            if (found := _declaration(command, name)) is not None:
                return found
        return None

    def value(self, name: str, *, line: int) -> str | None:
        """What a variable is for the step on `line`, as far as it is written down somewhere."""
        found = self.variable(name, line=line)
        given = self.record.request.get("build_args", {}).get(name)
        if given is not None and (found is None or found.argument):
            return str(given)
        if found is None:
            return None
        if found.value is None and found.argument:
            return next((d.value for a in self._parsed[1] if (d := _declaration(a, name))), None)
        return found.value

    def names_in(self, line: int) -> tuple[str, ...]:
        """The variables that the instruction on a line refers to."""
        return tuple(dict.fromkeys(_REFERENCE.findall(self.written(line))))

    def uses(self, name: str, *, line: int) -> bool:
        """Whether the instruction on a line names the variable."""
        return re.search(rf"\b{re.escape(name)}\b", self.written(line)) is not None


def _declaration(command: object, name: str) -> Declared | None:
    match command:
        case c.ArgCommand(args=args, span=span):
            for argument in args:
                if argument.key == name:
                    return Declared(span.line, True, argument.value)
        case c.EnvCommand(env=variables, span=span):
            for variable in variables:
                if variable.key == name:
                    return Declared(span.line, False, variable.value)
        case _:
            return None
    return None
