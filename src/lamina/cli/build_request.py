"""The flags of `lamina build` to a BuildRequest."""

from __future__ import annotations

import os
from collections.abc import Mapping

from msgspec.structs import replace

from lamina.cli import flag_values as parse
from lamina.cli.docker_config import proxy_arguments
from lamina.cli.key_values import choose, parse_environment_pairs, parse_pairs
from lamina.cli.step_flags import parse_on_error, parse_resources
from lamina.cli.values import Values
from lamina.control.request import (
    BuildRequest,
    CacheRequest,
    OutputRequest,
    ProvenanceRequest,
)
from lamina.errors import UsageError
from lamina.notation.boolean import parse_bool
from lamina.oci.platform import host_platform
from lamina.oci.reference import parse_reference
from lamina.ui.progress import MODES, Mode

NETWORKS = ("default", "none", "host")
ISOLATIONS = ("default", "namespaces", "oci")
EPOCH = "SOURCE_DATE_EPOCH"


def build_request(values: Values, environ: Mapping[str, str], *, machine: str) -> BuildRequest:
    """Raises UsageError. `machine` is what `uname -m` says."""
    context = _context(values)
    dockerfile = values.given("file") or None
    if context == "-" and dockerfile == "-":
        raise UsageError("the context and the Dockerfile cannot both come from standard input")
    platforms = values.texts("platform") or tuple(
        filter(None, [environ.get("DOCKER_DEFAULT_PLATFORM")])
    )
    return BuildRequest(
        context=context,
        dockerfile=dockerfile,
        tags=tuple(dict.fromkeys(map(parse.parse_tag, values.texts("tag")))),
        target=values.text("target"),
        build_args=build_arguments(values.texts("build_arg"), environ),
        named_contexts=dict(map(parse.parse_named_context, values.texts("build_context"))),
        platforms=parse.parse_platforms(platforms, host=host_platform(machine)),
        labels=parse_pairs("--label", values.texts("label")),
        annotations=dict(map(parse.parse_annotation, values.texts("annotation"))),
        provenance=_provenance(values),
        outputs=build_outputs(values),
        cache_from=_caches(values, "cache_from"),
        cache_to=_caches(values, "cache_to"),
        no_cache=values.is_set("no_cache"),
        no_cache_filter=_listed(values.texts("no_cache_filter")),
        pull=values.is_set("pull"),
        secrets=tuple(
            {
                secret.id: secret
                for text in values.texts("secret")
                for secret in [parse.parse_secret(text, environ)]
            }.values()
        ),
        ssh=tuple(map(parse.parse_ssh, values.texts("ssh"))),
        extra_hosts=tuple(
            pair for text in values.texts("add_host") for pair in parse.parse_host(text)
        ),
        network=choose("--network", values.text("network") or "default", NETWORKS, what="mode"),
        shm_size=parse.parse_bytes("--shm-size", values.text("shm_size") or "0"),
        ulimits=tuple(map(parse.parse_ulimit, values.texts("ulimit"))),
        allow=tuple(map(parse.parse_entitlement, _listed(values.texts("allow")))),
        iidfile=values.given("iidfile") or None,
        metadata_file=values.given("metadata_file") or None,
        jobs=_jobs(values),
        isolation=choose(
            "--isolation", values.text("isolation") or "default", ISOLATIONS, what="driver"
        ),
        resources=parse_resources(values),
        on_error=parse_on_error(values.given("on_error")),
    )


