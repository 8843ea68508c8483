"""What the benchmark says follows from the numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from bench.chart import to_svg
from bench.growth import Curve, slope
from bench.measure import CommandFailed, Cost, measure
from bench.outputs import OutputsDiffer, check_equal, lay_over
from bench.report import Report, Result, to_json, to_markdown
from tests.support.images import Node, Tree


def cost(seconds: float, memory: int = 1 << 20) -> Cost:
    return Cost(seconds=seconds, cpu=seconds, memory=memory)


def result(ours: float, theirs: float, *, target: float, work: float = 0.0) -> Result:
    costs = {"lamina": [cost(ours)], "buildah": [cost(theirs)], "podman": [cost(theirs / 2)]}
    return Result(name="a < b", target=target, work=work, costs=costs)


def report(*results: Result) -> Report:
    builders = {"lamina": "1", "buildah": "2", "podman": "3"}
    absent = {"kaniko": "it is not installed"}
    return Report(machine={"cores": "2"}, builders=builders, absent=absent, results=results)


def file(content: str) -> Node:
    return Node(kind="file", mode=0o644, owner=(0, 0), content=content)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_exponent(exponent: float) -> None:
    """The fitted exponent of a power law is its own."""
    assert slope([(size, 3 * size**exponent) for size in (10, 100, 1000)]) == pytest.approx(
        exponent
    )


def test_last_exponent_ignores_start_up() -> None:
    """A constant flattens the whole curve; between the largest sizes it counts least."""
    curve = Curve(name="", target=1, seconds={size: 0.2 + size / 1000 for size in (10, 100, 1000)})
    assert curve.exponent < curve.last_exponent < 1


def test_ratio_is_over_the_work() -> None:
    """What the work itself takes is taken off both sides, and the reference is not podman."""
    assert result(2.5, 4.0, target=0.5, work=2.0).ratio() == pytest.approx(0.25)


def test_missed_target_is_bold() -> None:
    """A table shows which promise was not kept."""
    text = to_markdown(report(result(3, 4, target=0.5), result(1, 4, target=0.5)))
    assert "| **0.75** |" in text
    assert "| 0.25 |" in text


def test_nobody_is_left_out() -> None:
    """Builders that cannot run and scenarios that cannot be measured are named, with reasons."""
    text = to_markdown(report(Result(name="push", not_yet="no push")))
    assert "kaniko: it is not installed" in text
    assert "not yet: no push" in text


def test_json_has_every_round() -> None:
    """The numbers behind a median are kept."""
    assert to_json(report(result(3, 4, target=1))).count('"seconds"') == 3


def test_chart_is_well_formed() -> None:
    """The chart is XML, whatever scenarios are called, with two bars each and two in the legend."""
    bars = ElementTree.fromstring(to_svg([result(1, 2, target=1), result(2, 1, target=1)]))
    assert len(bars.findall("{*}rect")) == 6


def test_different_outputs_are_refused() -> None:
    """Trees that differ are named; what may differ does not count."""
    ours, theirs = {"log": file("1"), "a": file("x")}, {"log": file("2"), "a": file("x")}
    with pytest.raises(OutputsDiffer, match="log"):
        check_equal({"lamina": ours, "buildah": theirs}, differs=())
    assert check_equal({"lamina": ours, "buildah": theirs}, differs=("log",)).startswith("sha256:")


def test_layers_are_laid_over_each_other() -> None:
    """Whiteouts take away only what lies below their layer; a file replaces a whole folder."""
    folder = Node(kind="folder", mode=0o755, owner=(0, 0))
    tree: Tree = {"a": folder, "a/old": file("1"), "b": folder, "b/c": file("2"), "d": file("3")}
    link = Node(kind="hard link", mode=0, owner=(0, 0), link="a/new")
    layer = [("a/new", file("4")), ("a/.wh..wh..opq", file("")), ("b", file("5"))]
    lay_over(tree, [*layer, (".wh.d", file("")), ("e", link)])
    assert tree == {"a": folder, "a/new": file("4"), "b": file("5"), "e": file("4")}


def test_measured_command() -> None:
    """Memory of all processes together and processor time of children are seen."""
    worker = 'python3 -c \'b = bytearray(40 << 20); b[::4096] = b"1" * len(b[::4096])\n'
    worker += "import time; time.sleep(0.5)'"
    found = measure([["sh", "-c", f"{worker} & {worker} & wait"]], {"PATH": "/usr/bin:/bin"})
    assert found.memory > 80 << 20
    assert found.seconds > 0.5
    assert found.cpu > 0.01


def test_failed_command() -> None:
    """A build that fails is no measurement."""
    with pytest.raises(CommandFailed, match="told"):
        measure([["sh", "-c", "echo told; exit 3"]], {"PATH": "/usr/bin:/bin"})
