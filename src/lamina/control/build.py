"""`lamina build`: from a request to images and outputs."""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import BinaryIO

import msgspec
from msgspec.structs import replace

from lamina.cache.steps import StepCache
from lamina.control import wiring
from lamina.control.bases import ImageBases, familiar
from lamina.control.dating import SourceTimes
from lamina.control.inputs import Inputs, open_inputs
from lamina.control.outcome import dated, outcome
from lamina.control.privileges import become_root
from lamina.control.request import BuildOutcome, BuildRequest, OutputRequest
from lamina.control.store import KeyLocks, Store, new_log_folder, open_store
from lamina.dockerfile.lower import lower
from lamina.dockerfile.request import Lowered, LoweringRequest
from lamina.executor.spec import Executor, InteractiveExecutor
from lamina.exporter.annotations import parse_flags
from lamina.exporter.blobs import LayerBlobs
from lamina.exporter.image import BuiltImage
from lamina.exporter.port import ExportContext, Exporter, ExportResult
from lamina.graph.ops import Limits
from lamina.graph.vertex import Vertex
from lamina.layer.stack import Stack
from lamina.oci.digest import Digest, digest_from
from lamina.oci.platform import Platform, host_platform, parse_platform
from lamina.ops.copying.select import SourceNotFound
from lamina.ops.stacks import Stacks
from lamina.solver.port import Result
from lamina.solver.solver import Solver
from lamina.trace.recorder import Recorder, Step, Watcher


def run_build(
    request: BuildRequest,
    *,
    root: str,
    watchers: tuple[Watcher, ...],
    environ: Mapping[str, str],
    stdin: BinaryIO,
    stdout: BinaryIO,
) -> BuildOutcome:
    """Build, and write every output. The watchers see all that happens, the error included.

    Raises LaminaError.
    """
    exporters = [(output, wiring.choose_exporter(output)) for output in _outputs(request)]
    limit = become_root()
    store = open_store(root)
    recorder = Recorder(watchers)
    name = os.urandom(13).hex()
    recorder.build_started(name)
    if limit:
        recorder.warn(limit)
    try:
        with _Build.open(request, store, recorder, environ, stdin) as build:
            images, epoch = build.solve(name)
            results = build.export(images, exporters, epoch, stdout)
    except BaseException as error:
        told = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        recorder.build_finished(told or type(error).__name__)
        raise
    recorder.build_finished()
    return outcome(request, results, name, build.logs)


def _outputs(request: BuildRequest) -> tuple[OutputRequest, ...]:
    """What was asked for; without that, the image goes to the local image store."""
    return request.outputs or (OutputRequest(type="image"),)


