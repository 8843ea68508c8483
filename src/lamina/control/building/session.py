"""One build, from its inputs to its outputs: what `lamina build` is made of."""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

import msgspec
from msgspec.structs import replace

from lamina.cache.memos import BuildMemos
from lamina.cache.steps import StepCache
from lamina.control import wiring
from lamina.control.building.bases import ImageBases, context_name
from lamina.control.building.checks import BuildChecks, check_build, warn_failed_build
from lamina.control.building.dating import SourceTimes
from lamina.control.building.inputs import Inputs, open_inputs
from lamina.control.building.outcome import dated
from lamina.control.recording.chronicle import Chronicle
from lamina.control.request import BuildRequest, OutputRequest
from lamina.control.store import KeyLocks, Store
from lamina.dockerfile.lower import lower
from lamina.dockerfile.request import Lowered, LoweringRequest
from lamina.errors import HostError, LaminaError, RemoteError
from lamina.executor.spec import InteractiveExecutor
from lamina.exporter.annotations import parse_flags
from lamina.exporter.blobs import LayerBlobs
from lamina.exporter.image import BuiltImage
from lamina.exporter.meter import progress_of
from lamina.exporter.port import ExportContext, Exporter, ExportResult
from lamina.graph.ops import Limits
from lamina.graph.vertex import Vertex
from lamina.layer.stack import Layer, LayerLost, Stack
from lamina.oci.digest import Digest, digest_from
from lamina.oci.platform import Platform, host_platform, parse_platform
from lamina.ops.copying.select import SourceNotFound
from lamina.ops.remains import Morgue
from lamina.ops.stacks import Stacks
from lamina.solver.port import Result
from lamina.solver.solver import Solver
from lamina.trace.recorder import Recorder, Step

if TYPE_CHECKING:
    from lamina.control.caching.places import ExternalCaches
    from lamina.remotecache.composing import Built


def outputs_of(request: BuildRequest) -> tuple[OutputRequest, ...]:
    """What was asked for; without that, the image goes to the local image store."""
    return request.outputs or (OutputRequest(type="image"),)


class Solution(msgspec.Struct, kw_only=True):
    """What comes of a build before it is exported. `solver` knows the steps."""

    name: str
    started: float
    lowered: Sequence[Lowered]
    solver: Solver
    images: Sequence[BuiltImage] = ()


