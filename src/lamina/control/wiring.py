"""The one place where drivers are chosen: executor, snapshotter, registry, outputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, BinaryIO

from lamina.cache.memos import Memos
from lamina.content.source import ImageSource
from lamina.content.target import ImageTarget
from lamina.control.building.bases import ImageBases
from lamina.control.building.inputs import Inputs
from lamina.control.request import BuildRequest, CacheRequest, OutputRequest
from lamina.control.store import Store
from lamina.errors import UsageError
from lamina.executor.spec import Executor, InteractiveExecutor, Resources
from lamina.exporter.port import Exporter, OpenTarget
from lamina.graph.ops import (
    CopyOp,
    ExecOp,
    HttpOp,
    ImageOp,
    LocalOp,
    MakeDirOp,
    MergeOp,
    ScratchOp,
)
from lamina.graph.vertex import Vertex
from lamina.ops.bind import Binder
from lamina.ops.copy import Copy
from lamina.ops.makedir import MakeDir
from lamina.ops.remains import Morgue
from lamina.ops.run import Run, Seed, Workshop
from lamina.ops.secrets import SecretPlace, Secrets
from lamina.ops.sources import Given, Merge
from lamina.ops.stacks import Stacks
from lamina.snapshot.snapshotter import Snapshotter
from lamina.solver.port import Cached, Direct, Provider

if TYPE_CHECKING:
    from lamina.ops.agents import Agents
    from lamina.remotecache.place import CachePlace, Setting


def choose_executor(isolation: str, store: Store) -> InteractiveExecutor:
    """`default` is the embedded driver, `oci` the first OCI runtime that works.

    Raises UsageError for another word.
    """
    state = store.folder("executor")
    match isolation:
        case "default" | "namespaces":
            from lamina.executor.namespaces import NamespacesExecutor

            return NamespacesExecutor(state=state)
        case "oci":
            from lamina.executor.oci import OciExecutor

            return OciExecutor(state=state)
        case _:
            raise UsageError(
                f"unknown isolation {isolation!r}", hint="known are default, namespaces and oci"
            )


def check_limits(resources: Resources) -> None:
    """Raises HostError where this machine cannot limit the steps so."""
    from lamina.executor import limits

    limits.plan(resources, "lamina")


def choose_snapshotter(store: Store) -> Callable[[], Snapshotter]:
    """Overlays where the kernel mounts them, plain copies where it does not.

    Made when it is first needed. Call this before threads are started: it may have to try.
    """
    overlays = _mounts_overlays(store)

    @cache
    def open_snapshotter() -> Snapshotter:
        from concurrent.futures import ThreadPoolExecutor

        pool = ThreadPoolExecutor(os.cpu_count())
        if overlays:
            from lamina.snapshot.overlay import OverlaySnapshotter

            return OverlaySnapshotter(store.layers, hash_pool=pool)
        from lamina.snapshot.copying import CopyingSnapshotter

        return CopyingSnapshotter(store.layers, hash_pool=pool)

    return open_snapshotter


def _mounts_overlays(store: Store) -> bool:
    """Tried once for every user and boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        question = f"{file.read().strip()} {os.getuid()} {store.layers.root}".encode()
    known = store.index.memo("overlay", question)
    if known is None:
        from lamina.snapshot.probe import overlay_works

        known = b"yes" if overlay_works(store.layers) else b"no"
        store.index.add_memo("overlay", question, known)
    return known == b"yes"


def registry(store: Store, environ: Mapping[str, str]) -> Callable[[], ImageSource]:
    """Makes the client of the registries when it is first needed."""

    @cache
    def open_registry() -> ImageSource:
        from lamina.registry.client import RegistryClient
        from lamina.registry.resolve import RegistrySource

        return RegistrySource(RegistryClient(environ=environ), store.blobs)

    return open_registry


def targets(environ: Mapping[str, str]) -> OpenTarget:
    """Makes the client that pushes to registries when it is first needed."""

    @cache
    def open_target(insecure: frozenset[str]) -> ImageTarget:
        from lamina.registry.client import RegistryClient
        from lamina.registry.push import RegistryTarget

        return RegistryTarget(RegistryClient(environ=environ, insecure=insecure))

    return open_target


