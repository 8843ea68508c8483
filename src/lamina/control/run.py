"""`lamina run`: a command in a container made of an image, whose changes are thrown away."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

import msgspec

from lamina.control import wiring
from lamina.control.building.bases import ImageBases
from lamina.control.named import find_images
from lamina.control.privileges import become_root
from lamina.control.request import RunMount, RunRequest
from lamina.control.store import Store, open_store
from lamina.errors import InternalError, UserError
from lamina.executor.spec import (
    BindMount,
    ContainerSpec,
    Mount,
    Network,
    OverlayMount,
    Process,
    TmpfsMount,
    Ulimit,
)
from lamina.graph.ops import ImageOp
from lamina.layer.stack import Stack
from lamina.oci.config import ContainerConfig
from lamina.oci.platform import host_platform
from lamina.oci.reference import Reference, parse_reference
from lamina.ops.stacks import Stacks
from lamina.snapshot.snapshotter import OverlayRoot, PlainRoot, Root
from lamina.trace.recorder import Recorder, Watcher

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHM = 64 * 1024 * 1024


def run_container(
    request: RunRequest,
    *,
    root: str,
    environ: Mapping[str, str] = os.environ,
    watchers: tuple[Watcher, ...] = (),
) -> int:
    """Runs the command with the caller's own streams, and returns its exit code.

    The image comes from the local store, else from its registry. For the main thread alone.
    Raises UserError for an image that is nowhere, a mount without a source, or no command.
    """
    become_root()
    store = open_store(root)
    image = _find(request.image, store, Recorder(watchers), environ)
    process = planned_process(request, image.config)
    mounts = planned_mounts(request.mounts)
    image.stacks.ensure(image.stack)
    executor = wiring.choose_executor(request.isolation, store)
    try:
        with (
            wiring.choose_snapshotter(store)().prepare(image.stack) as active,
            _standard_input(wanted=request.interactive or request.terminal),
        ):
            spec = ContainerSpec(
                root=_mounted(active.root),
                mounts=mounts,
                process=process,
                network=Network.NONE if request.network == "none" else Network.HOST,
                hostname=request.hostname,
                extra_hosts=request.extra_hosts,
                ulimits=tuple(Ulimit(name=n, soft=s, hard=h) for n, s, h in request.ulimits),
                shm_size=request.shm_size or _SHM,
                read_only=request.read_only,
            )
            return executor.run_attached(spec, terminal=request.terminal).code
    finally:
        executor.close()


def planned_process(request: RunRequest, config: ContainerConfig) -> Process:
    """What runs: the image's configuration under the request's. Raises UserError for no command."""
    entrypoint = config.entrypoint or ()
    command = request.command or config.cmd or ()
    if request.entrypoint is not None:
        entrypoint = (request.entrypoint,) if request.entrypoint else ()
        command = request.command
    if not (*entrypoint, *command):
        raise UserError(
            f"no command: the image {request.image} has neither ENTRYPOINT nor CMD",
            hint="write it behind the image's name",
        )
    env = {"PATH": _PATH}
    if request.hostname:
        env["HOSTNAME"] = request.hostname
    if request.terminal:
        env["TERM"] = "xterm"
    env |= dict(_variable(text) for text in config.env or ())
    env |= request.env
    return Process(
        args=(*entrypoint, *command),
        env=tuple(env.items()),
        cwd=request.workdir or config.working_dir or "/",
        user=request.user or config.user,
        terminal=request.terminal,
    )


def planned_mounts(mounts: tuple[RunMount, ...]) -> tuple[Mount, ...]:
    """Outer targets first. Raises UserError for a source that is not there."""
    planned: list[Mount] = []
    for mount in sorted(mounts, key=lambda one: one.target.rstrip("/").count("/")):
        if mount.type == "tmpfs":
            planned.append(TmpfsMount(target=mount.target, size=mount.size))
            continue
        source = os.path.abspath(mount.source)
        if not os.path.exists(source):
            raise UserError(
                f"cannot mount {mount.source}: there is no such file or directory",
                hint="make it first: nothing is made in its place",
            )
        planned.append(BindMount(source=source, target=mount.target, read_only=mount.read_only))
    return tuple(planned)


class _Image(msgspec.Struct, frozen=True, kw_only=True):
    stacks: Stacks
    stack: Stack
    config: ContainerConfig


def _find(text: str, store: Store, recorder: Recorder, environ: Mapping[str, str]) -> _Image:
    bases = ImageBases(
        store=store,
        recorder=recorder,
        contexts={},
        pull=False,
        registry=wiring.registry(store, environ),
    )
    reference = _reference(text, store)
    platform = host_platform(os.uname().machine)
    base = bases.image(reference, platform, name=str(reference))
    op = base.vertex.op
    if not isinstance(op, ImageOp) or base.config is None:
        raise InternalError(f"{reference} is no image")
    return _Image(
        stacks=Stacks(
            layers=store.layers,
            blobs=store.blobs,
            fetch=bases.fetch,
            recorder=recorder,
            locks=store.folder("locks"),
            reachable=bases.reachable,
            proven=store.index.add_layer,
        ),
        stack=bases.stacks[op.digest, op.platform],
        config=base.config.config,
    )


def _reference(text: str, store: Store) -> Reference:
    """A name, or the ID of an image in the local store."""
    try:
        return find_images(store, text)[0].reference
    except UserError:
        return parse_reference(text).with_default_tag()


def _variable(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _mounted(root: Root) -> OverlayMount | BindMount:
    match root:
        case OverlayRoot():
            return OverlayMount(lower=root.lower, upper=root.upper, work=root.work)
        case PlainRoot():
            return BindMount(source=root.path, target="/", read_only=False)


@contextlib.contextmanager
def _standard_input(*, wanted: bool) -> Iterator[None]:
    """The container reads the caller's standard input where that is wanted, else nothing."""
    if wanted:
        yield
        return
    kept = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.dup2(nothing, 0)
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(nothing)
