"""The system call filter says what the profile says, call by call."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

from lamina.executor import oci, seccomp
from lamina.executor import seccomp_profile as profile

ALLOW = 0x7FFF0000
X86_64, I386 = 0xC000003E, 0x40000003
CLONE_NEWUSER = 0x10000000


def refused(code: int) -> int:
    return 0x00050000 | code


def decide(program: bytes, number: int, *args: int, architecture: int = X86_64) -> int:
    """Runs a classic BPF program over struct seccomp_data, as the kernel does (seccomp(2))."""
    words = [*args, *([0] * (6 - len(args)))]
    data = struct.pack("=iIQ6Q", number, architecture, 0, *words)
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = position = 0
    while True:
        operation, yes, no, value = code[position]
        position += 1
        match operation:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, value)[0]
            case 0x54:
                accumulator &= value
            case 0x05:
                position += value
            case 0x15:
                position += yes if accumulator == value else no
            case 0x25:
                position += yes if accumulator > value else no
            case 0x35:
                position += yes if accumulator >= value else no
            case 0x45:
                position += yes if accumulator & value else no
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")


@pytest.fixture(scope="module")
def program() -> bytes:
    assert os.uname().machine == "x86_64", "the numbers of this test are those of x86-64"
    made = seccomp.compile_profile("x86_64")
    assert made is not None, "libseccomp is missing: install libseccomp2"
    return made


@pytest.mark.parametrize(
    ("name", "number", "args", "expected"),
    [
        ("read", 0, (), ALLOW),
        ("mkdirat", 258, (), ALLOW),
        ("chroot", 161, (), ALLOW),
        ("ptrace", 101, (), ALLOW),
        ("arch_prctl", 158, (), ALLOW),
        ("fchmodat2", 452, (), ALLOW),
        ("statmount", 457, (), ALLOW),
        ("removexattrat", 466, (), ALLOW),
        ("uretprobe", 335, (), ALLOW),
        ("clone for a thread", 56, (0x3D0F00,), ALLOW),
        ("clone for a user namespace", 56, (CLONE_NEWUSER,), refused(errno.EPERM)),
        ("clone3", 435, (), refused(errno.ENOSYS)),
        ("unshare", 272, (0,), refused(errno.EPERM)),
        ("mount", 165, (), refused(errno.EPERM)),
        ("bpf", 321, (), refused(errno.EPERM)),
        ("keyctl", 250, (), refused(errno.EPERM)),
        ("add_key", 248, (), refused(errno.EPERM)),
        ("io_uring_setup", 425, (), refused(errno.EPERM)),
        ("userfaultfd", 323, (), refused(errno.EPERM)),
        ("kexec_load", 246, (), refused(errno.EPERM)),
        ("open_by_handle_at", 304, (), refused(errno.EPERM)),
        ("lsm_set_self_attr", 460, (), refused(errno.EPERM)),
        ("AF_INET", 41, (2,), ALLOW),
        ("AF_ALG", 41, (38,), refused(errno.EPERM)),
        ("AF_NFC", 41, (39,), ALLOW),
        ("AF_VSOCK", 41, (40,), refused(errno.EPERM)),
        ("AF_XDP", 41, (44,), ALLOW),
        ("personality of Linux", 135, (0,), ALLOW),
        ("personality asked for", 135, (0xFFFFFFFF,), ALLOW),
        ("personality without randomisation", 135, (0x40000,), refused(errno.EPERM)),
        ("newer than the profile", 467, (), refused(errno.ENOSYS)),
        ("of another age", 100000, (), refused(errno.ENOSYS)),
    ],
)
def test_decisions(
    program: bytes, name: str, number: int, args: tuple[int, ...], expected: int
) -> None:
    """Docker's decisions, for the calls that matter."""
    assert decide(program, number, *args) == expected, name


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("read", 3, ALLOW),
        ("chown32", 212, ALLOW),
        ("mount", 21, refused(errno.EPERM)),
        ("clone3", 435, refused(errno.ENOSYS)),
        ("fchmodat2", 452, ALLOW),
        ("newer than the profile", 467, refused(errno.ENOSYS)),
    ],
)
def test_32_bit_programs(program: bytes, name: str, number: int, expected: int) -> None:
    """The other system call table of this machine is no way around the filter."""
    assert decide(program, number, architecture=I386) == expected, name


def test_unknown_architectures_die(program: bytes) -> None:
    assert decide(program, 0, architecture=0xC00000B7) == 0  # SECCOMP_RET_KILL_THREAD


def test_x32_calls_are_filtered(program: bytes) -> None:
    assert decide(program, 0x40000000 | 165) == refused(errno.EPERM)


def test_result_is_kept(tmp_path: Path) -> None:
    """The second time nothing is compiled: the kept program is taken as it is."""
    first = seccomp.load(cache=str(tmp_path))
    assert first is not None
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == first
    kept.write_bytes(b"12345678")
    assert seccomp.load(cache=str(tmp_path)) == b"12345678"


def test_names_are_written_once() -> None:
    names = profile.allowed("x86_64")
    assert len(names) == len(set(names))
    assert not {"clone", "clone3", "socket", "personality", "unshare", "mount"} & set(names)


def test_runtime_gets_the_same_profile() -> None:
    """The specification for OCI runtimes is made of the same values."""
    rules = oci.seccomp("x86_64")
    assert rules["defaultAction"] == "SCMP_ACT_ERRNO"
    assert rules["syscalls"][0]["names"] == list(profile.allowed("x86_64"))
    (clone,) = [rule for rule in rules["syscalls"] if rule["names"] == ["clone"]]
    assert clone["args"] == [
        {"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    ]
