"""Why a program could not be started: it is not there, may not run, or is for another machine."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from lamina.layer.entry import Kind

if TYPE_CHECKING:
    from lamina.ops.diagnosis import Facts

_MISSING: Final = 127
_UNUSABLE: Final = 126
_HEAD: Final = 4096
_EXECUTABLE: Final = 0o111
_ALIKE: Final = 0.7  # of difflib's ratio

_SAID_MISSING = (
    re.compile(r'exec: "(?P<name>[^"]+)": (?:executable file not found|stat .*no such file)'),
    re.compile(r"^exec (?P<name>\S+): no such file or directory"),
    re.compile(
        r"env: (?:can't execute )?['\u2018\"]?(?P<name>[^'\u2019\":]+?)['\u2019\"]?: No such file"
    ),
    re.compile(r"(?:^|: )(?P<name>[^\s:]+): [^\s:]+: bad interpreter: "),
    re.compile(r"(?:^|: )(?P<name>[^\s:]+): cannot execute: required file not found"),
    re.compile(r"(?:^|: )(?P<name>[^\s:]+): (?:command )?not found$"),
    re.compile(r"(?:^|: )(?P<name>[^\s:]+): No such file or directory$"),
)
_SAID_DENIED = (
    re.compile(r'exec: "(?P<name>[^"]+)": permission denied'),
    re.compile(r"(?:^|: )(?P<name>[^\s:]+): Permission denied$"),
)
_SAID_FORMAT = (
    re.compile(r"^exec (?P<name>\S+): exec format error"),
    re.compile(
        r"(?:^|: )(?P<name>[^\s:]+): (?:Exec format error"
        r"|cannot execute binary file)",
        re.IGNORECASE,
    ),
    re.compile(r"^(?P<name>[^\s:]+): (?:line )?[0-9]+: "),  # a shell that took it for a script
)
_MACHINES = {
    3: "i386",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    21: "ppc64le",
    22: "s390x",
    243: "riscv64",
    258: "loongarch64",
    8: "mips",
}
_ALSO = {"x86_64": ("i386",), "aarch64": ("arm",)}
_LITTLE = 1
_INTERPRETER = 3  # PT_INTERP of elf(5)


def wrong_architecture(facts: Facts) -> str | None:
    """A program for another kind of processor."""
    for name in _said(facts, _SAID_FORMAT):
        path = _find(facts, name)
        head = facts.tree.head(path, _HEAD) if path else b""
        if machine := elf_machine(head):
            if machine == facts.machine or machine in _ALSO.get(facts.machine, ()):
                continue
            text = f"{path} is made for another processor, {machine}: this machine is"
            if facts.emulated(machine):
                return f"{text} {facts.machine}"
            return (
                f"{text} {facts.machine} and has no emulator for it (--platform=linux/"
                f"{_GO.get(facts.machine, facts.machine)} builds for it, QEMU in binfmt_misc "
                "emulates)"
            )
        if head and not head.startswith((b"#!", b"\x7fELF")) and facts.complaint:
            return f"{path} is a script without a first line like #!/bin/sh"
    return None


_GO = {"x86_64": "amd64", "aarch64": "arm64"}


def not_found(facts: Facts) -> str | None:
    """A command that is not in the image, or that needs something that is not."""
    if facts.code not in (_MISSING, _UNUSABLE) and not facts.complaint:
        return None
    for name in _said(facts, _SAID_MISSING):
        name = name.removesuffix("\\r").removesuffix("^M")  # noqa: PLW2901 - as bash spells it
        if "/" not in name:
            if found := _missing_command(facts, name):
                return found
            continue
        path = facts.absolute(name)
        if facts.covered(path):
            continue
        entry = facts.tree.entry(path)
        if entry is None:
            return _no_shell(facts) if _is_shell(facts, name) else _near_file(facts, path)
        if found := _needs(facts, path):
            return found
    return None


def not_allowed(facts: Facts) -> str | None:
    """A file that may not be run."""
    if facts.code != _UNUSABLE and not facts.complaint:
        return None
    for name in _said(facts, _SAID_DENIED):
        path = _find(facts, name, executable=False)
        entry = facts.tree.entry(path) if path else None
        if entry is None or entry.kind is not Kind.FILE or entry.mode & _EXECUTABLE:
            continue
        return (
            f"{path} has the mode {entry.mode:04o}: nobody may run it. COPY it with --chmod=755, "
            f"or run it through its shell: sh {name}"
        )
    return None


def elf_machine(head: bytes) -> str:
    """What processor a program is for, by its first bytes (elf(5)); "" where they are no ELF."""
    if not head.startswith(b"\x7fELF") or len(head) < 20:
        return ""
    order = "little" if head[5] == _LITTLE else "big"
    number = int.from_bytes(head[18:20], "little" if order == "little" else "big")
    return _MACHINES.get(number, f"processor {number}")


def elf_interpreter(head: bytes) -> str:
    """The dynamic loader that a 64-bit little-endian program asks for, "" for none."""
    if not head.startswith(b"\x7fELF\x02\x01") or len(head) < 64:
        return ""
    start = int.from_bytes(head[32:40], "little")
    size, count = (int.from_bytes(head[at : at + 2], "little") for at in (54, 56))
    for index in range(min(count, 64)):
        header = head[start + index * size :][:56]
        if len(header) == 56 and int.from_bytes(header[:4], "little") == _INTERPRETER:
            offset = int.from_bytes(header[8:16], "little")
            return head[offset:].partition(b"\0")[0].decode("utf-8", "replace")
    return ""


def _said(facts: Facts, patterns: tuple[re.Pattern[str], ...]) -> list[str]:
    """The names that the step's last lines complain of, the last first."""
    found: dict[str, None] = {}
    for line in facts.lines:
        for pattern in patterns:
            if match := pattern.search(line.rstrip()):
                found.setdefault(match["name"])
                break
    return list(found)


