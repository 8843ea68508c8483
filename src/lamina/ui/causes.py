"""Causes in words: each as what may stand behind "because"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

from lamina.cachekey.difference import FileGroup
from lamina.trace import explanation as e
from lamina.ui.quantities import render_age

_SHORT_DIGEST = 19  # letters of `sha256:…` that are shown
_LONGEST = 72  # letters of an instruction that are shown
_NAMED = 3
_UMASKS = (0o022, 0o002, 0o007, 0o027, 0o077, 0o000, 0o026, 0o037)
_SETTINGS = {
    "directory": "the working directory",
    "user": "the user",
    "platform": "the platform",
    "network": "the network mode",
    "hostname": "the host name",
    "hosts": "--add-host",
    "instruction": "what the instruction means",
    "limits": "the limits (--ulimit, --shm-size)",
}


def clause(cause: e.Cause, *, now: float, steps: dict[int, str]) -> str:
    """`now` in seconds since 1970; `steps` are the names of steps by their number."""
    match cause:
        case e.FilesChanged():
            where = f" in {cause.origin}" if cause.origin else ""
            return render_files(cause.groups) + where
        case e.FilesDiffer(source=source, origin=origin):
            return f"the files of {source} changed" + (f" in {origin}" if origin else "")
        case e.VariableChanged():
            return _variable(cause)
        case e.BaseMoved():
            return _base(cause)
        case e.InstructionChanged(before="", after=after):
            return f"the instruction changed; it is now {quoted(after)}"
        case e.InstructionChanged(before=before, after=after):
            return f"the instruction changed from {quoted(before)} to {quoted(after)}"
        case e.StepAdded(text=text):
            return f"{quoted(text)} is new in the Dockerfile"
        case e.StepRemoved(text=text):
            return f"{quoted(text)} was removed from the Dockerfile"
        case e.SettingChanged(name=name, before=before, after=after):
            return _setting(name, before, after)
        case e.MountChanged():
            return _mount(cause)
        case e.Removed():
            return _removed(cause, now)
        case e.FailedBefore(build=build, at=at, error=error):
            return (
                f"it did not end well in build {build[:12]} ({render_age(now - at)}): "
                f"{_cut(error, _LONGEST)}"
            )
        case e.ForcedBy(flag=flag):
            return f"{flag} was given"
        case e.NeverBuiltHere():
            return "it was never built here"
        case e.NotHeld(caches=caches):
            return f"it was never built here, and {_listed(caches)} did not hold it"
        case e.UnknownHere():
            return "its result is not in this cache, though the inputs are the same"
        case e.NotCacheable(why=why):
            return why
        case e.Follows(step=step, files=files):
            told = f": {render_files(files)}" if files else ""
            return f"follows from {steps.get(step, f'step {step}')}{told}"
        case e.InputDiffers(name=name):
            return f"what it stands on{f' ({name})' if name else ''} is not what it was"
        case _:
            assert_never(cause)


def render_files(groups: Sequence[FileGroup]) -> str:
    """`app.py changed and 2 files were added (a, b)`; modes with what has likely changed them."""
    modes = [group for group in groups if group.kind == "mode"]
    clauses = [_group(group) for group in groups if group.kind != "mode"]
    if modes:
        clauses.append(_modes(modes))
    return " and ".join(clauses)


def _group(group: FileGroup) -> str:
    one = group.count == 1
    match group.kind:
        case "changed":
            what = "changed"
        case "added" | "removed":
            what = f"{'was' if one else 'were'} {group.kind}"
        case "owner" | "mode":
            if one:
                return f"the {group.kind} of {group.paths[0]} went {_arrow(group)}"
            return f"{group.kind}s {_arrow(group)} on {_count(group)}"
        case _:
            assert_never(group.kind)
    if one:
        return f"file {group.paths[0]} {what}"
    return f"{group.count} files {what} ({_names(group)})"


def _arrow(group: FileGroup) -> str:
    return f"{group.before} → {group.after}"


def _count(group: FileGroup) -> str:
    return f"{group.count} files ({_names(group)})"


def _names(group: FileGroup) -> str:
    shown = ", ".join(group.paths[:_NAMED])
    return shown + (", …" if group.count > _NAMED else "")


def _modes(groups: Sequence[FileGroup]) -> str:
    """Modes are told together: one umask changes those of files and of directories."""
    if len(groups) == 1 and groups[0].count == 1:
        return _group(groups[0])
    told = " and ".join(f"{_arrow(group)} on {_files(group.count)}" for group in groups[:_NAMED])
    left = sum(group.count for group in groups[_NAMED:])
    more = f" and others on {_files(left)}" if left else ""
    return f"modes {told}{more}{_likely(groups)}"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _likely(groups: Iterable[FileGroup]) -> str:
    """What has likely changed the modes of several files."""
    causes = {_umasks(int(group.before, 8), int(group.after, 8)) for group in groups}
    if len(causes) == 1 and (umasks := causes.pop()) is not None:
        return f": a different umask ({umasks[0]:04o} → {umasks[1]:04o})"
    if all((int(g.before, 8) ^ int(g.after, 8)) & 0o111 for g in groups):
        return ": a file system or checkout that does not keep the executable bit"
    return ""


def _umasks(before: int, after: int) -> tuple[int, int] | None:
    """The umasks that give these modes to files, or to directories and programs."""
    for made in (0o666, 0o777):
        old = next((mask for mask in _UMASKS if made & ~mask == before), None)
        new = next((mask for mask in _UMASKS if made & ~mask == after), None)
        if old is not None and new is not None and old != new:
            return old, new
    return None


def _variable(cause: e.VariableChanged) -> str:
    kind = "build argument" if cause.argument else "variable"
    match cause.before, cause.after:
        case None, str(after):
            change = f"{kind} {cause.name} was added ({_value(after)})"
        case str(before), None:
            change = f"{kind} {cause.name} is gone (it was {_value(before)})"
        case before, after:
            change = f"{kind} {cause.name} went from {_value(before)} to {_value(after)}"
    place = f"declared in line {cause.line}" if cause.line else ""
    unused = "" if cause.used else "the step does not name it"
    if cause.through:
        unused = f"{cause.through} is made of it"
    notes = ", ".join(filter(None, [place, unused]))
    return f"{change} ({notes})" if notes else change


def _value(text: str | None) -> str:
    return _cut(text, _LONGEST) if text else '""'


def _base(cause: e.BaseMoved) -> str:
    if cause.was:
        return f"the base image is {cause.name} instead of {cause.was}"
    name = f"base image {cause.name}" if cause.name else "the base image"
    if cause.before and cause.after:
        return f"{name} moved from {_digest(cause.before)} to {_digest(cause.after)}"
    return f"{name} moved" + (f" to {_digest(cause.after)}" if cause.after else "")


def _digest(digest: str) -> str:
    return digest[:_SHORT_DIGEST]


def _setting(name: str, before: str | None, after: str | None) -> str:
    kind, _, rest = name.partition(":")
    if kind == "heredoc":
        return f"the heredoc {rest} changed"
    what = _SETTINGS.get(name, name)
    return f"{what} went from {_value(before)} to {_value(after)}"


def _mount(cause: e.MountChanged) -> str:
    kind = (cause.after or cause.before or "").partition(" ")[0]
    what = f"the {kind} mount {cause.target}" if kind else f"the mount {cause.target}"
    if cause.before is None:
        return f"{what} was added"
    if cause.after is None:
        return f"{what} was removed"
    return f"{what} changed ({_value(cause.before)} → {_value(cause.after)})"


def _removed(cause: e.Removed, now: float) -> str:
    made = f", made {render_age(now - cause.built)}" if cause.built is not None else ""
    where = f" in build {cause.build[:12]}" if cause.build else ""
    if cause.source:
        return f"{cause.source} does not hold the layers of its result any more"
    if cause.at is not None:
        when = render_age(now - cause.at)
        return f"its result{made}{where}{',' if made else ''} was removed by {cause.by} {when}"
    return f"its result{made}{where}{',' if made else ''} is gone from the store"


def quoted(text: str) -> str:
    """An instruction in a sentence."""
    return f"`{_cut(' '.join(text.split()), _LONGEST)}`"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)
