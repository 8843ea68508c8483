"""What a step that wrote files has to say about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.trace.recorder import Step

if TYPE_CHECKING:
    from lamina.ops.copying.write import Written


def tell(written: Written, step: Step) -> None:
    """Note the owners that are not known in the image, and what this machine did not let us set."""
    for name in written.unknown:
        step.note(f"{name} is not in /etc/passwd or /etc/group of the image: 0 is used")
    if written.notes:
        step.note(
            f"{len(written.notes)} files cannot have their owner or device on this machine; "
            "in the image they are right"
        )