def _path_of(facts: Facts) -> list[str]:
    variables = {variable.name: variable.value for variable in facts.op.env}
    value = variables.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return [each for each in value.split(":") if each.startswith("/")]


def _find(facts: Facts, name: str, *, executable: bool = True) -> str | None:
    """The path of a command."""
    if "/" in name:
        path = facts.absolute(name)
        return None if facts.covered(path) or facts.tree.entry(path) is None else path
    for folder in _path_of(facts):
        entry = facts.tree.entry(f"{folder}/{name}")
        if entry is not None and entry.kind is Kind.FILE:
            if executable and not entry.mode & _EXECUTABLE:
                continue
            return f"{folder}/{name}"
    return None


def _missing_command(facts: Facts, name: str) -> str | None:
    if name.endswith("\r"):
        return f"{name.strip()} has a carriage return behind it: {_WINDOWS}"
    if name == "sudo" and facts.op.user in ("", "0", "root"):
        return "the image has no sudo, and the step is root already: leave it out"
    folders = _path_of(facts)
    if any(map(facts.covered, folders)) or _find(facts, name) is not None:
        return None
    names = {
        each.decode("utf-8", "replace") for folder in folders for each in facts.tree.names(folder)
    }
    if not names:
        return f"the image has no {name}, and no other command in PATH ({':'.join(folders)})"
    near = f"{name}3" if f"{name}3" in names else _nearest(name, names)
    what = f"the image has no {name} in PATH"
    if near:
        return f"{what}: did you mean {near}?"
    return f"{what}: install it in an earlier step, or use an image that has it"


def _nearest(name: str, names: Iterable[str]) -> str | None:
    """Swapped letters count less than others here: `gerp` is `grep`, and not `arp`."""
    from difflib import get_close_matches

    found = get_close_matches(name, sorted(names), n=1, cutoff=_ALIKE)
    return found[0] if found else None


def _is_shell(facts: Facts, name: str) -> bool:
    return name == facts.op.args[0] and facts.op.args[1:2] == ("-c",)


def _no_shell(facts: Facts) -> str:
    return (
        f"the image has no {facts.op.args[0]}: set another with SHELL, or write the command "
        'without a shell, RUN ["program", "argument"]'
    )


def _near_file(facts: Facts, path: str) -> str:
    folder, name = posixpath.split(path)
    while folder != "/" and facts.tree.entry(folder) is None:
        folder, name = posixpath.split(folder)
    names = [each.decode("utf-8", "replace") for each in facts.tree.names(folder)]
    near = _nearest(name, names)
    missing = posixpath.join(folder, name)
    if near:
        return f"the image has no {missing}: did you mean {posixpath.join(folder, near)}?"
    return f"the image has no {missing}: was it copied, and to there?"


_WINDOWS = (
    "the file has Windows' line ends (CRLF); convert it (dos2unix, or eol=lf in .gitattributes)"
)


def _needs(facts: Facts, path: str) -> str | None:
    """What a program that is there asks for, and that is not."""
    head = facts.tree.head(path, _HEAD)
    if head.startswith(b"#!"):
        line = head[2:].partition(b"\n")[0]
        if line.endswith(b"\r"):
            return f"{path}: {_WINDOWS}"
        words = line.split()
        wanted = words[0].decode("utf-8", "replace") if words else ""
        if not wanted or facts.covered(wanted) or facts.tree.entry(wanted) is not None:
            return None
        return f"the first line of {path} asks for {wanted}, which the image does not have"
    loader = elf_interpreter(head)
    if not loader or facts.covered(loader) or facts.tree.entry(loader) is not None:
        return None
    library = "musl" if "musl" in loader else "glibc" if "ld-linux" in loader else ""
    made = f" (it was made for {library})" if library else ""
    return f"{path} needs the dynamic loader {loader}, which the image does not have{made}"
