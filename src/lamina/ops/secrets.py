"""Secrets: read when a step asks for them, kept nowhere."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lamina.errors import UserError
from lamina.graph.mounts import SecretMount

MAX_SECRET = 500 * 1024
"""Bytes; BuildKit's own bound."""


class SecretNotFound(UserError):
    """A step requires a secret or an agent that the build was not given."""


class SecretPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a secret is: a file, or a variable of the builder's environment."""

    path: str | None = None
    env: str | None = None


class Secrets(msgspec.Struct, frozen=True):
    """The secrets of a build, by id."""

    places: Mapping[str, SecretPlace]
    environ: Mapping[str, str]

    def value(self, mount: SecretMount) -> bytes | None:
        """The secret, or None if it is not there and need not be. Raises SecretNotFound,
        UserError.
        """
        place = self.places.get(mount.id)
        if place is not None and place.env is not None and place.env in self.environ:
            return self.environ[place.env].encode("utf-8", "surrogateescape")
        if place is not None and place.path is not None:
            return self._read(mount.id, place.path)
        if not mount.required:
            return None
        raise SecretNotFound(
            f"secret {mount.id}: not found",
            hint=f"give it with --secret id={mount.id},src=FILE or --secret id={mount.id},env=NAME",
        )

    def _read(self, name: str, path: str) -> bytes:
        try:
            with open(path, "rb") as file:
                value = file.read(MAX_SECRET + 1)
        except OSError as error:
            raise UserError(f"secret {name}: cannot read {path}: {error.strerror}") from None
        if len(value) > MAX_SECRET:
            raise UserError(f"secret {name}: {path} is larger than {MAX_SECRET} bytes")
        return value
