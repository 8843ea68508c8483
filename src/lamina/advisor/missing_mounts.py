"""The rule behind all rules "use a cache mount for …": calls whose caches nothing keeps.

What such a fix may not do, and so does not:
- hide files that something else reads: where any other instruction names the folder, or brings
  files there, it is left alone;
- mount a store for one step and not for the next, which reads it: all or none;
- leave commands in place that empty what was just mounted, or fail because it is mounted.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from lamina.advisor.cleaning import cleaning, taken_out
from lamina.advisor.editing import add_flags, remove_word, replace_word
from lamina.advisor.finding import Edit, Finding, Fix
from lamina.advisor.folders import misplaced
from lamina.advisor.mounts import Need, covered, mounts_of, owner, within
from lamina.advisor.needs import configured, needed
from lamina.advisor.project import Project
from lamina.advisor.stagestate import Place, StageState, walk
from lamina.advisor.tools.recognition import Use, calls, cleans, switched_off, uses
from lamina.advisor.tools.tool import Tool
from lamina.dockerfile.instructions.commands import (
    AddCommand,
    CmdCommand,
    CopyCommand,
    EntrypointCommand,
)

MoreEdits = Callable[[Place, Sequence[Use]], Iterable[Edit]]
MoreNeeds = Callable[[Place, Sequence[Use]], Iterable[Need]]

_UPDATES = ("-U", "-u", "--update", "--update-cache")  # of apk


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A RUN whose calls of a tool have nothing to keep their caches."""

    place: Place
    uses: tuple[Use, ...]
    needs: tuple[Need, ...]


def missing_mounts(
    project: Project,
    tool: Tool,
    *,
    rule: str,
    more: MoreEdits | None = None,
    before: MoreNeeds | None = None,
    on: Callable[[StageState], Tool | None] | None = None,
) -> Iterator[Finding]:
    """A finding for every RUN that lacks a cache mount for the tool.

    `more` are edits that the fix makes besides, `before` are mounts that go along with the
    tool's own. `on` gives the tool as it is in a stage, None where nothing is known of it.
    """
    found = [
        one
        for place in walk(project)
        if (there := on(place.state) if on is not None else tool) is not None
        and (one := missing(project, place, there, before)) is not None
    ]
    if tool.store and _used_at_run_time(project, tool):
        return
    fixes = {one.place.command.span.start: _fix(project, one, tool, more) for one in found}
    together = tool.store and all(fixes.values())
    for one in found:
        fix = fixes[one.place.command.span.start]
        if tool.store:
            all_edits = tuple(edit for each in fixes.values() if each for edit in each.edits)
            fix = msgspec.structs.replace(fix, edits=all_edits) if together and fix else None
        yield finding(one, tool, rule, fix)


def finding(one: Missing, tool: Tool, rule: str, fix: Fix | None) -> Finding:
    """What is said of a RUN that lacks a mount."""
    run = one.place.run
    assert run is not None
    folders = " and ".join(need.folder for need in one.needs if not need.extra)
    off = next((name for use in one.uses if (name := switched_off(tool, use.call))), None)
    message = f"{one.uses[0].call.program} fetches everything again: nothing keeps {folders}"
    if off is not None:
        message = f"{one.uses[0].call.program} fetches everything again: {off} turns its cache off"
    return Finding(rule=rule, span=run.node.code, message=message, fix=fix)


def missing(
    project: Project, place: Place, tool: Tool, before: MoreNeeds | None = None
) -> Missing | None:
    """What a RUN lacks for the tool; None where that is nothing, or not known."""
    if place.run is None or not place.run.whole:
        return None
    found = tuple(uses(place.run, place.state, (tool,)))
    if not found or configured(project, tool):
        return None
    needs = needed(place, found)
    if needs and before is not None:
        needs = (*before(place, found), *needs)
    mounts = mounts_of(project.dockerfile, place)
    left = tuple(need for need in needs if not covered(need, mounts))
    if all(need.extra for need in left):
        return None
    if not all(private(project, need.folder, tool) for need in left):
        return None
    if any(wrong.tool is tool and len(wrong.needs) == 1 for wrong in misplaced(project, place)):
        return None  # its mount is there, and has to be moved
    return Missing(place=place, uses=found, needs=left)


