"""The embedded driver: a container made of Linux namespaces, with nothing to install.

It starts a step in some milliseconds, because nothing is started: a small process that waits for
jobs is forked (`zygote`), makes the container (`rootfs`, `sandbox`) and becomes the step's command.
"""

from __future__ import annotations

import os
import threading

import msgspec

from lamina.executor import limits, oom, plan, seccomp, wire
from lamina.executor.launcher import Launcher
from lamina.executor.spec import NO_LIMITS, ContainerSpec, ExitStatus, OutputSink


class NamespacesExecutor:
    """Runs steps in namespaces; `run` may be called from several threads at once.

    `state` is a directory of the driver's own: it holds two empty directories to mount things on
    (in namespaces that end with a step, so that nothing is ever mounted there for others) and the
    compiled seccomp filter. `notes` are plain sentences about protection that this machine lacks,
    known from the first `prepare` or `run` on.
    """

    def __init__(self, *, state: str) -> None:
        self._state = os.path.realpath(state)
        self._launcher = Launcher(seccomp=self._program)
        self._prepared = False
        self._lock = threading.Lock()
        self._memory: oom.MemoryWatch | None = None
        self.notes: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Starts what steps are forked from, so that the first step need not wait for it."""
        with self._lock:
            if not self._prepared:
                plan.make_places(self._state)
                self._memory = oom.MemoryWatch()
                self._prepared = True
        self._launcher.prepare()

    def run(
        self, spec: ContainerSpec, *, output: OutputSink, cancelled: threading.Event
    ) -> ExitStatus:
        self.prepare()
        job = self._job(spec)
        before = oom.kill_count()
        outcome = self._launcher.run(job, output=output, cancelled=cancelled)
        status = outcome.status
        if not status.code or self._memory is None:
            return status
        found = self._memory.explain(
            code=status.code,
            before=before,
            group=job["cgroups"]["name"] if job["cgroups"] else "",
            figures=outcome.memory,
            limit=spec.resources.memory,
        )
        return msgspec.structs.replace(status, out_of_memory=found)

    def run_attached(self, spec: ContainerSpec, *, terminal: bool) -> ExitStatus:
        """Runs a container with the caller's own streams, or behind a terminal of its own.

        For the main thread alone. Raises as `run` does, and UsageError where `terminal` is asked
        for and standard input is none.
        """
        from lamina.executor import interactive

        self.prepare()
        job = self._job(spec, terminal=terminal)
        return interactive.attach(self._launcher, job).status

    def close(self) -> None:
        self._launcher.close()
        if self._memory is not None:
            self._memory.close()

    def _job(self, spec: ContainerSpec, *, terminal: bool = False) -> wire.Job:
        job = plan.job(spec, state=self._state, terminal=terminal)
        if spec.resources != NO_LIMITS:
            job["cgroups"] = limits.plan(spec.resources, f"lamina-{os.urandom(8).hex()}")
        return job

    def _program(self) -> bytes | None:
        compiled = seccomp.load(cache=self._state)
        if compiled is None:
            self.notes = (seccomp.MISSING,)
        return compiled