class _Build(msgspec.Struct):
    """One build, with everything it works with."""

    request: BuildRequest
    store: Store
    recorder: Recorder
    environ: Mapping[str, str]
    inputs: Inputs
    bases: ImageBases
    stacks: Stacks
    logs: str
    platforms: tuple[Platform | None, ...]
    host: Platform
    executor: InteractiveExecutor | None = None
    _guard: threading.Lock = msgspec.field(default_factory=threading.Lock)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        request: BuildRequest,
        store: Store,
        recorder: Recorder,
        environ: Mapping[str, str],
        stdin: BinaryIO,
    ) -> Iterator[_Build]:
        host = host_platform(os.uname().machine)
        bases = ImageBases(
            store=store,
            recorder=recorder,
            contexts={_context_name(name): value for name, value in request.named_contexts.items()},
            pull=request.pull,
            registry=wiring.registry(store, environ),
        )
        stacks = Stacks(
            layers=store.layers,
            blobs=store.blobs,
            fetch=bases.fetch,
            recorder=recorder,
            locks=store.folder("locks"),
        )
        platforms = tuple(parse_platform(text, host=host) for text in request.platforms) or (None,)
        with open_inputs(request, store, stdin, environ) as inputs:
            bases.times = SourceTimes(
                layers=store.layers,
                recorder=recorder,
                environ=environ,
                context=request.context,
                directory=inputs.context.root,
            )
            build = cls(
                request=request,
                store=store,
                recorder=recorder,
                environ=environ,
                inputs=inputs,
                bases=bases,
                stacks=stacks,
                logs=new_log_folder(store),
                platforms=platforms,
                host=host,
            )
            try:
                yield build
            finally:
                if build.executor is not None:
                    build.executor.close()

    def solve(self, name: str) -> tuple[list[BuiltImage], int | None]:
        """Build the image of every platform. `name` is the build's."""
        started = datetime.datetime.now(datetime.UTC).timestamp()
        with self.recorder.internal(f"load build definition from {self.inputs.dockerfile.name}"):
            pass
        lowered = [lower(self._lowering(platform), self.bases) for platform in self.platforms]
        for warning in lowered[0].warnings:
            span = warning.span
            self.recorder.warn(warning.message, file=span.file.name, line=span.line)
        memory = StepCache(self.store.index, exists=self.stacks.exists)
        solver = Solver(
            provider=wiring.provider(
                self.request,
                self.store,
                self.inputs,
                self.bases,
                self.stacks,
                self._executor,
                log=self._log,
                environ=self.environ,
            ),
            memory=memory,
            single_flight=KeyLocks(self.store.folder("locks")),
            recorder=self.recorder,
            jobs=self.request.jobs or max(4, os.cpu_count() or 1),
        )
        targets = [each.vertex for each in lowered]
        try:
            results = solver.solve([*targets, *self._told(targets)])
        except SourceNotFound as error:
            if error.hint is None and error.span and ".." in error.span.text.split("/"):
                error.hint = "a source cannot be outside of the build context: .. stops at its root"
            raise
        memory.flush()
        images = []
        for each, stack in zip(lowered, results, strict=False):
            assert isinstance(stack, tuple)
            images.append(self._image(each, stack))
        if self.request.provenance is not None:
            images = self._attested(images, targets, results[len(targets) :], name, started)
        return images, lowered[0].epoch

    def _told(self, targets: Sequence[Vertex]) -> Sequence[Vertex]:
        """Steps whose results are wanted too: provenance tells of them."""
        if self.request.provenance is None:
            return ()
        from lamina.control.provenance import steps_below

        return steps_below(targets)

    def _attested(
        self,
        images: Sequence[BuiltImage],
        targets: Sequence[Vertex],
        results: Sequence[Result],
        name: str,
        started: float,
    ) -> list[BuiltImage]:
        from lamina.control.provenance import BuildFacts, provenance, steps_below

        assert self.request.provenance is not None
        facts = BuildFacts(
            request=self.request,
            wanted=self.request.provenance,
            dockerfile=self.inputs.dockerfile,
            origins=self.bases.origins,
            results=dict(zip(steps_below(targets), results, strict=True)),
            content_of=self._only_file,
            builder=self.host,
            name=name,
            started=started,
            finished=datetime.datetime.now(datetime.UTC).timestamp(),
        )
        return [
            replace(image, attestation=provenance(target, facts))
            for image, target in zip(images, targets, strict=True)
        ]

    def _only_file(self, stack: Stack) -> Digest:
        """The digest of what was downloaded, which is a layer with one file."""
        (layer,) = stack
        (entry,) = self.store.layers.manifest(layer.id).entries
        return digest_from(entry.digest)

    def export(
        self,
        images: Sequence[BuiltImage],
        exporters: Sequence[tuple[OutputRequest, Exporter]],
        epoch: int | None,
        stdout: BinaryIO,
    ) -> list[ExportResult]:
        blobs = LayerBlobs(
            content=self.store.blobs,
            layers=self.store.layers,
            index=self.store.index,
            fetch=lambda layer: self.bases.fetch(layer, lambda done, total: None),
        )
        results = []
        for output, exporter in exporters:
            with self.recorder.step_of(f"exporting to {output.type}") as step:
                context = ExportContext(
                    content=self.store.blobs,
                    blobs=blobs,
                    view=self.stacks.view,
                    store=self.store.images,
                    names=self.request.tags,
                    annotations=parse_flags(self.request.annotations),
                    epoch=epoch,
                    multi_platform=len(self.platforms) > 1 or self.request.multi_platform,
                    stdout=stdout,
                    progress=partial(_tell, step),
                )
                results.append(exporter.export(images, context))
        return results

    def _lowering(self, platform: Platform | None) -> LoweringRequest:
        request = self.request
        return LoweringRequest(
            dockerfile=self.inputs.dockerfile,
            locus=self.inputs.locus,
            target=request.target,
            build_args=request.build_args,
            labels=request.labels,
            build_platform=self.host,
            platform=platform,
            multi_platform=len(self.platforms) > 1 or self.request.multi_platform,
            no_cache=request.no_cache,
            no_cache_stages=request.no_cache_filter,
            network=request.network,
            hostname=request.build_args.get("BUILDKIT_SANDBOX_HOSTNAME", ""),
            extra_hosts=request.extra_hosts,
            limits=Limits(ulimits=request.ulimits, shm_size=request.shm_size),
        )

    def _image(self, lowered: Lowered, stack: Stack) -> BuiltImage:
        return BuiltImage(
            platform=lowered.platform,
            config=dated(lowered.config, self._made(stack)),
            stack=stack,
            base_history=lowered.base_history,
        )

    def _made(self, stack: Stack) -> float | None:
        """When the newest layer was made; a cached build makes the same image, times included."""
        layers = self.store.layers
        return max(
            (
                os.path.getmtime(os.path.dirname(layers.diff_dir(each.id)))
                for each in stack
                if not each.pulled
            ),
            default=None,
        )

    def _executor(self) -> Executor:
        """The executor, made when the first step runs: a cached build needs none."""
        with self._guard:
            if self.executor is None:
                self.executor = wiring.choose_executor(self.request.isolation, self.store)
                self.executor.prepare()
                for note in self.executor.notes:
                    self.recorder.warn(note)
            return self.executor

    def _log(self, step: int) -> tuple[str, BinaryIO]:
        path = f"{self.logs}/{step}.log"
        return path, open(path, "ab", buffering=0)


def _tell(step: Step, what: str, now: int, total: int) -> None:
    """The progress of an output: bytes, or a single piece, whose end alone is worth a line."""
    if total > 1 or now:
        step.progress(what, now, total, unit="bytes" if total > 1 else "", done=now == total)


def _context_name(name: str) -> str:
    """`name` or `name::platform`, the name in its familiar form."""
    image, separator, platform = name.partition("::")
    return f"{familiar(image)}{separator}{platform}"
