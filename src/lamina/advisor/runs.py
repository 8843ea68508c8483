"""The RUN instructions of a Dockerfile, with the shell that they run and the mounts they have.

Offsets of steps and words are those of the script; `Run.span` says where in the file that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import msgspec

from lamina.advisor.project import Dockerfile
from lamina.advisor.shell.script import Invocation, Script, Step, Word, parse_script
from lamina.advisor.shell.text import script_text
from lamina.dockerfile.instructions.commands import RunCommand
from lamina.dockerfile.syntax import Instruction
from lamina.source import Span

_REMEMBERED = 512


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A RUN.

    `script` is None where no shell is asked: the exec form, whose one command is `words`, or a
    heredoc that another program reads. `start` is where the script begins in the file.
    """

    node: Instruction
    command: RunCommand
    script: Script | None
    start: int
    words: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is run, for a quick look."""
        return self.script.text if self.script is not None else " ".join(self.words)

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.script.steps if self.script is not None else ()

    @property
    def whole(self) -> bool:
        """Whether all of it was understood."""
        return self.script.whole if self.script is not None else bool(self.words)

    def invocations(self) -> Iterator[Invocation]:
        """Every simple command, in order; of the exec form the one there is."""
        if self.script is not None:
            yield from self.script.invocations()
        elif self.words:
            words = (Word(raw=word, value=word, start=0, end=0) for word in self.words)
            yield Invocation(words=tuple(words), start=0, end=0)

    def span(self, start: int, end: int) -> Span:
        """The place in the file of what stands at `start` to `end` of the script."""
        return Span(self.node.span.file, self.start + start, self.start + end)


def read_run(dockerfile: Dockerfile, command: RunCommand) -> Run:
    """What a RUN runs."""
    node = dockerfile.node(command)
    text = script_text(node, escape=dockerfile.syntax.escape)
    if text is None:
        words = command.line.words if node.json else ()
        return Run(node=node, command=command, script=None, start=node.code.start, words=words)
    script = _parsed(text.text)
    return Run(node=node, command=command, script=script, start=text.start)


@lru_cache(_REMEMBERED)
def _parsed(text: str) -> Script:
    """Every rule asks for the same scripts."""
    return parse_script(text)
