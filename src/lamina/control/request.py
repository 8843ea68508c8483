"""What a user asks of `lamina build`, as values: the command line is parsed into these."""

from __future__ import annotations

import msgspec

from lamina.errors import UserError
from lamina.executor.spec import NO_LIMITS, Resources
from lamina.notation.boolean import parse_bool
from lamina.oci.reference import Reference


class SecretSource(msgspec.Struct, frozen=True, kw_only=True):
    """`--secret`: where a secret's value comes from; exactly one of `path` and `env` is set."""

    id: str
    path: str | None = None
    env: str | None = None


class SshSource(msgspec.Struct, frozen=True, kw_only=True):
    """`--ssh`: an agent's socket, or private keys (then an agent is made for them)."""

    id: str
    paths: tuple[str, ...] = ()


class OutputRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`--output`: `type` is oci, docker, tar, local, image or cacheonly; `dest` "-" is standard
    output.

    `attributes` holds the other keys as they were written (`tar`, `compression`, `name` …).
    `type=registry` is written type=image,push=true.
    """

    type: str
    dest: str | None = None
    attributes: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def pushes(self) -> bool:
        """Whether it goes to registries."""
        push = self.attributes.get("push")
        return self.type == "image" and push is not None and parse_bool(push or "true") is True


class CacheRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`--cache-from` or `--cache-to`: `type` is registry, local, inline, s3, gs, azblob or gha.

    `attributes` holds the other keys as they were written.
    """

    type: str
    attributes: dict[str, str] = msgspec.field(default_factory=dict)


class ProvenanceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`--provenance` and `--attest type=provenance`: what a statement of provenance shall hold.

    `maximal` adds build arguments, labels, the Dockerfile and the steps. `version` is that of the
    SLSA predicate, v1 or v0.2. `filename` is its name in outputs that are files; `inline_only`
    leaves it out of those. `reproducible` is the builder's word that the same inputs give the same
    image: nothing that differs from build to build is written then.
    """

    maximal: bool = True
    version: str = "v1"
    builder_id: str = ""
    filename: str = "provenance.json"
    reproducible: bool = False
    inline_only: bool = False


class OnError(msgspec.Struct, frozen=True, kw_only=True):
    """`--on-error`: what happens with the files of a RUN step that failed.

    `action` is shell (look at them at once), keep (as an image of the local store) or export (into
    the folder `dest`: what the step has changed, with `whole` its whole root file system).
    """

    action: str
    dest: str = ""
    whole: bool = False


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `lamina build` was given.

    `context` is a path, `-` or a URL. `dockerfile` is a path, `-`, a URL, or None for `Dockerfile`
    in the context. `build_args` hold None for a name whose value comes from the environment and is
    not set there. `no_cache_filter` names stages. `named_contexts` maps a name to what it stands
    for, as written. `platforms` are as written; none is the machine's own.
    """

    context: str
    dockerfile: str | None = None
    tags: tuple[Reference, ...] = ()
    target: str = ""
    build_args: dict[str, str] = msgspec.field(default_factory=dict)
    named_contexts: dict[str, str] = msgspec.field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    provenance: ProvenanceRequest | None = None
    outputs: tuple[OutputRequest, ...] = ()
    cache_from: tuple[CacheRequest, ...] = ()
    cache_to: tuple[CacheRequest, ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    secrets: tuple[SecretSource, ...] = ()
    ssh: tuple[SshSource, ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()
    network: str = "default"
    shm_size: int = 0
    ulimits: tuple[tuple[str, int, int], ...] = ()
    allow: tuple[str, ...] = ()
    iidfile: str | None = None
    metadata_file: str | None = None
    jobs: int = 0
    isolation: str = "default"
    resources: Resources = NO_LIMITS
    on_error: OnError | None = None

    @property
    def external_caches(self) -> bool:
        """Whether a cache outside of the store may be read or written; an image can be one."""
        return bool(
            self.cache_from or self.cache_to or self.build_args.get("BUILDKIT_INLINE_CACHE")
        )

    @property
    def multi_platform(self) -> bool:
        """Whether one platform, too, becomes an index of images. Raises UserError."""
        text = self.build_args.get("BUILDKIT_MULTI_PLATFORM") or "false"
        value = parse_bool(text)
        if value is None:
            raise UserError(f"invalid boolean value for BUILDKIT_MULTI_PLATFORM: {text}")
        return value


class BuildOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a build. `image_id` is the config's digest, `digest` that of the manifest or
    index.
    """

    image_id: str | None
    digest: str | None
    metadata: dict[str, object]
    logs: str


class RunMount(msgspec.Struct, frozen=True, kw_only=True):
    """`-v` and `--mount` of `lamina run`: `type` is bind or tmpfs.

    `source` is an absolute path of the host ("" for tmpfs), `target` one in the container;
    `size` is that of a tmpfs in bytes, 0 for the kernel's default.
    """

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    size: int = 0


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `lamina run` was given.

    `command` replaces the image's CMD where it is not empty. `entrypoint` None keeps the image's
    ENTRYPOINT, "" removes it; where it is given, the image's CMD does not apply. `env` is added to
    the image's. `workdir` and `user` are the image's where they are "". `interactive` passes on
    standard input, `terminal` gives the process a terminal of its own.
    """

    image: str
    command: tuple[str, ...] = ()
    entrypoint: str | None = None
    env: dict[str, str] = msgspec.field(default_factory=dict)
    mounts: tuple[RunMount, ...] = ()
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    interactive: bool = False
    terminal: bool = False
    network: str = "default"
    extra_hosts: tuple[tuple[str, str], ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    shm_size: int = 0
    read_only: bool = False
    isolation: str = "default"


class PushRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `lamina push` was given.

    `names` are of the local store; `all_tags` pushes every one of their repositories' names.
    `platform` "" is all of an image.
    """

    names: tuple[str, ...]
    all_tags: bool = False
    platform: str = ""


class PushedName(msgspec.Struct, frozen=True, kw_only=True):
    """A name that a registry has now; `digest` and `size` in bytes are its manifest's."""

    reference: Reference
    digest: str
    size: int


class PulledImage(msgspec.Struct, frozen=True, kw_only=True):
    """A name that the local store has now; `digest` is that of the manifest or index in the
    registry. `new`: it meant something else before, or nothing.
    """

    reference: Reference
    digest: str
    new: bool


class ImageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A name in the local image store, for `lamina images`; `reference` None: an image without one.

    `image_id` is the digest of the configuration, `digest` that of the manifest or index, `created`
    seconds since 1970 (None: the image does not say), `size` the bytes of its layers,
    `platforms` as `os/architecture[/variant]`.
    """

    reference: Reference | None
    image_id: str
    digest: str
    created: float | None
    size: int
    platforms: tuple[str, ...] = ()
