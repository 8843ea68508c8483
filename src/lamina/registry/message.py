"""A request to a registry as a value, and its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from lamina.registry.auth import Scope
from lamina.registry.hosts import Place
from lamina.registry.transport import read_body, unreachable

if TYPE_CHECKING:
    import urllib3

PUSH = ("pull", "push")
"""What a token is to allow for whoever writes to a repository."""


class Body(Protocol):
    """Bytes to send, of a known number, which can be gone through again when a token was old. A
    piece is of use until the next one is asked for."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes | memoryview]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`method` on `/v2/<place.path>/<tail>`. `name` is what messages call the thing.

    `tail` may also be an address that the registry gave (of an upload, of a next page); credentials
    go there only if it is the registry's own. `actions` are what a token is to allow, in this
    repository and in those that lend a blob.
    """

    place: Place
    tail: str
    name: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Body | None = None
    actions: tuple[str, ...] = ("pull",)
    lenders: tuple[str, ...] = ()

    @property
    def domain(self) -> str:
        return self.place.domain

    @property
    def scope(self) -> Scope:
        return Scope(path=self.place.path, actions=self.actions, lenders=self.lenders)


class Answer:
    """A successful answer, whose body is still to be read. Close it, or read it to its end."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str) -> None:
        self._response = response
        self._url = url

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def url(self) -> str:
        """Who answered, after redirects."""
        return self._url

    def header(self, name: str) -> str:
        """Empty if there is none."""
        return self._response.headers.get(name, "")

    @property
    def length(self) -> int | None:
        """Content-Length in bytes, if it is known."""
        text = self.header("Content-Length")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none only at the end. Raises Unreachable if the connection breaks."""
        from urllib3.exceptions import HTTPError

        try:
            return self._response.read(size)
        except HTTPError as error:
            raise unreachable(self._url, error) from None

    def read_all(self, limit: int) -> bytes:
        """The body, cut after `limit` + 1 bytes. Raises Unreachable."""
        return read_body(self._response, url=self._url, limit=limit + 1)

    def close(self) -> None:
        """What was not read is dropped, with the connection where there is something left."""
        if self._response.length_remaining == 0:
            self._response.drain_conn()
        else:
            self._response.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
