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


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRequest:
    """The connection breaks after so many bytes of the request's body. `passed_on`: the registry
    gets them, and sees it break, too; else it sees nothing, as behind a proxy that buffers."""

    after: int
    passed_on: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseAnswer:
    """The registry does what it was asked; its answer gets lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongBody:
    """The last byte that reaches the registry is another."""


Fault = (
    Cut
    | CutRequest
    | LoseAnswer
    | WrongBody
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
    """One request. Names of headers are in lower case; `sent` is how much of its body came."""

    method: str
    path: str
    headers: Mapping[str, str]
    sent: int = 0


class FaultyProxy:
    """Passes requests on to `upstream` (`host:port`), except for the faults it was told.

    `faults["blobs"]` is used up by requests whose path has `/blobs/` in it, one each, and
    `faults["PATCH blobs"]` by those with that method; None among them stands for no fault. After
    that everything is right.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.faults: dict[str, list[Fault | None]] = {}
        self.seen: list[Seen] = []
        self.address = ""
        self.connections = 0
        self._lock = threading.Lock()

    def fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for key, faults in self.faults.items():
                wanted, _, part = key.rpartition(" ")
                if f"/{part}/" in path and wanted in ("", method) and faults:
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

    def setup(self) -> None:
        super().setup()
        self.state.connections += 1

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it was named
        pass

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self.do_GET
        raise AttributeError(name)

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.state.fault(self.command, self.path)
        length = int(headers.get("content-length", 0))
        if isinstance(fault, CutRequest):
            length = min(length, fault.after)
        body = b"" if isinstance(fault, Status) else self.rfile.read(length)
        self.state.seen.append(
            Seen(method=self.command, path=self.path, headers=headers, sent=len(body))
        )
        match fault:
            case Drop():
                self.close_connection = True
            case CutRequest(passed_on=passed_on):
                self.close_connection = True
                if passed_on:
                    self._cut_short(headers, body)
            case Status():
                self.close_connection = "content-length" in headers
                self._send(fault.code, {**fault.headers, "Content-Length": str(len(fault.body))})
                self._write(fault.body)
            case _:
                if isinstance(fault, IgnoreRange):
                    headers.pop("range", None)
                if isinstance(fault, WrongRange):
                    headers["range"] = "bytes=1-"
                if isinstance(fault, WrongBody):
                    body = body[:-1] + bytes([body[-1] ^ 1])
                self._pass_on(headers, body, fault)

    def _cut_short(self, headers: dict[str, str], body: bytes) -> None:
        """The announced length stays, the rest never comes."""
        connection = http.client.HTTPConnection(self.state.upstream, timeout=10)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body=iter([body]), headers=headers)
        time.sleep(0.1)  # until the registry has noticed

    def _pass_on(self, headers: dict[str, str], body: bytes, fault: Fault | None) -> None:
        connection = http.client.HTTPConnection(self.state.upstream, timeout=10)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            data = answer.read()
            sent = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in ("connection", "transfer-encoding")
            }
            self._misbehave(answer.status, sent, data, fault)

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
            case LoseAnswer():
                self.close_connection = True
            case None | IgnoreRange() | WrongRange() | WrongBody() | Drop() | Status():
                self._send(status, headers)
                self._write(body)
            case CutRequest():
                raise AssertionError("was never asked")
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
