"""The tree that a step stands on, as a part of its key."""

from __future__ import annotations

from lamina.cachekey.key import Part
from lamina.layer.stack import Stack
from lamina.ops.stacks import identity


def parent_part(stack: Stack, *, base: bool) -> Part:
    """`base`: the tree is that of an image, which only a new image changes."""
    return Part("base" if base else "parent", identity(stack))
