"""`lamina build`: from a request to images and outputs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

from lamina.control import wiring
from lamina.control.building.outcome import outcome
from lamina.control.building.session import BuildSession, outputs_of
from lamina.control.privileges import become_root
from lamina.control.recording.chronicle import Chronicle
from lamina.control.recording.retention import parse_keep
from lamina.control.recording.sizes import size_of
from lamina.control.request import BuildOutcome, BuildRequest
from lamina.control.store import Store, open_store
from lamina.errors import HostError
from lamina.executor.spec import NO_LIMITS
from lamina.exporter.port import ExportResult
from lamina.oci.platform import host_platform, parse_platform
from lamina.trace.recorder import Recorder, Watcher

if TYPE_CHECKING:
    from lamina.control.building.failure import Opening
    from lamina.control.caching.places import CachePlaces, ExternalCaches


def run_build(
    request: BuildRequest,
    *,
    root: str,
    watchers: tuple[Watcher, ...],
    environ: Mapping[str, str],
    stdin: BinaryIO,
    stdout: BinaryIO,
    opening: Opening | None = None,
) -> BuildOutcome:
    """Build, and write every output. The watchers see all that happens, the error included.

    `opening` clears the terminal before a shell opens in a step that failed. Raises LaminaError.
    """
    exporters = [(output, wiring.choose_exporter(output)) for output in outputs_of(request)]
    limit = become_root()
    if request.resources != NO_LIMITS:
        wiring.check_limits(request.resources)
    store = open_store(root, environ)
    places = _places(request, store, environ)
    name = os.urandom(13).hex()
    chronicle = Chronicle(
        folder=os.path.join(store.folder("history"), name),
        build=name,
        request=request,
        keep=parse_keep(environ),
    )
    recorder = Recorder((*watchers, chronicle))
    recorder.build_started(name)
    if limit:
        recorder.warn(limit)
    try:
        with (
            _caches(places, store, recorder) as caches,
            BuildSession.open(request, store, recorder, chronicle, caches, environ, stdin) as build,
            _attending(build, opening),
        ):
            solution = build.solve(name)
            results = build.export(solution, exporters, stdout)
            if caches is not None:
                caches.finish(build.built(caches, solution))
    except BaseException as error:
        told = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        recorder.build_finished(told or type(error).__name__)
        _keep(chronicle, recorder, store, ())
        raise
    recorder.build_finished()
    _keep(chronicle, recorder, store, results)
    return outcome(request, results, name, chronicle.folder)


def _attending(
    build: BuildSession, opening: Opening | None
) -> contextlib.AbstractContextManager[None]:
    """Looks after a step that fails, where that was asked for."""
    if build.request.on_error is None:
        return contextlib.nullcontext()
    from lamina.control.building.failure import attending

    return attending(build, build.request.on_error, opening or (lambda notice: None))


def _keep(
    chronicle: Chronicle, recorder: Recorder, store: Store, results: Sequence[ExportResult]
) -> None:
    """Write the build's record. What came of the build does not depend on it."""
    kinds = [output.type for output in outputs_of(chronicle.request)]
    try:
        chronicle.finish(kinds, results, lambda key: size_of(store, key))
    except (OSError, HostError) as error:
        recorder.warn(f"the record of this build could not be kept: {error}")


def _places(request: BuildRequest, store: Store, environ: Mapping[str, str]) -> CachePlaces | None:
    """The external caches of a build, checked before anything else; None where it has none."""
    if not request.external_caches:
        return None
    from lamina.control.caching.places import choose_places

    host = host_platform(os.uname().machine)
    platforms = [parse_platform(text, host=host) for text in request.platforms] or [host]
    return choose_places(request, store, environ, platforms=platforms)


@contextlib.contextmanager
def _caches(
    places: CachePlaces | None, store: Store, recorder: Recorder
) -> Iterator[ExternalCaches | None]:
    """The external caches, which are being read from now on."""
    if places is None:
        yield None
        return
    from lamina.control.caching.places import ExternalCaches

    caches = ExternalCaches(places, store=store, recorder=recorder)
    caches.start()
    try:
        yield caches
    finally:
        caches.close()
