"""Lets everything below believe that it is root: an ordinary user gets a user namespace."""

from __future__ import annotations

from lamina.executor.userns import Mode, enter_user_namespace


def become_root() -> str:
    """Enter a user namespace where the process lacks root's powers. Call it before threads start.

    Returns what the user should know of it, or "". Raises HostError where the machine refuses,
    naming the setting to change.
    """
    entered = enter_user_namespace()
    if entered.mode is not Mode.SINGLE:
        return ""
    return f"steps see one user id alone: {entered.reason}"
