"""What a user asks of `lamina build`, as values: the command line is parsed into these."""

from __future__ import annotations

from dataclasses import dataclass, field

from lamina.oci.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSource:
    """`--secret`: where a secret's value comes from; exactly one of `path` and `env` is set."""

    id: str
    path: str | None = None
    env: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSource:
    """`--ssh`: an agent's socket, or private keys (then an agent is made for them)."""

    id: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRequest:
    """`--output`: `type` is oci, docker, tar, local, image or cacheonly; `dest` "-" is standard output.

    `attributes` holds the other keys as they were written (`tar`, `compression`, `name` …).
    """

    type: str
    dest: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """Everything that `lamina build` was given.

    `context` is a path, `-` or a URL. `dockerfile` is a path, `-`, a URL, or None for `Dockerfile` in the
    context. `build_args` hold None for a name whose value comes from the environment and is not set there.
    `no_cache_filter` names stages. `named_contexts` maps a name to what it stands for, as written.
    `platforms` are as written; none is the machine's own.
    """

    context: str
    dockerfile: str | None = None
    tags: tuple[Reference, ...] = ()
    target: str = ""
    build_args: dict[str, str] = field(default_factory=dict)
    named_contexts: dict[str, str] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    outputs: tuple[OutputRequest, ...] = ()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOutcome:
    """What came of a build. `image_id` is the config's digest, `digest` that of the manifest or index."""

    image_id: str | None
    digest: str | None
    metadata: dict[str, object]
    logs: str
