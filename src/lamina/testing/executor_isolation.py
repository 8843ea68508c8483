"""Contract of executors: what a step cannot do."""

from __future__ import annotations

import functools
import os
import sys

from lamina.executor.spec import BindMount, OverlayMount, TmpfsMount
from lamina.testing.executors import Check, Ran, Rig, refusal

DOCKER_CAPABILITIES = 0xA80425FB

_CALLS = """
import ctypes, errno, json
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    return errno.errorcode.get(ctypes.get_errno()) if libc.syscall(number, *arguments) < 0 else "ok"
print(json.dumps({name: call(*words) for name, words in %r.items()}))
"""


def python(rig: Rig, code: str, *, program: str = "/python/bin/python3") -> Ran:
    """Runs Python in a container; the interpreter and its libraries are the machine's."""
    mounts = (*machine(), BindMount(source=sys.base_prefix, target="/python"))
    return rig.run(program, "-I", "-S", "-c", code, mounts=mounts)


def machine() -> list[BindMount]:
    """The machine's own programs and libraries."""
    places = [path for path in ("/usr", "/lib", "/lib64") if os.path.isdir(path)]
    return [BindMount(source=path, target=path) for path in places]


def capabilities_are_dockers(rig: Rig) -> None:
    """Root has Docker's fourteen capabilities, another user has none; none is inherited."""
    status = _status(rig, "")
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[kind], 16) == DOCKER_CAPABILITIES, status
    for kind in ("CapInh", "CapAmb"):
        assert int(status[kind], 16) == 0, status
    if rig.ids > 5000:
        status = _status(rig, "alice")
        for kind in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            assert int(status[kind], 16) == 0, status
        assert int(status["CapBnd"], 16) == DOCKER_CAPABILITIES


def setuid_programs_work(rig: Rig) -> None:
    """As in Docker, a step may use sudo and su."""
    assert _status(rig, "")["NoNewPrivs"] == "0"
    if rig.ids > 5000:
        # Not busybox, which gives up what it does not need.
        script = "cp /usr/bin/id /tmp/id; chmod 4755 /tmp/id; exec su alice -c '/tmp/id -u'"
        assert rig.shell(script, *machine()).succeeded() == b"0\n"


def system_calls_are_filtered(rig: Rig) -> None:
    """The filter of Docker's default profile is there; calls that nobody knows do not exist."""
    status = _status(rig, "")
    assert status["Seccomp"] == "2", status
    if os.uname().machine != "x86_64":
        return
    calls = {
        "keyctl": (250, 0, 0, 0, 0, 0),
        "unshare": (272, 0x10000000),
        "clone": (56, 0x10000011, 0, 0, 0, 0),
        "clone3": (435, 0, 0),
        "mount": (165, 0, 0, 0, 0, 0),
        "bpf": (321, 0, 0, 0),
        "io_uring_setup": (425, 1, 0),
        "socket of AF_ALG": (41, 38, 5, 0),
        "socket of AF_VSOCK": (41, 40, 1, 0),
        "socket of AF_UNIX": (41, 1, 1, 0),
        "personality": (135, 0),
        "odd personality": (135, 0x1234),
        "of the year 2100": (4000,),
        "statmount": (457, 0, 0, 0, 0),
    }
    import json

    refused = json.loads(python(rig, _CALLS % (calls,)).succeeded())
    allowed = {"socket of AF_UNIX": "ok", "personality": "ok"}
    newer = {"clone3": "ENOSYS", "of the year 2100": "ENOSYS"}
    statmount = refused.pop("statmount")
    del calls["statmount"]
    assert refused == {**dict.fromkeys(calls, "EPERM"), **allowed, **newer}, refused
    assert statmount != "EPERM" or rig.name == "oci"


def kernel_paths_are_hidden(rig: Rig) -> None:
    """What Docker masks cannot be read; /proc/sys and /sys cannot be written."""
    for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"):
        ran = rig.shell(f"cat {path} 2>/dev/null | head -c 1 | wc -c")
        assert ran.out.strip() == b"0", path
    for path in ("/sys/firmware", "/proc/acpi", "/proc/scsi"):
        assert rig.shell(f"ls -A {path} 2>/dev/null").out == b"", path
    for path in ("/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/kernel/mm/x"):
        ran = rig.shell(f"echo x > {path}")
        assert ran.status.code != 0, path
        assert b"denied" in ran.err or b"ead-only" in ran.err or b"nonexistent" in ran.err, ran.err


