"""What a Dockerfile is lowered with, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lamina.graph.ops import Limits
from lamina.graph.vertex import Vertex
from lamina.oci.config import ImageConfig
from lamina.oci.platform import Platform
from lamina.source import SourceFile


class LoweringRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`platform` None means the build's own, by implication: then a base image may have another
    one.

    `locus` names the Dockerfile for the cache (see graph.vertex). `no_cache` is the flag that
    forces every step, or ""; `no_cache_stages` are the stages of --no-cache-filter. `epoch` in
    seconds since 1970. `multi_platform` puts the platform into the names of the steps.
    """

    dockerfile: SourceFile
    locus: str = "Dockerfile"
    target: str = ""
    build_args: Mapping[str, str] = msgspec.field(default_factory=dict)
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    build_platform: Platform
    platform: Platform | None = None
    multi_platform: bool = False
    no_cache: bool = False
    no_cache_stages: tuple[str, ...] = ()
    network: str = "default"
    hostname: str = ""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    limits: Limits = msgspec.field(default_factory=Limits)


class Lowered(msgspec.Struct, frozen=True, kw_only=True):
    """One image to be: its files are what `vertex` gives, everything else is `config`.

    `epoch` is the build's SOURCE_DATE_EPOCH, where one was given. `base_history` is how many
    entries of the history are the base image's.
    """

    vertex: Vertex
    config: ImageConfig
    platform: Platform
    epoch: int | None
    base_history: int = 0
