"""A small registry that takes the distribution spec at its word, and breaks off on demand.

What it has, and Debian's docker-registry 2.8 has not: a part that arrives incompletely stays, and
the status of the upload tells how much of it there is.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(slots=True, kw_only=True)
class ExactRegistry:
    """`cuts` are used up by requests with a body: so many bytes of it are kept, then the connection
    breaks. `forget` has it forget every upload at that point."""

    address: str = ""
    cuts: list[int] = field(default_factory=list)
    forget: bool = False
    takes_parts: bool = True
    least_part: int = 0
    blobs: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    received: int = 0
    requests: list[str] = field(default_factory=list)


@contextlib.contextmanager
def exact_registry() -> Iterator[ExactRegistry]:
    """A running one, on a free loopback port."""
    state = ExactRegistry()

    class Handler(_Handler):
        registry = state

    server = _Server(("127.0.0.1", 0), Handler)
    state.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may hang up as they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: ExactRegistry

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it was named
        pass

    def do_HEAD(self) -> None:
        self._note()
        blob = self.registry.blobs.get(self.path.rpartition("/")[2])
        self._answer(404 if blob is None else 200, {"Content-Length": str(len(blob or b""))})

    def do_GET(self) -> None:
        """The ping, and how far an upload got."""
        self._note()
        if self.path == "/v2/":
            self._answer(200)
        else:
            upload = self._upload()
            self._answer(404) if upload is None else self._answer(204, self._where(upload))

    def do_POST(self) -> None:
        self._note()
        name = str(len(self.registry.requests))
        self.registry.uploads[name] = bytearray()
        headers = {"Location": f"/v2/app/blobs/uploads/{name}"}
        if self.registry.least_part:
            headers["OCI-Chunk-Min-Length"] = str(self.registry.least_part)
        self._answer(202, headers)

    def do_PATCH(self) -> None:
        self._note()
        upload = self._upload()
        if upload is None:
            self._answer(404, close=True)
        elif not self.registry.takes_parts:
            self._answer(405, close=True)
        elif int(self.headers["Content-Range"].partition("-")[0]) != len(upload):
            self._answer(416, self._where(upload), close=True)
        elif self._read(upload):
            self._answer(202, self._where(upload))

    def do_PUT(self) -> None:
        self._note()
        upload = self._upload()
        if upload is None:
            self._answer(404, close=True)
        elif self._read(upload):
            wanted = parse_qs(urlsplit(self.path).query)["digest"][0]
            if wanted == f"sha256:{sha256(upload).hexdigest()}":
                self.registry.blobs[wanted] = bytes(upload)
                del self.registry.uploads[self._name()]
                self._answer(201)
            else:
                self._answer(400)

    def _note(self) -> None:
        self.registry.requests.append(self.command)

    def _name(self) -> str:
        return urlsplit(self.path).path.rpartition("/")[2]

    def _upload(self) -> bytearray | None:
        return self.registry.uploads.get(self._name())

    def _where(self, upload: bytearray) -> dict[str, str]:
        return {"Location": self.path, "Range": f"0-{max(len(upload) - 1, 0)}"}

    def _read(self, upload: bytearray) -> bool:
        """Whether the body came to its end."""
        length = int(self.headers["Content-Length"])
        cut = self.registry.cuts.pop(0) if length and self.registry.cuts else length
        data = self.rfile.read(min(cut, length))
        upload += data
        self.registry.received += len(data)
        if cut >= length:
            return True
        if self.registry.forget:
            self.registry.uploads.clear()
        self.close_connection = True
        return False

    def _answer(
        self, status: int, headers: dict[str, str] | None = None, *, close: bool = False
    ) -> None:
        self.close_connection = self.close_connection or close
        self.send_response(status)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
