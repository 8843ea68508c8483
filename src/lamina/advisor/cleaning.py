"""What empties the caches of a tool again, in the very script that fills them.

Where a folder is a cache mount, that is work for nothing; and `rm -rf` of the mounted folder itself
fails, since what is mounted cannot be removed.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from lamina.advisor.editing import remove_word
from lamina.advisor.finding import Edit
from lamina.advisor.mounts import related, within
from lamina.advisor.runs import Run
from lamina.advisor.shell.script import Step, Word
from lamina.advisor.stagestate import StageState
from lamina.advisor.tools.recognition import Call, calls, cleans, filled, uses, word_value
from lamina.advisor.tools.table import TOOLS
from lamina.advisor.tools.tool import Tool

_GLOB = re.compile(r"[*?\[{]")
_STRICT = re.compile(r"^\s*set\s+-\w*e|^#!.*\s-\w*e|\bset\s+-o\s+errexit", re.MULTILINE)
_CHAINS = (frozenset(("&&",)), frozenset((";", "\n")))


class Cleaning(msgspec.Struct, frozen=True, kw_only=True):
    """What a script removes of the caches.

    `steps` do nothing else; `words` are arguments of commands that do more. `stuck` are those that
    cannot be taken out by an edit.
    """

    steps: tuple[Step, ...] = ()
    words: tuple[tuple[Call, Word], ...] = ()
    stuck: tuple[Call, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps or self.words or self.stuck)


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """The edits that take the cleaning out. `safe` is false where the script's result was that of
    a command that is taken out, whatever went before.
    """

    edits: tuple[Edit, ...]
    safe: bool = True


def cleaning(run: Run, state: StageState, tool: Tool, folders: Sequence[str]) -> Cleaning:
    """What empties `folders`, which are caches of the tool."""
    steps: list[Step] = []
    words: list[tuple[Call, Word]] = []
    stuck: list[Call] = []
    places = _Places(state, tool, folders)
    for call in calls(run, state):
        removed = places.removed(call)
        everything = cleans(call, tool) or (removed and removed == places.arguments(call))
        if not everything and not removed:
            stuck += [call] if places.endangered(call) else []
            continue
        step = _only_command(run, call)
        if places.endangered(call) or step is None:
            stuck.append(call)
        elif everything:
            steps.append(step)
        else:
            words += ((call, word) for word in removed)
    return Cleaning(steps=tuple(steps), words=tuple(words), stuck=tuple(stuck))


def taken_out(run: Run, state: StageState, found: Cleaning) -> Taken | None:
    """The edits that leave the rest of the script as it is; None where there are none."""
    if found.stuck:
        return None
    edits = [remove_word(run, call.invocation, word) for call, word in found.words]
    cuts = _cuts(run, found.steps)
    if cuts is None or None in edits:
        return None
    return Taken(
        edits=(*(edit for edit in edits if edit is not None), *cuts),
        safe=not found.steps or _same_result(run, state, found.steps),
    )


class _Places:
    """The folders, and what may be removed with them."""

    def __init__(self, state: StageState, tool: Tool, folders: Sequence[str]) -> None:
        known = {name: value for name, value in state.variables.items() if value}
        roots = (filled(root, known, state.home) for root in tool.roots)
        self._state = state
        self._folders = tuple(folders)
        near = (root for root in roots if root and any(related(root, one) for one in folders))
        self._caches = [*folders, *near]
        if state.home is not None and any(within(f, f"{state.home}/.cache") for f in folders):
            self._exact = f"{state.home}/.cache"
        else:
            self._exact = ""

    def arguments(self, call: Call) -> list[Word]:
        return [word for word in call.words[1:] if not word.raw.startswith("-")]

    def removed(self, call: Call) -> list[Word]:
        """The arguments of `rm` that are caches."""
        if call.program != "rm":
            return []
        return [word for word in self.arguments(call) if self._is_cache(word)]

    def endangered(self, call: Call) -> bool:
        """Whether `rm` removes a folder that a cache lies in, and which is more than that."""
        if call.program != "rm":
            return False
        rest = [word for word in self.arguments(call) if not self._is_cache(word)]
        return any(self._may_hold(word) for word in rest)

    def _is_cache(self, word: Word) -> bool:
        path = self._path(word)
        if path is None or "{" in path:
            return False
        fixed = _fixed_part(path)
        return fixed == self._exact or any(within(fixed, cache) for cache in self._caches)

    def _may_hold(self, word: Word) -> bool:
        path = self._path(word)
        if path is None:
            return any(posixpath.dirname(folder) in word.raw for folder in self._folders)
        if not path.startswith("/"):
            return False
        return any(within(folder, _fixed_part(path)) for folder in self._folders)

    def _path(self, word: Word) -> str | None:
        value = word_value(word, self._state)
        return value if value is None or value.startswith("/") else self._state.path(value)


def _fixed_part(path: str) -> str:
    """The folder up to the first pattern: of `/var/lib/apt/lists/*` all but the last part."""
    match = _GLOB.search(path)
    return posixpath.normpath(path[: match.start()].rpartition("/")[0] or "/" if match else path)


def _only_command(run: Run, call: Call) -> Step | None:
    """The step that is this command and nothing else."""
    for step in run.steps:
        if call.invocation in step.invocations:
            alone = len(step.invocations) == 1 and not call.invocation.inside
            return step if alone else None
    return None


def _cuts(run: Run, steps: Sequence[Step]) -> Iterable[Edit] | None:
    """What to cut so that the steps are gone; None where the others would do something else."""
    cuts: list[tuple[int, int]] = []
    for first, last in _groups(run, steps):
        cut = _cut(run.steps, first, last)
        if cut is None:
            return None
        cuts.append(cut)
    return [Edit(run.span(*cut), "") for cut in cuts]


def _groups(run: Run, steps: Sequence[Step]) -> Iterator[tuple[int, int]]:
    """Neighbours among the steps, as the indices of the first and the last."""
    indices = sorted(run.steps.index(step) for step in steps)
    start = 0
    for at, index in enumerate(indices):
        if at + 1 == len(indices) or indices[at + 1] != index + 1:
            yield indices[start], index
            start = at + 1


def _cut(steps: Sequence[Step], first: int, last: int) -> tuple[int, int] | None:
    before = steps[first - 1] if first else None
    after = steps[last + 1] if last + 1 < len(steps) else None
    between = {step.operator for step in steps[first + 1 : last + 1]}
    around = {steps[first].operator, *((after.operator,) if after is not None else ())}
    if not any(between <= chain for chain in _CHAINS) or around & {"||", "&", "|"}:
        return None
    if after is not None and (before is None or steps[first].operator != "&&"):
        return steps[first].start, after.start
    return (before.end, steps[last].end) if before is not None else None


def _same_result(run: Run, state: StageState, steps: Sequence[Step]) -> bool:
    """Whether the script fails where it failed before, and nowhere else."""
    last = run.steps[-1]
    if last not in steps or last.operator == "&&" or _STRICT.search(run.text):
        return True
    left = [step for step in run.steps if step not in steps]
    kept = left[-1].invocations if left else ()
    return len(kept) == 1 and any(use.call.invocation == kept[0] for use in uses(run, state, TOOLS))