def processes_of_the_machine_are_out_of_sight(rig: Rig) -> None:
    """The step is process 1 and sees its own tree alone; its ipc and host names are its own."""
    out = rig.shell("echo $$; ls /proc | grep -c '^[0-9]'").succeeded().split()
    assert out[0] == b"1"
    assert int(out[1]) < 6
    for kind in ("pid", "ipc", "uts", "mnt"):
        inside = rig.shell(f"readlink /proc/self/ns/{kind}").succeeded().decode().strip()
        assert inside != os.readlink(f"/proc/self/ns/{kind}")


def descriptors_do_not_leak(rig: Rig) -> None:
    """A step has its three standard streams open and nothing else."""
    leak = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(leak, True)
    out = rig.shell("ls /proc/1/fd; :").succeeded().split()
    os.close(leak)
    assert out == [b"0", b"1", b"2"], out


def streams_can_be_opened_again(rig: Rig) -> None:
    """`/dev/stdout` works, for a user who is not root too."""
    users = ["", "alice"] if rig.ids > 5000 else [""]
    for user in users:
        ran = rig.shell("echo a > /dev/stdout; echo b > /dev/stderr", user=user)
        assert (ran.out, ran.err) == (b"a\n", b"b\n"), (user, ran)


def devices_are_the_harmless_ones(rig: Rig) -> None:
    """The usual devices work; others cannot be opened, whoever makes a node for them."""
    script = "head -c 2 /dev/zero | wc -c; head -c 2 /dev/urandom | wc -c; echo x > /dev/null; "
    assert rig.shell(script + "ls /dev").succeeded().split()[:2] == [b"2", b"2"]
    if rig.real_root:
        # 1:11 is the kernel's log, 7:0 a loop device.
        for node in ("c 1 11", "b 7 0"):
            for place in ("/n", "/dev/n", "/t/n"):
                script = f"mknod {place} {node} && head -c 1 {place}"
                ran = rig.shell(script, TmpfsMount(target="/t"))
                assert ran.status.code != 0, (node, place)
                assert b"mknod" not in ran.err or place != "/n", ran.err


def interpreter_cannot_be_overwritten(rig: Rig) -> None:
    """An image that runs /proc/self/exe cannot write to the program behind it (CVE-2019-5736)."""
    code = (
        "import os; f = os.open('/proc/self/exe', os.O_PATH); os.set_inheritable(f, True); "
        "os.write(1, b'%d' % (os.statvfs('/proc/self/exe').f_flag & os.ST_RDONLY)); "
        "os.execv('/bin/sh', ['sh', '-c', f': >> /proc/self/fd/{f} && echo open'])"
    )
    ran = python(rig, code, program="/proc/self/exe")
    assert b"open" not in ran.out, ran
    if rig.name == "namespaces":
        assert ran.out == b"1", ran


def imports_do_not_come_from_the_image(rig: Rig) -> None:
    """Python files of an image at the places of the builder's own do nothing."""
    base = rig.directory()
    (base / "bin").mkdir()
    os.link(rig.base / "bin/busybox", base / "bin/busybox")
    for path in sys.path:
        target = base / path.lstrip("/")
        if path and not path.endswith(".zip"):
            target.mkdir(parents=True, exist_ok=True)
            for name in ("encodings/ascii", "pwd", "traceback", "json/__init__"):
                (target / name).parent.mkdir(exist_ok=True)
                (target / f"{name}.py").write_text("open('/owned', 'w')\n")
    for user in ("", "nosuch"):
        spec = rig.spec("/bin/busybox", "true", base=base, user=user)
        if user:
            refusal(functools.partial(rig.run_spec, spec))
        else:
            assert rig.run_spec(spec).status.code == 0
        assert isinstance(spec.root, OverlayMount)
        assert "owned" not in os.listdir(spec.root.upper)


def _status(rig: Rig, user: str) -> dict[str, str]:
    lines = rig.run("cat", "/proc/self/status", user=user).succeeded().decode().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


CHECKS: tuple[Check, ...] = (
    capabilities_are_dockers,
    setuid_programs_work,
    system_calls_are_filtered,
    kernel_paths_are_hidden,
    processes_of_the_machine_are_out_of_sight,
    descriptors_do_not_leak,
    streams_can_be_opened_again,
    devices_are_the_harmless_ones,
    interpreter_cannot_be_overwritten,
    imports_do_not_come_from_the_image,
)
