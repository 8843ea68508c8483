"""---
name: JSONArgsRecommended
title: JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS
  signals
impact: MEDIUM
impactDescription: the process is not told to stop, and is killed after a while
tags: docker, runtime
url: https://docs.docker.com/go/dockerfile/rule/json-args-recommended/
---

The shell form starts `/bin/sh -c`, and that is the process that is sent SIGTERM when a container is
stopped. Many shells do not pass it on: the program does not shut down, and is killed ten seconds
later. In the JSON form the program itself is started.

Where the line needs a shell (variables, pipes, `&&`), write it into a script that ends with `exec`,
or choose the shell with SHELL, which says that it is wanted.

**Incorrect (a shell around the program):**

```dockerfile
FROM nginx
CMD nginx -g "daemon off;"
```

**Correct (the program itself):**

```dockerfile
FROM nginx
CMD ["nginx", "-g", "daemon off;"]
```
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.project import Project
from lamina.dockerfile.instructions.commands import CmdCommand, EntrypointCommand
from lamina.source import Span

# Words that mean the same with and without a shell.
_PLAIN = r"[A-Za-z0-9_./:@%+,=-]"  # one letter: nested repeats would take forever
_QUOTED = r"'[^']*'|\"[^\"$`\\]*\""
_LINE = re.compile(rf"(?:(?:{_PLAIN}|{_QUOTED})+(?:[ \t]+|$))+")
_WORD = re.compile(rf"(?:{_PLAIN}|{_QUOTED})+")
_SHELLS_OWN = frozenset(
    {
        ".", ":", "[[", "alias", "bg", "break", "case", "cd", "command", "continue",
        "declare", "eval", "exit", "export", "fg", "for", "function", "getopts", "hash",
        "if", "jobs", "let", "local", "popd", "pushd", "read", "readonly", "return",
        "select", "set", "shift", "shopt", "source", "times", "trap", "type", "ulimit",
        "umask", "unalias", "unset", "until", "wait", "while"
    }
)  # fmt: skip


def check(project: Project) -> Iterator[Finding]:
    for step in project.evaluation.steps:
        command = step.written
        if not isinstance(command, CmdCommand | EntrypointCommand):
            continue
        if step.shell or not command.line.prepend_shell:
            continue
        yield Finding(
            rule="JSONArgsRecommended",
            span=command.span,
            message=(
                f"JSON arguments recommended for {command.keyword} to prevent unintended behavior "
                "related to OS signals"
            ),
            fix=_fix(command) if not step.trigger and step.os != "windows" else None,
        )


def _fix(command: CmdCommand | EntrypointCommand) -> Fix | None:
    """The words as JSON, where no shell is needed to tell what they are."""
    found = re.match(rf"{re.escape(command.keyword)}[ \t]+", command.span.text)
    if found is None:
        return None
    line = command.span.text[found.end() :]
    if not _LINE.fullmatch(line):
        return None
    words = [_unquoted(word) for word in _WORD.findall(line)]
    if words[0] == "exec" and len(words) > 1 and not words[1].startswith("-"):
        del words[0]  # the shell's way of saying the same
    if words[0] in _SHELLS_OWN or words[0] == "exec" or "=" in words[0]:
        return None
    place = Span(command.span.file, command.span.start + found.end(), command.span.end)
    text = json.dumps(words, ensure_ascii=False)
    return Fix(title="start the program itself", edits=(Edit(place, text),), safe=False)


def _unquoted(word: str) -> str:
    return "".join(
        part[1:-1] if part[0] in "'\"" else part
        for part in re.findall(rf"{_PLAIN}|{_QUOTED}", word)
    )
