"""From a RUN step that failed to an error that says why, as far as anybody can tell."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lamina.errors import StepFailed, UserError
from lamina.executor.spec import BindMount, ContainerSpec, OverlayMount
from lamina.graph.ops import ExecOp
from lamina.ops.diagnosis import Facts, diagnose
from lamina.ops.failed_tree import FailedTree
from lamina.ops.remains import Attempt

if TYPE_CHECKING:
    from lamina.layer.stack import Stack
    from lamina.snapshot.store import LayerStore

_ROOM = 64 * 1024  # bytes; less than that is a full disk
_COULD_NOT_START = 127
_BINFMT = "/proc/sys/fs/binfmt_misc"


def examine(
    error: UserError,
    attempt: Attempt,
    *,
    op: ExecOp,
    spec: ContainerSpec,
    layers: LayerStore,
    below: Stack,
) -> None:
    """Give the error of a step the likely cause as its hint, where there is evidence, and the place
    of the whole output.
    """
    status = attempt.status
    found = diagnose(
        Facts(
            op=op,
            code=status.code if status is not None else _COULD_NOT_START,
            complaint=error.message if status is None else "",
            output=attempt.output.decode("utf-8", "replace"),
            tree=FailedTree(layers, below, spec.root),
            machine=os.uname().machine,
            emulated=_is_emulated,
            disk_full=_full_disk(spec.root),
            out_of_memory=status.out_of_memory if status is not None else None,
            signal=status.signal if status is not None else 0,
        )
    )
    log = f"its whole output is in {attempt.path}" if isinstance(error, StepFailed) else None
    hints = [found or error.hint, log]
    error.hint = "\n".join(filter(None, hints)) or None


def _full_disk(root: OverlayMount | BindMount) -> str:
    """The place of a step's tree if there is no room left, which a program may not say."""
    place = root.upper if isinstance(root, OverlayMount) else root.source
    try:
        room = os.statvfs(place or "/")
    except OSError:
        return ""
    return (place or "/") if room.f_bavail * room.f_frsize < _ROOM else ""


def _is_emulated(machine: str) -> bool:
    return os.path.exists(f"{_BINFMT}/qemu-{machine}")
