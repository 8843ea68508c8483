"""Fixtures for the tests of COPY."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.copying import Copying


@pytest.fixture
def copying(tmp_path: Path) -> Iterator[Copying]:
    with ExitStack() as held:
        yield Copying(tmp_path, held)
