"""The platform that an image is for: what was asked for, and what its base says."""

from __future__ import annotations

from lamina.oci.config import ImageConfig
from lamina.oci.platform import Platform


def platform_of(config: ImageConfig) -> Platform:
    return Platform(
        os=config.os,
        architecture=config.architecture,
        variant=config.variant,
        os_version=config.os_version,
        os_features=config.os_features,
    )


def stated(wanted: Platform, found: Platform) -> Platform:
    """The platform that was asked for, with what only the image knows about it."""
    same = (wanted.os, wanted.architecture) == (found.os, found.architecture)
    return Platform(
        os=wanted.os,
        architecture=wanted.architecture,
        variant=wanted.variant or (found.variant if same else ""),
        os_version=wanted.os_version or (found.os_version if same else ""),
        os_features=wanted.os_features or found.os_features,
    )
