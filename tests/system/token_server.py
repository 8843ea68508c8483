"""A token server as in distribution's token spec, and a registry that trusts it."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.support.commands import program, run
from tests.support.registry import await_answer, free_port

ISSUER, SERVICE = "lamina-tests", "registry-of-tests"
USER, PASSWORD, REFRESH = "alice", "wonder land", "refresh-token-of-alice"


@dataclass(slots=True, kw_only=True)
class TokenServer:
    """What it was asked, and what it grants."""

    folder: Path
    address: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    valid_for: float = 300
    anonymous: bool = False

    def token(self, actions: list[dict[str, object]]) -> str:
        """A JSON web token in RS256, its key's certificate in its head."""
        certificate = (self.folder / "cert.pem").read_text()
        inner = "".join(line for line in certificate.splitlines() if "-----" not in line)
        head = {"typ": "JWT", "alg": "RS256", "x5c": [inner]}
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": USER,
            "aud": SERVICE,
            "exp": int(now + self.valid_for),
            "nbf": now - 10,
            "iat": now,
            "jti": str(len(self.given)),
            "access": actions,
        }
        signed = f"{packed(json.dumps(head).encode())}.{packed(json.dumps(claims).encode())}"
        signature = subprocess.run(
            [program("openssl"), "dgst", "-sha256", "-sign", str(self.folder / "key.pem")],
            input=signed.encode(),
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        token = f"{signed}.{packed(signature)}"
        self.given.append(token)
        return token


def packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextlib.contextmanager
def token_server(folder: Path) -> Iterator[TokenServer]:
    """A running token server. It knows one user, by password or by refresh token."""
    folder.mkdir(parents=True, exist_ok=True)
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subject = ["-subj", "/CN=tokens", "-days", "1", "-nodes"]
    run(
        [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", *subject, *files]
    ).must_succeed()
    state = TokenServer(folder=folder)

    class Handler(_Handler):
        server_state = state

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


def _asked(query: str) -> dict[str, str]:
    """Several values of one name, as scopes may have, with spaces between them."""
    return {key: " ".join(values) for key, values in parse_qs(query).items()}


def _grant(scope: str) -> dict[str, object]:
    kind, name, actions = scope.split(":")
    return {"type": kind, "name": name, "actions": actions.split(",")}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may hang up as they like."""


class _Handler(BaseHTTPRequestHandler):
    server_state: TokenServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it was named
        pass

    def do_GET(self) -> None:
        asked = _asked(urlsplit(self.path).query)
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        header = self.headers.get("Authorization")
        self._answer(asked, known=header == f"Basic {login}", anonymous=header is None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = _asked(body)
        right = (asked.get("grant_type"), asked.get("refresh_token")) == ("refresh_token", REFRESH)
        self._answer(asked, known=right, anonymous=False)

    def _answer(self, asked: dict[str, str], *, known: bool, anonymous: bool) -> None:
        state = self.server_state
        state.asked.append({"method": self.command, **asked})
        if not known and not anonymous:
            self._send(401, {"details": "wrong password"})
            return
        grants = [_grant(scope) for scope in asked.get("scope", "").split()]
        token = state.token(grants if known or state.anonymous else [])
        self._send(200, {"access_token": token, "expires_in": int(state.valid_for)})

    def _send(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def token_registry(folder: Path, tokens: TokenServer, data: Path) -> Iterator[str]:
    """A registry over `data` that takes the tokens of that server; its `localhost:port`."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(data)}},
        "http": {"addr": f"localhost:{port}", "secret": "tests"},
        "auth": {
            "token": {
                "realm": f"http://{tokens.address}/token",
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(tokens.folder / "cert.pem"),
            }
        },
    }
    (folder / "config.yml").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program("docker-registry"), "serve", str(folder / "config.yml")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        await_answer(f"http://localhost:{port}/v2/", None, process)
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait(10)