def _fix(project: Project, one: Missing, tool: Tool, more: MoreEdits | None) -> Fix | None:
    run, state = one.place.run, one.place.state
    assert run is not None
    flags = [need.flag() for need in one.needs]
    known = [flag for flag in flags if flag is not None]
    elevated = any(use.call.elevated for use in one.uses)
    off = any(switched_off(tool, use.call) for use in one.uses)
    if off or len(known) < len(flags) or (owner(state) is None and not elevated):
        return None
    taken = taken_out(run, state, cleaning(run, state, tool, [need.folder for need in one.needs]))
    enabled = enabling(one.place, one.uses)
    if taken is None or enabled is None:
        return None
    edits = (add_flags(project.dockerfile, run.node, known), *enabled, *taken.edits)
    return Fix(
        title=f"keep what {tool.name} downloads in a cache mount",
        edits=(*edits, *(more(one.place, one.uses) if more is not None else ())),
        safe=tool.safe and taken.safe and _parents_writable(one, tool),
    )


def _parents_writable(one: Missing, tool: Tool) -> bool:
    """Whether everything that the user could write to stays so.

    Folders above a mount that are not there are made for it, and belong to root: in `~/.m2` of
    an ordinary user nothing but the mount can be written to then. The tools that keep to their
    own folder in `~/.cache` do not mind, if they are alone in their step.
    """
    run, state = one.place.run, one.place.state
    if run is None or state.root:
        return True
    parents = {posixpath.dirname(need.folder) for need in one.needs}
    shared = f"{state.home}/.cache"
    own = {use.call.invocation.start for use in one.uses}
    alone = all(
        call.invocation.start in own or cleans(call, tool) or call.program == "rm"
        for call in calls(run, state)
    )
    return parents <= {state.home, "/", "/tmp", *((shared,) if alone else ())}


def enabling(place: Place, found: Sequence[Use]) -> tuple[Edit, ...] | None:
    """Takes out the flags that turn the cache off; None where one cannot be."""
    edits: list[Edit] = []
    for use in found:
        word = use.call.has(use.tool.disabling)
        if word is None:
            continue
        assert place.run is not None
        edit: Edit | None
        if use.tool.instead and use.call.has(_UPDATES) is None:
            edit = replace_word(place.run, word, use.tool.instead)
        else:
            edit = remove_word(place.run, use.call.invocation, word)
        if edit is None:
            return None
        edits.append(edit)
    return tuple(edits)


def private(project: Project, path: str, tool: Tool) -> bool:
    """Whether nothing else in the file reads or fills a folder, as far as can be seen."""
    for place in walk(project):
        match place.command:
            case CopyCommand() | AddCommand():
                if _copies(place, path, tool):
                    return False
            case _ if place.run is not None and _mentions(place, path, tool):
                return False
    return True


def _copies(place: Place, path: str, tool: Tool) -> bool:
    command = place.command
    assert isinstance(command, CopyCommand | AddCommand)
    if isinstance(command, CopyCommand) and command.from_:
        for source in command.sources:
            known = place.state.expand(source)
            absolute = "/" + known.strip("/") if known is not None else None
            if absolute is not None and absolute != "/" and within(absolute, path):
                return True
            if absolute not in (None, "/") and tool.store and within(path, absolute or "/"):
                return True
    dest = place.state.expand(command.dest)
    target = place.state.path(dest) if dest is not None else None
    return target is not None and within(target, path)


def _mentions(place: Place, path: str, tool: Tool) -> bool:
    """Whether a script names the folder other than to empty it."""
    run, state = place.run, place.state
    assert run is not None
    names = [path]
    if state.home is not None and within(path, state.home) and state.home != "/":
        names += [mark + path[len(state.home) :] for mark in ("~", "$HOME", "${HOME}")]
    if not any(name in run.text for name in names):
        return False
    found = cleaning(run, state, tool, (path,))
    emptied = [step.invocations[0] for step in found.steps]
    emptied += [call.invocation for call, _ in found.words]
    emptied += [call.invocation for call in found.stuck]
    flagged = {use.call.invocation.start for use in uses(run, state, (tool,))}
    return any(
        name in word.raw
        for invocation in run.invocations()
        if invocation not in emptied and invocation.start not in flagged
        for word in invocation.arguments
        for name in names
    )


def _used_at_run_time(project: Project, tool: Tool) -> bool:
    """Whether containers of an image run the tool, which then needs its store."""
    for stage in project.dockerfile.stages:
        for command in stage.commands:
            if isinstance(command, CmdCommand | EntrypointCommand):
                words = " ".join(command.line.words).split()
                runs = any(word.rpartition("/")[2] in tool.programs for word in words[:3])
                if runs and not (tool.name == "dotnet" and _runs_assembly(words)):
                    return True
    return False


def _runs_assembly(words: Sequence[str]) -> bool:
    """`dotnet app.dll` runs what was published, with all it needs beside it."""
    return any(word.endswith((".dll", ".exe")) for word in words)
