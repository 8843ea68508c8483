"""The parsed flags of a command, read by type."""

from __future__ import annotations

from collections.abc import Mapping


class Values:
    """Flags by their names with `_` for `-`; one that was not given is "", () or False."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        value = self._values.get(name)
        return value if isinstance(value, str) else ""

    def given(self, name: str) -> str | None:
        """The value, or None where the flag was not given."""
        value = self._values.get(name)
        return value if isinstance(value, str) else None

    def texts(self, name: str) -> tuple[str, ...]:
        """All values of a flag that may be given several times."""
        value = self._values.get(name)
        return tuple(map(str, value)) if isinstance(value, tuple) else ()

    def is_set(self, name: str) -> bool:
        return self._values.get(name) is True

    def number(self, name: str) -> int:
        value = self._values.get(name)
        return value if isinstance(value, int) else 0