def build_arguments(texts: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """Those given, SOURCE_DATE_EPOCH of the environment, and the proxies of Docker's config."""
    given = parse_environment_pairs("--build-arg", texts, environ)
    if EPOCH not in given and environ.get(EPOCH):
        given[EPOCH] = environ[EPOCH]
    known = {name.upper() for name in given}
    proxies = proxy_arguments(environ)
    return {**{k: v for k, v in proxies.items() if k.upper() not in known}, **given}


def progress_mode(values: Values, environ: Mapping[str, str]) -> Mode:
    """`--progress` and `-q`; where nothing is said, $BUILDKIT_PROGRESS."""
    name = values.given("progress") or "auto"
    flag = "--progress"
    if name == "auto" and environ.get("BUILDKIT_PROGRESS"):
        name, flag = environ["BUILDKIT_PROGRESS"], "$BUILDKIT_PROGRESS"
    choose(flag, name, MODES, what="mode")
    mode = next(mode for mode in MODES if mode == name)
    if not values.is_set("quiet"):
        return mode
    if values.given("progress") not in (None, "auto", "quiet"):
        raise UsageError(f"--progress={name} and --quiet cannot be used together")
    return "quiet"


def _context(values: Values) -> str:
    given = values.texts("context")
    if len(given) == 1 and given[0]:
        return given[0]
    if not any(given):
        raise UsageError(
            "the build context is missing",
            hint="give one directory, archive (-) or URL: lamina build [FLAGS] .",
        )
    raise UsageError(
        f"one build context is needed, not {len(given)}: {' '.join(given)}",
        hint="flags with a value are written --flag=value or --flag value",
    )


def build_outputs(values: Values) -> tuple[OutputRequest, ...]:
    """`--output`, `--push` and `--load`: as in buildx, the two switches change outputs that are
    there, and add one where none can be changed. What is pushed comes last, when nothing else can
    fail any more. Raises UsageError.
    """
    outputs = tuple(parse.parse_output(text) for text in values.texts("output") if text)
    if values.is_set("push"):
        outputs = _pushed(outputs)
    if values.is_set("load") and all(output.type != "image" for output in outputs):
        outputs += (OutputRequest(type="image"),)
    outputs = tuple(sorted(outputs, key=lambda output: output.pushes))
    for output in outputs:
        if output.pushes:
            _check_names(output, values)
    if values.text("iidfile") and any(output.type in ("local", "tar") for output in outputs):
        raise UsageError("--iidfile cannot be used with --output type=local or type=tar")
    streams = [output for output in outputs if _to_stdout(output)]
    if len(streams) > 1:
        raise UsageError("only one output can be written to standard output")
    return outputs


def _pushed(outputs: tuple[OutputRequest, ...]) -> tuple[OutputRequest, ...]:
    if all(output.type != "image" for output in outputs):
        return (*outputs, OutputRequest(type="image", attributes={"push": "true"}))
    return tuple(
        replace(output, attributes={**output.attributes, "push": "true"})
        if output.type == "image"
        else output
        for output in outputs
    )


def _check_names(output: OutputRequest, values: Values) -> None:
    """What is pushed goes where its names say: better said before the build."""
    tags = values.texts("tag")
    if not tags and not output.attributes.get("name"):
        raise UsageError("tag is needed when pushing to registry", hint="add -t REGISTRY/NAME:TAG")
    by_digest = parse_bool(output.attributes.get("push-by-digest", "false") or "true")
    for tag in tags if by_digest else ():
        if parse_reference(tag).tag:
            raise UsageError(
                f"can't push tagged ref {tag} by digest", hint="leave out the tag of -t"
            )


def _to_stdout(output: OutputRequest) -> bool:
    return output.type in ("oci", "docker", "tar") and output.dest in (None, "-")


def writes_to_stdout(request: BuildRequest) -> bool:
    """Whether standard output is taken by an archive."""
    return any(map(_to_stdout, request.outputs))


def _listed(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(item for text in texts for item in text.split(",") if item)


def _jobs(values: Values) -> int:
    jobs = values.number("jobs")
    if jobs < 0:
        raise UsageError(f"invalid value {jobs} for --jobs: it is a number of steps")
    return jobs


def _provenance(values: Values) -> ProvenanceRequest | None:
    wanted = [
        (f"--{name}", text)
        for name in ("attest", "provenance", "sbom")
        for text in values.texts(name)
        if text
    ]
    if not wanted:
        return None
    from lamina.cli.attestations import parse_attestations

    provenance = parse_attestations(wanted)
    outputs = (parse.parse_output(text) for text in values.texts("output") if text)
    if provenance is not None and any(output.type == "docker" for output in outputs):
        raise UsageError(
            "docker exporter does not support exporting manifest lists, which an image with"
            " attestations is one of",
            hint="write type=oci, or leave out --provenance and --attest",
        )
    return provenance


def _caches(values: Values, name: str) -> tuple[CacheRequest, ...]:
    texts = [text for text in values.texts(name) if text]
    if not texts:
        return ()
    from lamina.cli.cache_values import parse_caches

    return tuple(cache for text in texts for cache in parse_caches(name, text))


def check_files(request: BuildRequest) -> None:
    """The files of secrets are there, and the folders of what is written at the end: better said
    before the build than in the middle of it.
    """
    for flag, path in (("--iidfile", request.iidfile), ("--metadata-file", request.metadata_file)):
        if path is not None and not os.path.isdir(os.path.dirname(path) or "."):
            raise UsageError(f"{flag}: there is no folder {os.path.dirname(path)}")
    for secret in request.secrets:
        if secret.path is None:
            continue
        try:
            os.stat(secret.path)
        except OSError as error:
            raise UsageError(
                f"secret {secret.id}: cannot read {secret.path}: {error.strerror}",
                hint="--secret id=ID,src=FILE or --secret id=ID,env=VARIABLE",
            ) from None
