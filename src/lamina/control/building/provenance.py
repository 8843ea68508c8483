"""What a build says about where an image came from: provenance, as SLSA v1 or v0.2.

The predicate has the form of BuildKit's (docs/attestations/slsa-definitions.md there), so that
policies written for it hold here. It never contains the value of a secret, nor the password of a
URL.

Times and the number of the build differ between builds of the same. With SOURCE_DATE_EPOCH the
times are that moment, and nothing else of the kind is written; so with `reproducible=true`, which
leaves the times out.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from lamina import __version__
from lamina.control.building.bases import ImageOrigin
from lamina.control.building.steps import BuildSteps, last_step, redacted, steps_of
from lamina.control.request import BuildRequest, ProvenanceRequest
from lamina.dockerfile.environment import PROXIES
from lamina.dockerfile.sources import WEB
from lamina.exporter.attestation import package_url
from lamina.exporter.image import Attestation, rfc3339, rfc3339_precise
from lamina.graph.mounts import SecretMount, SshMount
from lamina.graph.ops import ExecOp, HttpOp, ImageOp, LocalOp
from lamina.graph.vertex import Vertex
from lamina.layer.stack import Stack
from lamina.oci.descriptor import Descriptor
from lamina.oci.digest import Digest, encoded
from lamina.oci.platform import Platform, normalized
from lamina.oci.reference import parse_reference
from lamina.solver.port import Result
from lamina.source import SourceFile

V1 = "https://slsa.dev/provenance/v1"
V02 = "https://slsa.dev/provenance/v0.2"
BUILD_TYPE_V1 = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
BUILD_TYPE_V02 = "https://mobyproject.org/buildkit@v1"

Json = dict[str, Any]


class BuildFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a whole build, whatever the platform.

    `results` are those of every step, and `content_of` the digest of the only file in one (a
    download). `builder` is the platform of this machine, `name` the build's. `started` and
    `finished` are in seconds since 1970.
    """

    request: BuildRequest
    wanted: ProvenanceRequest
    dockerfile: SourceFile
    origins: Mapping[ImageOp, ImageOrigin]
    results: Mapping[Vertex, Result]
    content_of: Callable[[Stack], Digest]
    builder: Platform
    name: str
    started: float
    finished: float


def steps_below(targets: Sequence[Vertex]) -> tuple[Vertex, ...]:
    """Every step that the targets come of, once."""
    found = (vertex for target in targets for vertex in steps_of(target, {}).vertices)
    return tuple(dict.fromkeys(found))


def provenance(target: Vertex, facts: BuildFacts) -> Attestation | None:
    """The statement about one image; None for an image without files, which comes from nowhere."""
    steps = steps_of(target, facts.origins)
    if not steps.vertices:
        return None

    def predicate(layers: Mapping[Digest, Descriptor], epoch: int | None) -> bytes:
        made = _predicate(steps, facts, layers, epoch)
        text = json.dumps(made if facts.wanted.version == "v1" else _v02(made), ensure_ascii=False)
        # A Dockerfile and its arguments may hold bytes that are no text, which JSON cannot.
        return text.encode("utf-8", "replace")

    return Attestation(
        predicate_type=V1 if facts.wanted.version == "v1" else V02,
        predicate=predicate,
        made=facts.finished,
        filename=facts.wanted.filename,
        inline_only=facts.wanted.inline_only,
    )


