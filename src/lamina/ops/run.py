"""RUN: a process in a sandbox, on top of the layers below it; what it changes becomes a layer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from threading import Event
from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec

from lamina.cache.mounts import CacheMounts
from lamina.cachekey.key import CacheKey, Listing, Part
from lamina.errors import StepFailed, UserError
from lamina.executor.spec import (
    NO_LIMITS,
    BindMount,
    ContainerSpec,
    Executor,
    FileMount,
    Mount,
    Network,
    OutOfMemory,
    OverlayMount,
    Process,
    Resources,
    TmpfsMount,
    Ulimit,
)
from lamina.fs.paths import resolve_in_root
from lamina.graph import mounts as m
from lamina.graph.ops import ExecOp
from lamina.layer.stack import Layer, Stack
from lamina.notation.sizes import gibibytes
from lamina.oci.platform import Platform
from lamina.ops.bind import Binder
from lamina.ops.parent import parent_part
from lamina.ops.remains import Attempt, Morgue, Remains
from lamina.ops.secrets import Secrets
from lamina.snapshot.snapshotter import OverlayRoot, PlainRoot, Root, Snapshotter
from lamina.solver.port import Cached, Result, Running
from lamina.trace.recorder import Step

if TYPE_CHECKING:
    from lamina.ops.agents import Agents

_STRICTEST = (m.Sharing.LOCKED, m.Sharing.PRIVATE, m.Sharing.SHARED)


class Seed(Protocol):
    """Fills a cache mount that is new on this machine with what another one had in it."""

    def __call__(
        self, name: str, platform: Platform, folder: str, *, step: Step, cancelled: Event
    ) -> bool:
        """False where there is nothing; the folder is empty still."""
        ...


class Workshop(msgspec.Struct, frozen=True, kw_only=True):
    """What all RUN steps of a build share.

    `log` opens the file that takes the whole output of the step with a number, and names it.
    `seed` is None where no cache mount comes from elsewhere, `morgue` where nobody wants to look
    at a step that failed. `resources` are limits of each step.
    """

    binder: Binder
    snapshotter: Callable[[], Snapshotter]
    executor: Callable[[], Executor]
    cache_mounts: CacheMounts
    secrets: Secrets
    agents: Callable[[], Agents]
    log: Callable[[int], tuple[str, BinaryIO]]
    seed: Seed | None = None
    morgue: Morgue | None = None
    resources: Resources = NO_LIMITS


class Run(Cached):
    """One RUN step. `base` says that the input below it is an image as it was resolved."""

    def __init__(self, op: ExecOp, workshop: Workshop, *, base: bool) -> None:
        self.op = op
        self.workshop = workshop
        self.base = base

    def key(self, inputs: Sequence[Result]) -> CacheKey:
        """Never part of the key: values of secrets, contents of cache mounts, their ids and
        sharing, proxies, addresses of extra hosts.
        """
        op, listings = self.op, list[Listing]()
        parts = [
            parent_part(_stack(inputs[0]), base=self.base),
            Part("instruction", json.dumps(op.args, ensure_ascii=False)),
            Part("directory", op.cwd),
            Part("user", op.user),
            Part("platform", str(op.platform)),
        ]
        if op.network != "default":
            parts.append(Part("network", op.network))
        if op.hostname:
            parts.append(Part("hostname", op.hostname))
        if op.extra_hosts:
            parts.append(Part("hosts", " ".join(name for name, _ in op.extra_hosts)))
        if op.limits.ulimits or op.limits.shm_size:
            parts.append(Part("limits", repr(op.limits)))
        for variable in op.env:
            kind = "argument" if variable.argument else "env"
            parts.append(Part(f"{kind}:{variable.name}", variable.value))
        for mount in op.mounts:
            parts.append(Part(f"mount:{_place(mount)}", _describe(mount)))
            if isinstance(mount, m.BindMount):
                part, found = self.workshop.binder.part(mount, _stack(inputs[mount.input]))
                parts.append(part)
                listings += found
        return CacheKey(tuple(parts), tuple(listings))

    def run(self, inputs: Sequence[Result], running: Running) -> Stack:
        shop, op = self.workshop, self.op
        below = _stack(inputs[0])
        shop.executor()  # it gets ready meanwhile
        shop.binder.stacks.ensure(below)
        with ExitStack() as held:
            mounts, variables = self._mounts(inputs, running, held)
            active = held.enter_context(shop.snapshotter().prepare(below))
            spec = ContainerSpec(
                root=_mounted(active.root),
                mounts=mounts,
                process=Process(
                    args=op.args,
                    env=_environment(op, variables),
                    cwd=op.cwd,
                    user=op.user,
                ),
                network=Network.NONE if op.network == "none" else Network.HOST,
                hostname=op.hostname,
                extra_hosts=op.extra_hosts,
                ulimits=tuple(Ulimit(name=n, soft=s, hard=h) for n, s, h in op.limits.ulimits),
                shm_size=op.limits.shm_size,
                resources=shop.resources,
            )
            attempt = Attempt()
            try:
                self._execute(spec, running, attempt)
            except UserError as error:
                if not running.cancelled.is_set():
                    self._examine(error, attempt, spec, below)
                    if shop.morgue is not None:
                        shop.morgue.take(
                            Remains(
                                op=op,
                                spec=spec,
                                below=below,
                                active=active,
                                error=error,
                                held=held.pop_all(),
                            )
                        )
                raise
            return (*below, Layer(id=active.commit()))

    def _execute(self, spec: ContainerSpec, running: Running, attempt: Attempt) -> None:
        _check_texts(spec.process)
        attempt.path, log = self.workshop.log(running.step.number)
        with log:

            def output(stream: int, data: bytes) -> None:
                # A full disk makes the step fail by itself: that is what the user must hear.
                with suppress(OSError):
                    log.write(data)
                attempt.keep(data)
                running.step.output(stream, data)

            status = self.workshop.executor().run(spec, output=output, cancelled=running.cancelled)
        attempt.status = status
        if not status.code:
            return
        command = " ".join(self.op.args)
        reason = f"exit code: {status.code}"
        if status.out_of_memory is not None:
            reason += f" ({killed(status.out_of_memory)})"
        raise StepFailed(
            f"process {json.dumps(command, ensure_ascii=False)} did not complete "
            f"successfully: {reason}",
            exit_status=status.code,
        )

    def _examine(
        self, error: UserError, attempt: Attempt, spec: ContainerSpec, below: Stack
    ) -> None:
        """Tell why it failed, where there is evidence."""
        from lamina.ops.autopsy import examine

        layers = self.workshop.binder.stacks.layers
        examine(error, attempt, op=self.op, spec=spec, layers=layers, below=below)

    def _mounts(
        self, inputs: Sequence[Result], running: Running, held: ExitStack
    ) -> tuple[tuple[Mount, ...], list[tuple[str, str]]]:
        """The mounts for the sandbox, and the variables that some of them set."""
        mounts: list[Mount] = []
        folders: dict[str, str] = {}
        variables: list[tuple[str, str]] = []
        for mount in self._in_lock_order(self.op.mounts):
            match mount:
                case m.BindMount():
                    source = _stack(inputs[mount.input])
                    mounts.append(self.workshop.binder.mount(mount, source, held))
                case m.CacheMount():
                    if mount.id not in folders:
                        folders[mount.id] = self._cache(mount, inputs, running, held)
                    _check_part(mount, folders[mount.id])
                    mounts.append(
                        BindMount(
                            source=folders[mount.id],
                            target=mount.target,
                            read_only=mount.read_only,
                            # With a `from` it has said what the folder is filled with.
                            subpath=mount.source if mount.input is None else "/",
                        )
                    )
                case m.TmpfsMount():
                    mounts.append(TmpfsMount(target=mount.target, size=mount.size))
                case m.SecretMount():
                    value = self.workshop.secrets.value(mount)
                    if value is not None and mount.target is not None:
                        mounts.append(_secret_file(mount, mount.target, value))
                    if value is not None and mount.env is not None:
                        variables.append((mount.env, value.decode("utf-8", "surrogateescape")))
                case m.SshMount():
                    socket = held.enter_context(self.workshop.agents().socket(mount))
                    if socket is not None:
                        variables.append(("SSH_AUTH_SOCK", mount.target))
                        mounts.append(
                            BindMount(source=socket, target=mount.target, read_only=False)
                        )
        # An outer target must be there before one that lies in it.
        mounts.sort(key=lambda each: each.target.rstrip("/").count("/"))
        return tuple(mounts), variables

    @staticmethod
    def _in_lock_order(mounts: Sequence[m.Mount]) -> list[m.Mount]:
        """Cache mounts sorted by id: two steps that lock the same ones never wait for each other.

        Of several with one id, the strictest comes first: the step has one folder for all of them.
        """

        def rank(mount: m.Mount) -> tuple[str, int]:
            if not isinstance(mount, m.CacheMount):
                return "", 0
            return mount.id, _STRICTEST.index(mount.sharing)

        return sorted(mounts, key=rank)

    def _cache(
        self, mount: m.CacheMount, inputs: Sequence[Result], running: Running, held: ExitStack
    ) -> str:
        from lamina.ops.mount_weight import weighed

        folder = held.enter_context(
            self.workshop.cache_mounts.use(
                mount,
                self.op.platform,
                fill=lambda directory: self._fill(mount, inputs, directory, running),
                note=running.step.note,
                cancelled=running.cancelled,
                refill=self.workshop.seed is not None,
                step=running.step.name,
                waited=running.step.waited,
            )
        )
        held.enter_context(weighed(mount, folder.path, running.step))
        return folder.path

    def _fill(
        self, mount: m.CacheMount, inputs: Sequence[Result], directory: str, running: Running
    ) -> None:
        """Give a new cache mount what it had elsewhere, or what its `from` and `source` say."""
        seed = self.workshop.seed
        if seed is not None and seed(
            mount.id,
            self.op.platform,
            directory,
            step=running.step,
            cancelled=running.cancelled,
        ):
            return
        if mount.input is None:
            return
        from lamina.ops.copying.export import copy_out

        tree = self.workshop.binder.stacks.view(_stack(inputs[mount.input]))
        copy_out(tree, os.fsencode(mount.source), directory)


def _check_part(mount: m.CacheMount, folder: str) -> None:
    """Raises UserError where the part of the cache that is to be mounted is not in it."""
    if mount.input is not None or mount.source == "/":
        return
    inner = resolve_in_root(folder, os.fsencode(mount.source))
    if not os.path.lexists(os.path.join(os.fsencode(folder), inner)):
        raise UserError(f"cache mount {mount.id} holds no {mount.source}")


def killed(found: OutOfMemory) -> str:
    """`killed by the kernel for lack of memory: process cc1plus at 7.8 GiB`"""
    text = "killed by the kernel for lack of memory"
    if found.process:
        return f"{text}: process {found.process} at {gibibytes(found.used)}"
    return f"{text} at {gibibytes(found.peak)}" if found.peak else text


def _check_texts(process: Process) -> None:
    """The kernel ends a text at a NUL byte: none may be lost there. Raises UserError."""
    if any("\0" in text for text in process.args):
        raise UserError("the command holds a NUL byte")
    for name, value in process.env:
        if "\0" in value:
            raise UserError(
                f"the value of {name} holds a NUL byte, which no variable can",
                hint="a secret with such bytes can be mounted as a file",
            )


def _mounted(root: Root) -> OverlayMount | BindMount:
    match root:
        case OverlayRoot():
            return OverlayMount(lower=root.lower, upper=root.upper, work=root.work)
        case PlainRoot():
            return BindMount(source=root.path, target="/", read_only=False)


def _stack(result: Result) -> Stack:
    assert isinstance(result, tuple)
    return result


def _place(mount: m.Mount) -> str:
    if isinstance(mount, m.SecretMount):
        return mount.target or f"${mount.env}"
    return mount.target


def _describe(mount: m.Mount) -> str:
    """What of a mount is part of the key, besides the files of a bind mount."""
    match mount:
        case m.BindMount():
            return f"bind {mount.source} {'ro' if mount.read_only else 'rw'}"
        case m.CacheMount():
            place = mount.source.strip("/") if mount.input is None else ""
            return " ".join(filter(None, ("cache", "ro" if mount.read_only else "rw", place)))
        case m.TmpfsMount():
            return f"tmpfs {mount.size}"
        case m.SecretMount():
            return f"secret {mount.id} {mount.env or ''} {mount.mode:o} {mount.uid}:{mount.gid}"
        case m.SshMount():
            return f"ssh {mount.id} {mount.mode:o} {mount.uid}:{mount.gid}"


def _secret_file(mount: m.SecretMount, target: str, value: bytes) -> FileMount:
    return FileMount(target=target, content=value, mode=mount.mode, uid=mount.uid, gid=mount.gid)


def _environment(op: ExecOp, variables: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Later ones win: proxies, what the Dockerfile says, what mounts set."""
    pairs = dict(op.proxies)
    pairs |= {variable.name: variable.value for variable in op.env}
    pairs |= dict(variables)
    pairs.pop("", None)  # some images have one; no process can be given it
    return tuple(pairs.items())
