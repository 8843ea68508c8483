"""What stands above the shell in which a failed step can be looked at."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.errors import LaminaError
from lamina.ui.printable import escaped
from lamina.ui.render_error import render_error


def render_shell_notice(
    error: LaminaError,
    *,
    shell: str,
    command: str,
    emptied: Sequence[str],
    shared: Sequence[str],
    color: bool,
) -> str:
    """`command` is the variable that holds the failed command, `emptied` are tmpfs mounts, `shared`
    are cache mounts.
    """
    lines = [
        f"This is {shell} in the files of the failed step, with its mounts and variables.",
        f'To repeat the command: eval "${command}". To end the build: exit, or Ctrl-D.',
    ]
    if emptied:
        lines.append(f"Empty again: {', '.join(emptied)} (tmpfs).")
    kept = f", but in {', '.join(shared)} (cache mounts)" if shared else ""
    lines.append(f"What you change here is thrown away{kept}.")
    text = "".join(f"{escaped(line)}\n" for line in lines)
    return f"{render_error(error, color=color)}\n{text}\n"