def choose_exporter(output: OutputRequest) -> Exporter:
    """Raises UsageError for an unknown type or attribute."""
    match output.type:
        case "oci":
            from lamina.exporter.oci import OciExporter

            return OciExporter.parse(output.dest, output.attributes)
        case "docker":
            from lamina.exporter.docker import DockerExporter

            return DockerExporter.parse(output.dest, output.attributes)
        case "tar":
            from lamina.exporter.tar import TarExporter

            return TarExporter.parse(output.dest, output.attributes)
        case "local":
            from lamina.exporter.local import LocalExporter

            return LocalExporter.parse(output.dest, output.attributes)
        case "image" if output.pushes:
            from lamina.exporter.push import PushExporter

            return PushExporter.parse(output.dest, output.attributes)
        case "image":
            from lamina.exporter.store import StoreExporter

            return StoreExporter.parse(output.dest, output.attributes)
        case "cacheonly":
            from lamina.exporter.cacheonly import CacheOnlyExporter

            return CacheOnlyExporter.parse(output.dest, output.attributes)
        case _:
            raise UsageError(
                f"unknown output type {output.type!r}",
                hint="known are oci, docker, tar, local, image, registry and cacheonly",
            )


def choose_cache(cache: CacheRequest, setting: Setting, *, writes: bool) -> CachePlace:
    """The place of a --cache-from, or with `writes` of a --cache-to; asks nobody yet.

    Raises UsageError for an unknown type or attribute.
    """
    match cache.type:
        case "registry":
            from lamina.remotecache import registry as backend

            return backend.parse(cache.attributes, setting, writes=writes)
        case "local":
            from lamina.remotecache import local

            return local.parse(cache.attributes, setting, writes=writes)
        case "inline":
            raise UsageError(
                "--cache-from type=inline: an inline cache is read from the image that holds it",
                hint="--cache-from type=registry,ref=IMAGE",
            )
        case "s3" | "gs" | "azblob" | "gha":
            from lamina.control.caching.objects import object_place

            return object_place(cache, setting, writes=writes)
        case _:
            raise UsageError(
                f"unknown cache type {cache.type!r}",
                hint="known are registry, local, inline, s3, gs, azblob and gha",
            )


def provider(
    request: BuildRequest,
    store: Store,
    inputs: Inputs,
    bases: ImageBases,
    stacks: Stacks,
    executor: Callable[[], Executor],
    *,
    memos: Memos,
    log: Callable[[int], tuple[str, BinaryIO]],
    environ: Mapping[str, str],
    seed: Seed | None = None,
    morgue: Morgue | None = None,
) -> Provider:
    """Makes operations executable with the drivers of this build."""
    workshop = Workshop(
        binder=Binder(stacks=stacks, memos=memos),
        snapshotter=choose_snapshotter(store),
        executor=executor,
        cache_mounts=store.mounts,
        secrets=Secrets(
            places={s.id: SecretPlace(path=s.path, env=s.env) for s in request.secrets},
            environ=environ,
        ),
        agents=lambda: _agents(request, environ),
        log=log,
        seed=seed,
        morgue=morgue,
        resources=request.resources,
    )

    def provide(vertex: Vertex) -> Direct | Cached:
        based = bool(vertex.inputs) and isinstance(vertex.inputs[0].op, ImageOp)
        match vertex.op:
            case ScratchOp():
                return Given(())
            case ImageOp() as op:
                stack = bases.stacks[op.digest, op.platform]
                return Given(stack, present=stacks.unpacked(stack))
            case LocalOp() as op:
                return Given(inputs.context if op.name == "context" else inputs.trees[op.name])
            case HttpOp() as op:
                from lamina.ops.download import Download

                return Download(op, store.layers, store.index, environ)
            case CopyOp() as op:
                return Copy(op, stacks, memos, base=based)
            case MakeDirOp() as op:
                return MakeDir(op, stacks, base=based)
            case ExecOp() as op:
                return Run(op, workshop, base=based)
            case MergeOp():
                return Merge()

    return provide


def _agents(request: BuildRequest, environ: Mapping[str, str]) -> Agents:
    from lamina.ops.agents import Agents

    sockets, keys = {}, {}
    for source in request.ssh:
        if not source.paths:
            agent = environ.get("SSH_AUTH_SOCK")
            if not agent:
                raise UsageError(
                    f"--ssh {source.id}: there is no SSH agent (SSH_AUTH_SOCK is not set)"
                )
            sockets[source.id] = agent
        elif len(source.paths) == 1 and _is_socket(source.paths[0]):
            sockets[source.id] = source.paths[0]
        else:
            keys[source.id] = source.paths
    return Agents(sockets=sockets, keys=keys)


def _is_socket(path: str) -> bool:
    import stat

    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise UsageError(f"--ssh: {path}: {error.strerror}") from None
