"""Compiles the seccomp profile, once a machine: the result is kept in a file.

libseccomp knows every architecture's system calls, but loading it and generating the program costs
more than a whole step. So the program (an array of struct sock_filter, seccomp(2)) is kept under a
name made of all that it depends on, and installed by the step's process without any library.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import tempfile
from typing import Any

from lamina.executor import seccomp_profile as profile

MISSING = (
    "libseccomp is not installed: steps run without a system call filter "
    "(capabilities, namespaces and hidden paths still apply); install libseccomp2 for the filter"
)

_LIBRARY = "libseccomp.so.2"
_X32 = 0x40000000
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_AUDIT = {
    "x86_64": (0xC000003E, 0x40000003),
    "aarch64": (0xC00000B7,),
    "ppc64le": (0xC0000015,),
    "riscv64": (0xC00000F3,),
    "s390x": (0x80000016,),
}
"""AUDIT_ARCH_* of a machine, and of the 32-bit programs that it runs where they have no calls of
their own beyond the common numbers (as 32-bit ARM has)."""

_LOAD, _JUMP, _EQUAL, _GREATER, _AT_LEAST, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH = 0, 4


def load(*, cache: str) -> bytes | None:
    """The program, from the directory `cache` or compiled into it; None without libseccomp."""
    version = _library_version()
    if version is None:
        return None
    machine = os.uname().machine
    name = os.path.join(cache, f"seccomp-{profile.VERSION}-{machine}-{version}.bpf")
    try:
        with open(name, "rb") as file:
            kept = file.read()
    except FileNotFoundError:
        kept = b""
    if kept and len(kept) % 8 == 0:
        return kept
    program = compile_profile(machine)
    if program is not None:
        _publish(name, program)
    return program


def _library_version() -> str | None:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    library.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)
    return ".".join(str(number) for number in library.seccomp_version().contents)


def _publish(name: str, program: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(name), prefix=".seccomp-")
    with open(descriptor, "wb") as file:
        file.write(program)
    os.replace(temporary, name)


def compile_profile(machine: str) -> bytes | None:
    """The program for this machine; None where libseccomp or its binding cannot be loaded."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):
        return None
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for other in {"x86_64": ("X86", "X32"), "aarch64": ("ARM",)}.get(machine, ()):
        rules.add_arch(getattr(pyseccomp.Arch, other))
    unknown = [name for name in profile.allowed(machine) if not _allow(pyseccomp, rules, name)]
    tests = {
        profile.Test.EQUAL: pyseccomp.EQ,
        profile.Test.LESS: pyseccomp.LT,
        profile.Test.GREATER: pyseccomp.GT,
    }
    for rule in profile.conditions(machine):
        if rule.test is profile.Test.MASKED:
            argument = pyseccomp.Arg(rule.index, pyseccomp.MASKED_EQ, rule.value, 0)
        else:
            argument = pyseccomp.Arg(rule.index, tests[rule.test], rule.value)
        rules.add_rule(pyseccomp.ALLOW, rule.call, argument)
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        program = file.read()
    newer = [profile.NUMBERS[name] for name in unknown if name in profile.NUMBERS]
    return prologue(machine, newer) + program


def _allow(pyseccomp: Any, rules: Any, name: str) -> bool:  # noqa: ANN401 - a C library's binding
    """False where libseccomp has no name for the call."""
    try:
        number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
        if number == -1:
            return False
        rules.add_rule(pyseccomp.ALLOW, number)
    except OSError:
        return False
    return True


def prologue(machine: str, newer: list[int]) -> bytes:
    """Goes before libseccomp's program: allows the calls `newer`, and answers ENOSYS to calls newer
    than the profile. Anything else falls through.
    """
    architectures = _AUDIT.get(machine, ())
    if not architectures:
        return b""
    numbers = len(newer)
    # Jumps are relative to the next instruction.
    code = [(_LOAD, 0, 0, _OFFSET_ARCH)]
    for index, architecture in enumerate(architectures):
        code.append((_EQUAL, len(architectures) - index, 0, architecture))
    code.append((_JUMP, 0, 0, numbers + 6))
    code.append((_LOAD, 0, 0, _OFFSET_NUMBER))
    code.append((_AT_LEAST, numbers + 4, 0, _X32))
    for index, number in enumerate(newer):
        code.append((_EQUAL, numbers - index + 1, 0, number))
    code.append((_GREATER, 2, 0, profile.NEWEST))
    code.append((_JUMP, 0, 0, 2))
    code.append((_RETURN, 0, 0, _ALLOW))
    code.append((_RETURN, 0, 0, _ERRNO | errno.ENOSYS))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