def _predicate(
    steps: BuildSteps,
    facts: BuildFacts,
    layers: Mapping[Digest, Descriptor],
    epoch: int | None,
) -> Json:
    wanted = facts.wanted
    arguments = _arguments(facts.request)
    told = arguments if wanted.maximal else _harmless(arguments)
    internal: Json = {"builderPlatform": str(normalized(facts.builder))}
    metadata: Json = {}
    if wanted.maximal:
        internal["buildConfig"] = {
            "llbDefinition": steps.definition(),
            "digestMapping": steps.digests(),
        }
        metadata["source"] = _source(steps, facts.dockerfile)
        if found := _layers(steps, facts.results, layers):
            metadata["layers"] = found
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE_V1,
            "externalParameters": {
                "configSource": _config_source(facts),
                "request": {
                    "frontend": "dockerfile.v0",
                    **({"args": told} if told else {}),
                    **(_needed(steps) if wanted.maximal else {}),
                    "locals": [{"name": name} for name in _locals(steps, facts.request)],
                },
            },
            "internalParameters": internal,
            "resolvedDependencies": _materials(steps, facts),
        },
        "runDetails": {
            "builder": {"id": wanted.builder_id, "version": {"lamina": __version__}},
            "metadata": {
                **_moments(facts, epoch),
                "buildkit_metadata": metadata,
                "buildkit_completeness": {
                    "request": len(told) == len(arguments),
                    # The context is read in place, and has no digest.
                    "resolvedDependencies": False,
                },
                **({"buildkit_reproducible": True} if wanted.reproducible else {}),
            },
        },
    }


def _v02(made: Json) -> Json:
    """The same in the form of SLSA v0.2."""
    definition, details = made["buildDefinition"], made["runDetails"]
    external, internal = definition["externalParameters"], definition["internalParameters"]
    metadata, source = details["metadata"], dict(external["configSource"])
    completeness = metadata["buildkit_completeness"]
    names = {
        "invocationId": "buildInvocationID",
        "startedOn": "buildStartedOn",
        "finishedOn": "buildFinishedOn",
    }
    steps = {"buildConfig": internal["buildConfig"]} if "buildConfig" in internal else {}
    source["entryPoint"] = source.pop("path")
    return {
        "builder": {"id": details["builder"]["id"]},
        "buildType": BUILD_TYPE_V02,
        "materials": definition["resolvedDependencies"],
        "invocation": {
            "configSource": source,
            "parameters": external["request"],
            "environment": {"platform": internal["builderPlatform"]},
        },
        **steps,
        "metadata": {
            **{new: metadata[old] for old, new in names.items() if old in metadata},
            "completeness": {
                "parameters": completeness["request"],
                "environment": True,
                "materials": completeness["resolvedDependencies"],
            },
            "reproducible": metadata.get("buildkit_reproducible", False),
            "https://mobyproject.org/buildkit@v1#metadata": metadata["buildkit_metadata"],
        },
    }


def _moments(facts: BuildFacts, epoch: int | None) -> Json:
    if epoch is not None:
        return {"startedOn": rfc3339(epoch), "finishedOn": rfc3339(epoch)}
    if facts.wanted.reproducible:
        return {}
    return {
        "invocationId": facts.name,
        "startedOn": rfc3339_precise(facts.started),
        "finishedOn": rfc3339_precise(facts.finished),
    }


def _config_source(facts: BuildFacts) -> Json:
    context = facts.request.context
    uri = {"uri": redacted(context)} if context.startswith(WEB) else {}
    return {**uri, "path": facts.dockerfile.name}


def _arguments(request: BuildRequest) -> dict[str, str]:
    """The flags that make a difference, by the names that BuildKit has for them."""
    arguments = {f"build-arg:{name}": value for name, value in request.build_args.items()}
    for name in request.build_args:
        if name.lower() in PROXIES:
            arguments[f"build-arg:{name}"] = redacted(request.build_args[name])
    arguments |= {f"label:{name}": value for name, value in request.labels.items()}
    for name, value in request.named_contexts.items():
        arguments[f"context:{name}"] = _context(name, value)
    if request.target:
        arguments["target"] = request.target
    if request.no_cache or request.no_cache_filter:
        arguments["no-cache"] = "" if request.no_cache else ",".join(request.no_cache_filter)
    if request.network != "default":
        arguments["force-network-mode"] = request.network
    if request.extra_hosts:
        hosts = (f"{host}={address}" for host, address in request.extra_hosts)
        arguments["add-hosts"] = ",".join(hosts)
    if request.shm_size:
        arguments["shm-size"] = str(request.shm_size)
    if request.ulimits:
        limits = (f"{name}={soft}:{hard}" for name, soft, hard in request.ulimits)
        arguments["ulimit"] = ",".join(limits)
    return dict(sorted(arguments.items()))


