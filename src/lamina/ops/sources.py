"""Operations that bring a tree from elsewhere: nothing, an image, a local directory, a merge."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.layer.stack import Stack
from lamina.layer.tree import Tree
from lamina.solver.port import Direct, Result, Running


class Given(Direct):
    """A result that is known without work: `scratch`, the layers of an image, a local directory.

    `present` says that nothing of it will have to be fetched: then the step counts as cached.
    """

    def __init__(self, result: Stack | Tree, *, present: bool = False) -> None:
        self.result = result
        self.present = present

    def solve(self, inputs: Sequence[Result], running: Running) -> Result:
        running.step.finish(cached=self.present)
        return self.result


class Merge(Direct):
    """COPY --link: the second input's layers on those of the first."""

    def solve(self, inputs: Sequence[Result], running: Running) -> Result:
        lower, upper = inputs
        assert isinstance(lower, tuple)
        assert isinstance(upper, tuple)
        return (*lower, *upper)
