"""A real registry (CNCF distribution, Debian's docker-registry) on a free loopback port."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.commands import program, run

USER, PASSWORD = "reader", "open sesame"
# bcrypt of PASSWORD, in htpasswd's form
HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"
STARTS_WITHIN = 15.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A running registry; `certificate` is what a client must trust, where it speaks HTTPS."""

    address: str
    log: Path
    certificate: Path | None = None

    def repository(self, name: str) -> str:
        """`localhost:PORT/NAME`, to be followed by a tag or digest."""
        return f"{self.address}/{name}"

    def requests(self) -> list[str]:
        """The requests served so far, as `METHOD PATH STATUS`."""
        found = []
        for line in self.log.read_text().splitlines():
            with contextlib.suppress(ValueError, KeyError):
                entry = json.loads(line)
                status = entry["http.response.status"]
                found.append(f"{entry['http.request.method']} {entry['http.request.uri']} {status}")
        return found


@contextlib.contextmanager
def running_registry(
    folder: Path,
    *,
    login: bool = False,
    tls: bool = False,
    client_certificates: bool = False,
    deletes: bool = True,
) -> Iterator[Registry]:
    """Serve an empty registry with its files in `folder`, stopped at the end.

    With `client_certificates` (and `tls`) a client must show one: the registry's own, cert.pem and
    key.pem. Without `deletes` nobody may delete anything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    certificate = make_certificate(folder) if tls else None
    config = folder / "config.yml"
    document = configuration(folder, port, login=login, tls=tls)
    if client_certificates:
        document["http"]["tls"]["clientcas"] = [str(certificate)]
    document["storage"]["delete"]["enabled"] = deletes
    config.write_text(json.dumps(document))
    log = folder / "registry.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [program("docker-registry"), "serve", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        await_answer(f"{'https' if tls else 'http'}://localhost:{port}/v2/", certificate, process)
        yield Registry(address=f"localhost:{port}", log=log, certificate=certificate)
    finally:
        process.terminate()
        process.wait(10)


def configuration(folder: Path, port: int, *, login: bool, tls: bool) -> dict[str, Any]:
    """The registry's configuration; it reads YAML, of which JSON is a part."""
    http: dict[str, object] = {"addr": f"localhost:{port}", "secret": "tests"}
    if tls:
        files = {"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
        http["tls"] = files
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}}
    found: dict[str, Any] = {
        "version": 0.1,
        "log": {"formatter": "json", "accesslog": {"disabled": False}},
        "storage": storage,
        "http": http,
    }
    if login:
        (folder / "htpasswd").write_text(HTPASSWD)
        found["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_certificate(folder: Path) -> Path:
    """A self-signed certificate for localhost, valid for a day."""
    certificate = folder / "cert.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    subject = ["-subj", "/CN=localhost", "-addext", names, "-days", "1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(certificate)]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run([program("openssl"), "req", "-x509", *key, *subject, *files]).must_succeed()
    return certificate


def await_answer(url: str, trusted: Path | None, process: subprocess.Popen[bytes]) -> None:
    """Wait until the registry answers, be it with "who are you?"."""
    context = ssl.create_default_context(cafile=trusted) if trusted else None
    if context is not None and trusted is not None:
        context.load_cert_chain(trusted, trusted.with_name("key.pem"))
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            urllib.request.urlopen(url, timeout=2, context=context).close()
            return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the registry does not answer") from error
            time.sleep(0.05)
