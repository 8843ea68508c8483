"""Lets everything below believe that it is root: an ordinary user gets a user namespace."""

from __future__ import annotations

import os


def become_root() -> None:
    """Enter a user namespace where the process is not root. Call it before any thread starts.

    Raises HostError where the machine refuses, naming the setting to change.
    """
    if os.geteuid() == 0:
        return
    from lamina.executor.userns import enter_user_namespace

    enter_user_namespace()
