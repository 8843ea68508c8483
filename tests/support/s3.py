"""A real S3-compatible server (moto's) on loopback, and a proxy before it that fails on request."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from tests.support.registry import free_port

BUCKET = "builds"
KEY_ID, SECRET = "AKIATESTSTESTSTESTS", "a secret that nobody may see"
STARTS_WITHIN = 60.0  # seconds

Fault = Literal["slow-down", "denied", "cut", "wrong-bytes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Server:
    """The server: `url` is its address, BUCKET is there."""

    url: str

    def attributes(self, **more: str) -> dict[str, str]:
        """Those of a cache in the bucket."""
        return {
            "bucket": BUCKET,
            "region": "us-east-1",
            "endpoint_url": self.url,
            "access_key_id": KEY_ID,
            "secret_access_key": SECRET,
            **more,
        }

    def flag(self, **more: str) -> str:
        """The same as a value of `--cache-to`."""
        pairs = {"type": "s3", **self.attributes(**more)}
        return ",".join(f"{name}={value}" for name, value in pairs.items())


@contextlib.contextmanager
def running_s3(folder: Path) -> Iterator[S3Server]:
    """Serve an empty bucket, stopped at the end."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _await_bucket(f"{url}/{BUCKET}", process)
        yield S3Server(url=url)
    finally:
        process.terminate()
        process.wait(10)


def _await_bucket(url: str, process: subprocess.Popen[bytes]) -> None:
    """Make the bucket as soon as there is somebody to make it."""
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            urllib.request.urlopen(
                urllib.request.Request(url, method="PUT"), timeout=STARTS_WITHIN
            ).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("moto's server does not answer: `make setup`") from error
            time.sleep(0.05)


@dataclass(slots=True)
class FaultyProxy:
    """What stands before the server: `fail` says what becomes of the next requests."""

    url: str
    requests: list[str] = field(default_factory=list)
    _faults: list[tuple[Callable[[str], bool], Fault]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, fault: Fault, *, times: int, when: Callable[[str], bool]) -> None:
        """The next `times` requests for which `when` holds (it is given `METHOD /PATH`)."""
        with self._lock:
            self._faults += [(when, fault)] * times

    def take(self, request: str) -> Fault | None:
        with self._lock:
            self.requests.append(request)
            for place, (when, fault) in enumerate(self._faults):
                if when(request):
                    del self._faults[place]
                    return fault
        return None


@contextlib.contextmanager
def faulty_proxy(server: S3Server) -> Iterator[tuple[FaultyProxy, S3Server]]:
    """The proxy, and the server as it looks through it."""
    upstream = server.url.removeprefix("http://")
    state = FaultyProxy(url="")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            fault = state.take(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            match fault:
                case "slow-down":
                    self.answer_error(503, "SlowDown", "Please reduce your request rate.")
                case "denied":
                    self.answer_error(403, "InvalidAccessKeyId", "The key does not exist.")
                case "cut" | "wrong-bytes" | None:
                    self.forward(body, fault)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

        def answer_error(self, status: int, code: str, message: str) -> None:
            text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def forward(self, body: bytes, fault: Fault | None) -> None:
            connection = http.client.HTTPConnection(upstream, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            data = response.read()
            connection.close()
            if fault == "wrong-bytes":
                data = bytes(byte ^ 1 for byte in data)
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = response.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(data)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if fault == "cut":
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
                return
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        try:
            yield state, S3Server(url=state.url)
        finally:
            httpd.shutdown()
            thread.join()