def _harmless(arguments: Mapping[str, str]) -> dict[str, str]:
    """Without what may tell more than the user means to (mode=min)."""
    private = ("build-arg:", "label:")
    return {name: value for name, value in arguments.items() if not name.startswith(private)}


def _context(name: str, value: str) -> str:
    """A named context; where it lies on this machine is nobody's business."""
    if value.startswith("oci-layout://"):
        return f"oci-layout:{name}"
    return redacted(value) if "://" in value else f"local:{name}"


def _locals(steps: BuildSteps, request: BuildRequest) -> list[str]:
    """The folders of this machine that were looked into."""
    names = {vertex.op.name for vertex in steps.vertices if isinstance(vertex.op, LocalOp)}
    if request.context != "-" and not request.context.startswith(WEB):
        names |= {"context", "dockerfile"}
    return sorted(names)


def _needed(steps: BuildSteps) -> Json:
    """The secrets and SSH agents that steps were given, by their ids."""
    found: dict[str, dict[str, bool]] = {"secrets": {}, "ssh": {}}
    for vertex in steps.vertices:
        for mount in vertex.op.mounts if isinstance(vertex.op, ExecOp) else ():
            if isinstance(mount, SecretMount | SshMount):
                known = found["secrets" if isinstance(mount, SecretMount) else "ssh"]
                known[mount.id] = known.get(mount.id, False) or mount.required
    return {
        kind: [
            {"id": name} if required else {"id": name, "optional": True}
            for name, required in sorted(known.items())
        ]
        for kind, known in found.items()
        if known
    }


def _materials(steps: BuildSteps, facts: BuildFacts) -> list[Json]:
    """Everything that came from elsewhere, with its digest: images, then files."""
    images, files = {}, {}
    for vertex in steps.vertices:
        if isinstance(vertex.op, ImageOp):
            origin = facts.origins.get(vertex.op) or ImageOrigin(
                reference=parse_reference(vertex.op.reference),
                digest=vertex.op.digest,
                local=False,
            )
            reference = origin.reference
            if origin.local:
                reference = msgspec.structs.replace(reference, tag=None, digest=origin.digest)
            url = package_url(reference, vertex.op.platform, local=origin.local)
            images[url] = {"uri": url, "digest": {"sha256": encoded(origin.digest)}}
        elif isinstance(vertex.op, HttpOp):
            url = redacted(vertex.op.url)
            stack = facts.results[vertex]
            assert isinstance(stack, tuple)
            digest = facts.content_of(stack)
            files[url] = {"uri": url, "digest": {"sha256": encoded(digest)}}
    return [known[url] for known in (images, files) for url in sorted(known)]


def _source(steps: BuildSteps, dockerfile: SourceFile) -> Json:
    text = dockerfile.text.encode("utf-8", "surrogateescape")
    read = {"id": "step0", "op": {"Op": {"source": {"identifier": "local://dockerfile"}}}}
    return {
        "locations": steps.locations(),
        "infos": [
            {
                "filename": dockerfile.name,
                "language": "Dockerfile",
                "data": b64encode(text).decode(),
                "llbDefinition": [read, last_step(1)],
            }
        ],
    }


def _layers(
    steps: BuildSteps, results: Mapping[Vertex, Result], known: Mapping[Digest, Descriptor]
) -> Json:
    """The blobs of the steps whose layers all have one: those that the image was made of."""
    found: Json = {}
    for place, vertex in enumerate(steps.vertices):
        stack = results[vertex]
        if not isinstance(stack, tuple):
            continue
        blobs = [known.get(layer.id) or layer.blob for layer in stack]
        if blobs and all(blobs):
            found[f"step{place}:0"] = [[_blob(blob) for blob in blobs if blob is not None]]
    return found


def _blob(blob: Descriptor) -> Json:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}
