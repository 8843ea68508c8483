"""Annotations that name images in an index (OCI image spec, annotations.md; containerd's own)."""

REF_NAME = "org.opencontainers.image.ref.name"
"""The tag."""

IMAGE_NAME = "io.containerd.image.name"
"""The full name with its tag."""
