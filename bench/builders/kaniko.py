"""Kaniko's executor."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

from bench.builders import CannotRun

EXECUTOR = "/kaniko/executor"


def find(state: Path) -> NoReturn:
    """Raises CannotRun: it unpacks base images over its own root, and only from a registry."""
    if shutil.which("kaniko") is None and not os.access(EXECUTOR, os.X_OK):
        raise CannotRun(f"kaniko's executor is neither {EXECUTOR} nor the command kaniko")
    raise CannotRun("kaniko replaces the root file system that it runs in and wants a registry")
