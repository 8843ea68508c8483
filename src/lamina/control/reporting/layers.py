"""The layers that the steps of a build have piled up, as far as the store still holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from lamina.control.store import Store
from lamina.errors import LaminaError
from lamina.layer.entry import Manifest
from lamina.layer.stack import Layer, Stack
from lamina.layer.waste import Wasted, weigh
from lamina.oci.digest import parse_digest
from lamina.trace.report import ReportedImage, ReportedLayer, Sized, WastedFile
from lamina.trace.steps import RecordedStep

_LARGEST = 8  # files of a layer that are named


class Layers:
    """Finds the layers of steps in the cache."""

    def __init__(self, store: Store, steps: dict[int, RecordedStep]) -> None:
        self.store = store
        self.steps = steps

    def images(self) -> tuple[ReportedImage, ...]:
        """The images that the build came to: the steps of stages that no other step builds on.

        Of a build that failed, the last step on the way that has a result.
        """
        used = {n for step in self.steps.values() for group in step.inputs for n in group}
        ends = [s for s in self.steps.values() if s.position and s.number not in used]
        return tuple(image for step in ends for image in self._image(step))

    def _image(self, end: RecordedStep) -> Iterator[ReportedImage]:
        chain = self._chain(end)
        while chain and not self._stack(chain[-1]):
            chain.pop()
        if not chain:
            return
        stack = self._stack(chain[-1])
        makers: list[RecordedStep | None] = [None] * len(stack)
        below = sum(layer.pulled for layer in stack)
        for step in chain:
            high = len(self._stack(step))
            for place in range(below, min(high, len(stack))):
                makers[place] = step
            below = max(below, high)
        yield ReportedImage(
            name=end.stage, layers=tuple(self._layers(stack, makers, self._base(chain)))
        )

    def _chain(self, end: RecordedStep) -> list[RecordedStep]:
        """The steps that a step stands on, lowest first, and itself."""
        chain = [end]
        while chain[-1].inputs and chain[-1].inputs[0]:
            below = self.steps.get(chain[-1].inputs[0][0])
            if below is None or below in chain:
                break
            chain.append(below)
        return chain[::-1]

    @staticmethod
    def _base(chain: Sequence[RecordedStep]) -> str:
        return _name(chain[0]) if chain[0].verdict is None else ""

    def _stack(self, step: RecordedStep) -> Stack:
        if not step.key:
            return ()
        try:
            record = self.store.index.record(parse_digest(step.key))
        except LaminaError:
            return ()
        return record.stack if record is not None else ()

    def _manifest(self, layer: Layer) -> Manifest | None:
        try:
            if not self.store.layers.has(layer.id):
                return None
            return self.store.layers.manifest(layer.id)
        except LaminaError:
            return None

    def _layers(
        self, stack: Stack, makers: Sequence[RecordedStep | None], base: str
    ) -> Iterator[ReportedLayer]:
        contents, wasted = weigh([self._manifest(layer) for layer in stack], largest=_LARGEST)
        names = [_name(step) if step is not None else base or "base image" for step in makers]
        hidden: dict[int, list[Wasted]] = {}
        for waste in wasted:
            hidden.setdefault(waste.layer, []).append(waste)
        for place, (layer, content, maker) in enumerate(zip(stack, contents, makers, strict=True)):
            lost = hidden.get(place, [])
            worst = sorted(lost, key=lambda each: (-each.size, each.path))[:_LARGEST]
            yield ReportedLayer(
                id=layer.id,
                step=maker.number if maker is not None else None,
                name=names[place],
                known=content is not None,
                size=content.size if content else layer.blob.size if layer.blob else 0,
                added=content.added if content else 0,
                overwrote=content.overwrote if content else 0,
                removed=content.removed if content else 0,
                largest=tuple(
                    Sized(path=shown(entry.path), size=entry.size)
                    for entry in (content.largest if content else ())
                ),
                wasted=sum(each.size for each in lost),
                waste=tuple(
                    WastedFile(
                        path=shown(each.path), size=each.size, how=each.how, by=names[each.by]
                    )
                    for each in worst
                ),
            )


def _name(step: RecordedStep) -> str:
    return f"[{step.label}] {step.text}" if step.label else step.text


def shown(path: bytes) -> str:
    """A path for people: bytes that are not UTF-8 are spelled out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
