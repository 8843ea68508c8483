"""Operations that bring a tree from elsewhere: nothing, an image, a directory of the machine, a
merge.
"""

from __future__ import annotations

from collections.abc import Sequence

from lamina.layer.stack import Stack
from lamina.layer.tree import Tree
from lamina.solver.port import Direct, Result, Running


class Given(Direct):
    """A result that is known without work: `scratch`, the layers of a resolved image, a local
    tree.
    """

    def __init__(self, result: Stack | Tree) -> None:
        self.result = result

    def solve(self, inputs: Sequence[Result], running: Running) -> Result:
        return self.result


class Merge(Direct):
    """COPY --link: the second input's layers on those of the first."""

    def solve(self, inputs: Sequence[Result], running: Running) -> Result:
        lower, upper = inputs
        assert isinstance(lower, tuple)
        assert isinstance(upper, tuple)
        return (*lower, *upper)
