"""A server in front of a registry that misbehaves on demand, and remembers what it was sent."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import assert_never


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The connection breaks after so many bytes of the body, which was announced in full."""

    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEarly:
    """The body ends after so many bytes, and its length was not announced."""

    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Another status, without asking the registry."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongBytes:
    """The last byte is another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TooMany:
    """More bytes than there should be, announced or not."""

    announced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreRange:
    """The whole blob, whatever part was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongRange:
    """Another part than was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Nothing more comes for some seconds after so many bytes."""

    after: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """The connection is closed without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongHeader:
    """A right answer with another header."""

    name: str
    value: str


Fault = (
    Cut
    | EndEarly
    | Status
    | WrongBytes
    | TooMany
    | IgnoreRange
    | WrongRange
    | Stall
    | Drop
    | WrongHeader
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request. Names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


class FaultyProxy:
    """Passes requests on to `upstream` (`host:port`), except for the faults it was told.

    `faults["blobs"]` is used up by requests whose path has `/blobs/` in it, one each; after that
    everything is right.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.faults: dict[str, list[Fault]] = {}
        self.seen: list[Seen] = []
        self.address = ""
        self._lock = threading.Lock()

    def fault(self, path: str) -> Fault | None:
        with self._lock:
            for part, faults in self.faults.items():
                if f"/{part}/" in path and faults:
                    return faults.pop(0)
        return None

    def requests(self, part: str, method: str = "GET") -> list[Seen]:
        return [each for each in self.seen if f"/{part}/" in each.path and each.method == method]


@contextlib.contextmanager
def faulty_proxy(upstream: str, *, tls: Path | None = None) -> Iterator[FaultyProxy]:
    """A running proxy on a free loopback port. `tls` has cert.pem and key.pem for HTTPS."""
    proxy = FaultyProxy(upstream)

    class Handler(_Handler):
        state = proxy

    server = _Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls / "cert.pem", tls / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    proxy.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield proxy
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
    state: FaultyProxy

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it was named
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.state.seen.append(Seen(method=self.command, path=self.path, headers=headers))
        fault = self.state.fault(self.path)
        if isinstance(fault, Drop):
            self.close_connection = True
        elif isinstance(fault, Status):
            self._send(fault.code, {**fault.headers, "Content-Length": str(len(fault.body))})
            self._write(fault.body)
        else:
            if isinstance(fault, IgnoreRange):
                headers.pop("range", None)
            if isinstance(fault, WrongRange):
                headers["range"] = "bytes=1-"
            self._pass_on(headers, fault)

    def _pass_on(self, headers: dict[str, str], fault: Fault | None) -> None:
        connection = http.client.HTTPConnection(self.state.upstream, timeout=10)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            sent = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in ("connection", "transfer-encoding")
            }
            self._misbehave(answer.status, sent, body, fault)

    def _misbehave(
        self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None
    ) -> None:
        match fault:
            case Cut(after=after):
                self._send(status, headers)
                self._write(body[:after])
                self.close_connection = True
            case EndEarly(after=after):
                headers.pop("Content-Length", None)
                self._send(status, {**headers, "Connection": "close"})
                self._write(body[:after])
            case Stall(after=after, seconds=seconds):
                self._send(status, headers)
                self._write(body[:after])
                time.sleep(seconds)
                self.close_connection = True
            case WrongBytes():
                self._send(status, headers)
                self._write(body[:-1] + bytes([body[-1] ^ 1]))
            case TooMany(announced=True):
                self._send(status, {**headers, "Content-Length": str(len(body) + 5)})
                self._write(body + b"extra")
            case TooMany():
                headers.pop("Content-Length", None)
                self._send(status, {**headers, "Connection": "close"})
                self._write(body + b"extra")
            case WrongHeader(name=name, value=value):
                self._send(status, {**headers, name: value})
                self._write(body)
            case None | IgnoreRange() | WrongRange() | Drop() | Status():
                self._send(status, headers)
                self._write(body)
            case _:
                assert_never(fault)

    def _send(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("date", "server"):
                self.send_header(name, value)
        self.end_headers()

    def _write(self, data: bytes) -> None:
        if self.command != "HEAD":
            with contextlib.suppress(OSError):
                self.wfile.write(data)