class BuildSession(msgspec.Struct):
    """One build, with everything it works with."""

    request: BuildRequest
    store: Store
    recorder: Recorder
    environ: Mapping[str, str]
    inputs: Inputs
    bases: ImageBases
    stacks: Stacks
    memory: StepCache
    memos: BuildMemos
    chronicle: Chronicle
    caches: ExternalCaches | None
    platforms: tuple[Platform | None, ...]
    host: Platform
    executor: InteractiveExecutor | None = None
    morgue: Morgue | None = None
    _guard: threading.Lock = msgspec.field(default_factory=threading.Lock)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        request: BuildRequest,
        store: Store,
        recorder: Recorder,
        chronicle: Chronicle,
        caches: ExternalCaches | None,
        environ: Mapping[str, str],
        stdin: BinaryIO,
    ) -> Iterator[BuildSession]:
        host = host_platform(os.uname().machine)
        elsewhere = None if caches is None else caches.imports
        bases = ImageBases(
            store=store,
            recorder=recorder,
            contexts={context_name(name): value for name, value in request.named_contexts.items()},
            pull=request.pull,
            registry=wiring.registry(store, environ),
            caches=elsewhere,
        )
        stacks = Stacks(
            layers=store.layers,
            blobs=store.blobs,
            fetch=bases.fetch,
            recorder=recorder,
            locks=store.folder("locks"),
            reachable=bases.reachable,
            is_base=bases.has_layer,
            proven=store.index.add_layer,
        )
        platforms = tuple(parse_platform(text, host=host) for text in request.platforms) or (None,)
        with open_inputs(request, store, stdin, environ) as inputs:
            chronicle.dockerfile = inputs.dockerfile
            store.space.tell = recorder.warn
            store.mounts.build = chronicle.build
            store.mounts.dockerfile = inputs.locus
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
                memory=StepCache(
                    store.index,
                    exists=stacks.exists,
                    elsewhere=elsewhere,
                    added=None if caches is None else caches.offer,
                    runs=store.space.foresee,
                    found=store.space.hold_layers,
                ),
                memos=BuildMemos(store.index, elsewhere),
                chronicle=chronicle,
                caches=caches,
                platforms=platforms,
                host=host,
                morgue=Morgue() if request.on_error is not None else None,
            )
            try:
                yield build
            finally:
                if build.executor is not None:
                    build.executor.close()

    def solve(self, name: str) -> Solution:
        """Build the image of every platform. `name` is the build's."""
        started = datetime.datetime.now(datetime.UTC).timestamp()
        with self.recorder.internal(f"load build definition from {self.inputs.dockerfile.name}"):
            pass
        lowered = self._lower()
        targets = [each.vertex for each in lowered]
        solver = Solver(
            provider=wiring.provider(
                self.request,
                self.store,
                self.inputs,
                self.bases,
                self.stacks,
                self.open_executor,
                memos=self.memos,
                log=self.chronicle.log,
                environ=self.environ,
                seed=None if self.caches is None else self.caches.mounts_of(targets),
                morgue=self.morgue,
            ),
            memory=self.memory,
            single_flight=KeyLocks(self.store.folder("locks")),
            recorder=self.recorder,
            jobs=self.request.jobs or max(4, os.cpu_count() or 1),
        )
        solution = Solution(name=name, started=started, lowered=lowered, solver=solver)
        if self.caches is not None:
            self.caches.prepare(self.layer_blobs(), self.stacks)
        self._solve(solution)
        return solution

    def _solve(self, solution: Solution) -> None:
        """Make the images; again after a layer was lost that could be had before."""
        targets = [each.vertex for each in solution.lowered]
        try:
            results = solution.solver.solve(
                [*targets, *self._told(targets)],
                demanded=targets if self._needs_layers() else (),
            )
        except SourceNotFound as error:
            if error.hint is None and error.span and ".." in error.span.text.split("/"):
                error.hint = "a source cannot be outside of the build context: .. stops at its root"
            raise
        self.memory.flush()
        images = []
        for each, stack in zip(solution.lowered, results, strict=False):
            assert isinstance(stack, tuple)
            images.append(self._image(each, stack))
        solution.images = images
        if self.caches is not None:
            built = self.built(self.caches, solution)
            images = self.caches.inlined(images, built, epoch=solution.lowered[0].epoch)
        if self.request.provenance is not None:
            images = self._attested(images, targets, results[len(targets) :], solution)
        solution.images = images

    def built(self, caches: ExternalCaches, solution: Solution) -> Built:
        """What the build has to say to external caches."""
        records = self.memory.used(solution.solver.keys())
        return caches.built(records, self.memos.used(), solution.images)

    def _needs_layers(self) -> bool:
        """Whether somebody wants the layers of the images, and not only to know what they are."""
        return any(output.type != "cacheonly" for output in outputs_of(self.request))

    def _told(self, targets: Sequence[Vertex]) -> Sequence[Vertex]:
        """Steps whose results are wanted too: provenance tells of them."""
        if self.request.provenance is None:
            return ()
        from lamina.control.building.provenance import steps_below

        return steps_below(targets)

    def _attested(
        self,
        images: Sequence[BuiltImage],
        targets: Sequence[Vertex],
        results: Sequence[Result],
        solution: Solution,
    ) -> list[BuiltImage]:
        from lamina.control.building.provenance import BuildFacts, provenance, steps_below

        assert self.request.provenance is not None
        facts = BuildFacts(
            request=self.request,
            wanted=self.request.provenance,
            dockerfile=self.inputs.dockerfile,
            origins=self.bases.origins,
            results=dict(zip(steps_below(targets), results, strict=True)),
            content_of=self._only_file,
            builder=self.host,
            name=solution.name,
            started=solution.started,
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
        solution: Solution,
        exporters: Sequence[tuple[OutputRequest, Exporter]],
        stdout: BinaryIO,
    ) -> list[ExportResult]:
        blobs = self.layer_blobs()
        results = []
        for output, exporter in exporters:
            with self.recorder.step_of(f"exporting to {output.type}") as step:
                context = ExportContext(
                    content=self.store.blobs,
                    blobs=blobs,
                    view=self.stacks.view,
                    store=self.store.images,
                    target=wiring.targets(self.environ),
                    names=self.request.tags,
                    annotations=parse_flags(self.request.annotations),
                    epoch=solution.lowered[0].epoch,
                    multi_platform=len(self.platforms) > 1 or self.request.multi_platform,
                    stdout=stdout,
                    progress=progress_of(step),
                )
                results.append(self._export(solution, exporter, context, step))
        return results

    def layer_blobs(self) -> LayerBlobs:
        return LayerBlobs(
            content=self.store.blobs,
            layers=self.store.layers,
            index=self.store.index,
            fetch=self._fetch,
            unpack=lambda layer: self.stacks.ensure((layer,)),
            contents=self.store.layers.contents,
        )

    def _export(
        self, solution: Solution, exporter: Exporter, context: ExportContext, step: Step
    ) -> ExportResult:
        """Write one output. An external cache may turn out not to have what it promised."""
        while True:
            try:
                return exporter.export(solution.images, context)
            except LayerLost as error:
                if all(self.stacks.exists(image.stack) for image in solution.images):
                    raise  # nothing would be made again
                step.note(f"{error}: the step that made it runs again")
                self._solve(solution)

    def _fetch(self, layer: Layer) -> None:
        """Bring the blob of a layer that an output wants."""
        try:
            self.stacks.fetch(layer, lambda done, total: None)
        except (RemoteError, HostError) as error:
            if layer.pulled:
                raise
            raise self.stacks.lose(layer, error) from error

    def checks(self) -> BuildChecks:
        """What the build checks of this build depend on."""
        return BuildChecks(
            request=self.request,
            inputs=self.inputs,
            bases=self.bases,
            host=self.host,
            platform=self.platforms[0],
        )

    def lowered_first(self) -> Lowered:
        """The graph of the first platform."""
        return lower(self._lowering(self.platforms[0]), self.bases)

    def _lower(self) -> list[Lowered]:
        """Every platform's graph. The checks look at the first, as soon as its bases are known."""
        try:
            first = self.lowered_first()
        except LaminaError:
            warn_failed_build(self.checks(), recorder=self.recorder)
            raise
        check_build(self.checks(), index=self.store.index, recorder=self.recorder)
        return [first, *(lower(self._lowering(each), self.bases) for each in self.platforms[1:])]

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
        times = (
            each.created or layers.made_at(each.id)
            for each in stack
            if not each.pulled and (each.created or layers.has(each.id))
        )
        return max(times, default=None)

    def open_executor(self) -> InteractiveExecutor:
        """The executor, made when the first step runs: a cached build needs none."""
        with self._guard:
            if self.executor is None:
                self.executor = wiring.choose_executor(self.request.isolation, self.store)
                self.executor.prepare()
                for note in self.executor.notes:
                    self.recorder.warn(note)
            return self.executor
