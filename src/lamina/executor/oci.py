"""The driver that hands every step to an OCI runtime: crun, else runc, the first that works.

The container is the same as that of the embedded driver (OCI runtime specification, config.md):
same root, mounts, capabilities, system call filter, hidden paths. So is its end: the runtime is the
first process of a process tree that dies with it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from typing import Any

import msgspec

from lamina.errors import HostError, LaminaError
from lamina.executor import limits, oom, plan, rootfs, sandbox, seccomp_profile, wire
from lamina.executor.launcher import CannotStart, Launcher, Outcome
from lamina.executor.spec import (
    NO_LIMITS,
    BindMount,
    ContainerSpec,
    ExitStatus,
    Network,
    OutputSink,
    Process,
    Resources,
)

RUNTIMES = ("crun", "runc")

_CAPABILITIES = {
    0: "CAP_CHOWN",
    1: "CAP_DAC_OVERRIDE",
    3: "CAP_FOWNER",
    4: "CAP_FSETID",
    5: "CAP_KILL",
    6: "CAP_SETGID",
    7: "CAP_SETUID",
    8: "CAP_SETPCAP",
    10: "CAP_NET_BIND_SERVICE",
    13: "CAP_NET_RAW",
    18: "CAP_SYS_CHROOT",
    27: "CAP_MKNOD",
    29: "CAP_AUDIT_WRITE",
    31: "CAP_SETFCAP",
}
_ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "ppc64le": ("SCMP_ARCH_PPC64LE",),
    "riscv64": ("SCMP_ARCH_RISCV64",),
    "s390x": ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
}
_ENOSYS = 38
_EPERM = 1


class NoRuntime(HostError):
    """No OCI runtime is installed, or none of them works here."""


class OciExecutor:
    """Runs steps through an OCI runtime; `run` may be called from several threads at once.

    `state` is a directory of the driver's own: it holds two empty directories to mount things on.
    """

    def __init__(self, *, state: str) -> None:
        self._state = os.path.realpath(state)
        self._launcher = Launcher(seccomp=lambda: None)
        self._lock = threading.Lock()
        self._program: str | None = None
        self._memory: oom.MemoryWatch | None = None
        self.notes: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Finds the runtime. Raises NoRuntime."""
        self.runtime()

    def run(
        self, spec: ContainerSpec, *, output: OutputSink, cancelled: threading.Event
    ) -> ExitStatus:
        job = self.job(spec)
        before = oom.kill_count()
        outcome = self._launcher.run(job, output=output, cancelled=cancelled)
        status = _checked(outcome, self.runtime())
        if not status.code or self._memory is None:
            return status
        name = job["runtime"]["id"] if job["runtime"] and not job["user_namespace"] else ""
        found = self._memory.explain(
            code=status.code, before=before, group=name, limit=spec.resources.memory
        )
        return msgspec.structs.replace(status, out_of_memory=found)

    def run_attached(self, spec: ContainerSpec, *, terminal: bool) -> ExitStatus:
        """Runs a container with the caller's own streams or terminal, from the main thread."""
        from lamina.executor import interactive

        job = self.job(spec, terminal=terminal)
        return _checked(interactive.attach(self._launcher, job), self.runtime())

    def close(self) -> None:
        self._launcher.close()
        if self._memory is not None:
            self._memory.close()

    def job(self, spec: ContainerSpec, *, terminal: bool = False) -> wire.Job:
        """The job for `spec` with the runtime that works here."""
        return self._job(spec, self.runtime(), terminal=terminal)

    def runtime(self) -> str:
        """The path of the first runtime that works here, tried once. Raises NoRuntime."""
        with self._lock:
            if self._program is None:
                plan.make_places(self._state)
                self._program = self._find()
                self._memory = oom.MemoryWatch()
            return self._program

    def _find(self) -> str:
        reasons = []
        for name in RUNTIMES:
            program = shutil.which(name)
            if program is None:
                reasons.append(f"{name} is not installed")
                continue
            reason = self._probe(program)
            if reason is None:
                return program
            reasons.append(f"{name} does not work here: {reason}")
        raise NoRuntime(
            "no OCI runtime works on this machine: " + "; ".join(reasons),
            hint="Install runc, or leave out --isolation=oci: the embedded sandbox needs neither.",
        )

    def _probe(self, program: str) -> str | None:
        """Why the runtime cannot run containers here; None where it can.

        A container without any file needs all that a real one does, up to its command: a runtime
        that complains that the command is missing works.
        """
        with tempfile.TemporaryDirectory(dir=self._state) as empty:
            spec = ContainerSpec(
                root=BindMount(source=empty, target="/", read_only=False),
                process=Process(args=("/lamina-probe",)),
            )
            job = self._job(spec, program, terminal=False)
            try:
                outcome = self._launcher.run(
                    job, output=lambda stream, data: None, cancelled=threading.Event()
                )
                _checked(outcome, program)
            except CannotStart:
                return None
            except LaminaError as error:
                return error.message
            return "it ran a command that does not exist"

    def _job(self, spec: ContainerSpec, program: str, *, terminal: bool) -> wire.Job:
        job = plan.job(spec, state=self._state, terminal=terminal)
        if spec.resources != NO_LIMITS and job["user_namespace"]:
            raise limits.CannotLimit(
                "an OCI runtime cannot limit the steps of an ordinary user here",
                hint="leave out --isolation=oci, or run as root",
            )
        name = f"lamina-{os.urandom(8).hex()}"
        job["runtime"] = {
            "program": program,
            "id": name,
            "path": plan.DEFAULT_PATH,
            "config": config(spec, job, name),
        }
        return job


