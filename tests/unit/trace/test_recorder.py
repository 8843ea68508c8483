"""How steps end in the trace."""

from __future__ import annotations

import pytest

from lamina.trace.events import Event, StepFinished
from lamina.trace.recorder import Recorder


@pytest.mark.parametrize(
    ("error", "told", "canceled"),
    [(KeyboardInterrupt(), "canceled", True), (ValueError("no way"), "no way", False)],
)
def test_an_interrupt_is_no_error_of_the_step(
    error: BaseException, told: str, canceled: bool
) -> None:
    """Ctrl-C in the middle of a push cancels it; nothing has failed."""
    seen: list[Event] = []
    with pytest.raises(type(error)), Recorder((seen.append,)).step_of("pushing"):
        raise error
    ended = seen[-1]
    assert isinstance(ended, StepFinished)
    assert (ended.error, ended.canceled) == (told, canceled)
