"""What stands above the shell in which a failed step can be looked at."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.errors import LaminaError
from lamina.ui.printable import escaped
from lamina.ui.render_error import render_error


def render_shell_notice(
    error: LaminaError, *, shell: str, command: str, emptied: Sequence[str], color: bool
) -> str:
    """`command` is the variable that holds the failed command, `emptied` are tmpfs mounts."""
    lines = [
        "",
        f"This is {escaped(shell)} in the files of the failed step, with its mounts and variables.",
        f'Repeat the command with  eval "${command}"  - exit or Ctrl-D ends the build.',
    ]
    if emptied:
        lines.append(f"What was in {escaped(', '.join(emptied))} (tmpfs) is gone.")
    lines.append("Nothing that you change here is kept, but in cache mounts.\n")
    return render_error(error, color=color) + "\n".join(lines)