def config(spec: ContainerSpec, job: wire.Job, name: str) -> dict[str, Any]:
    """config.json without what is only known inside: the user's ids, the sources of mounts."""
    capabilities = [_CAPABILITIES[number] for number in sandbox.CAPABILITIES]
    return {
        "ociVersion": "1.0.2",
        "hostname": job["hostname"],
        "process": {
            "terminal": job["terminal"],
            "args": job["args"],
            "env": [f"{key}={value}" for key, value in job["env"]],
            "cwd": job["cwd"],
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "rlimits": [
                {"type": f"RLIMIT_{limit.name.upper()}", "soft": limit.soft, "hard": limit.hard}
                for limit in spec.ulimits
            ],
            "noNewPrivileges": False,
        },
        "mounts": _file_systems(job),
        "linux": {
            "namespaces": [{"type": kind} for kind in _namespaces(spec, job)],
            "maskedPaths": list(rootfs.MASKED),
            "readonlyPaths": list(rootfs.READ_ONLY),
            "seccomp": seccomp(os.uname().machine),
            "resources": {
                "devices": [{"allow": False, "access": "rwm"}],
                **_resources(spec.resources),
            },
            **({} if job["user_namespace"] else {"cgroupsPath": f"/{name}"}),
        },
    }


def _resources(resources: Resources) -> dict[str, Any]:
    """Limits in the words of the runtime specification (config-linux.md, "Memory" and "CPU")."""
    memory: dict[str, int | str] = {"limit": resources.memory, "swap": resources.memory_swap}
    cpu: dict[str, int | str] = {
        "shares": resources.cpu_shares,
        "period": resources.cpu_period,
        "quota": resources.cpu_quota,
        "cpus": resources.cpuset_cpus,
        "mems": resources.cpuset_mems,
    }
    sections = {"memory": memory, "cpu": cpu}
    given = {
        name: {key: value for key, value in section.items() if value}
        for name, section in sections.items()
    }
    return {name: section for name, section in given.items() if section}


def _namespaces(spec: ContainerSpec, job: wire.Job) -> list[str]:
    kinds = ["pid", "ipc", "uts", "mount"]
    kinds += ["network"] if spec.network is Network.NONE else []
    kinds += ["cgroup"] if job["cgroup_namespace"] else []
    return kinds


def _file_systems(job: wire.Job) -> list[dict[str, Any]]:
    plain = ["nosuid", "noexec", "nodev"]
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    terminals += ["gid=5"] if job["groups"] else []
    host_sys = job["user_namespace"] and not job["private_network"]
    sysfs = (
        ("none", "/sys", ["rbind", *plain, "ro"])
        if host_sys
        else (
            "sysfs",
            "sysfs",
            [*plain, "ro"],
        )
    )
    rows: list[tuple[str, str, str, list[str]]] = [
        ("/proc", "proc", "proc", plain),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", "devpts", terminals),
        ("/dev/shm", "tmpfs", "shm", [*plain, "mode=1777", f"size={job['shm_size']}"]),
        ("/dev/mqueue", "mqueue", "mqueue", plain),
        ("/sys", *sysfs),
    ]
    if job["cgroup_namespace"]:
        rows.append(("/sys/fs/cgroup", "cgroup", "cgroup", [*plain, "relatime", "ro"]))
    return [
        {"destination": target, "type": kind, "source": source, "options": options}
        for target, kind, source, options in rows
    ]


def seccomp(machine: str) -> dict[str, Any]:
    """The profile in the words of the runtime specification (config-linux.md, "Seccomp")."""
    allow = "SCMP_ACT_ALLOW"
    rules: list[dict[str, Any]] = [
        {"names": list(seccomp_profile.allowed(machine)), "action": allow},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
    ]
    for rule in seccomp_profile.conditions(machine):
        argument = {"index": rule.index, "value": rule.value, "op": rule.test.value}
        if rule.test is seccomp_profile.Test.MASKED:
            argument["valueTwo"] = 0
        rules.append({"names": [rule.call], "action": allow, "args": [argument]})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": list(_ARCHITECTURES.get(machine, ())),
        "syscalls": rules,
    }


def _checked(outcome: Outcome, program: str) -> ExitStatus:
    """The status of the step; raises what the runtime itself complains of."""
    if outcome.status.code == 0:
        return outcome.status
    complaints = []
    for line in outcome.log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
            complaints.append(str(entry.get("msg", "")))
    if not complaints:
        return outcome.status
    raise complaint(complaints[-1], os.path.basename(program))


_MISSING = ("executable file not found", "no such file or directory")
_UNUSABLE = ("permission denied", "exec format error", "is a directory")


def complaint(text: str, runtime: str) -> LaminaError:
    """What a runtime says before a step's command runs, as an error of ours."""
    message = text.rpartition("container process: ")[2]
    lowered = message.lower()
    concerns_command = message.startswith(("exec", "open executable"))
    if concerns_command and any(part in lowered for part in _MISSING):
        return CannotStart(message, exit_status=127)
    if concerns_command and any(part in lowered for part in _UNUSABLE):
        return CannotStart(message, exit_status=126)
    return HostError(f"{runtime} cannot start the step: {message}")
