"""Files from web servers."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lamina.context.remote import fetch_dockerfile, open_url
from lamina.context.tarcontext import Dockerfile
from lamina.context.web import (
    DigestMismatch,
    Downloaded,
    Unchanged,
    Validators,
    download,
    safe_filename,
)
from lamina.errors import RemoteError, UserError
from lamina.oci.digest import digest_of

Answer = tuple[int, Mapping[str, str], bytes]
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


class Server:
    """Answers by path; remembers the headers of all requests."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | Callable[[Mapping[str, str]], Answer]] = {}
        self.seen: list[tuple[str, Mapping[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.title(): value for name, value in self.headers.items()}
                server.seen.append((self.path, headers))
                answer = server.answers.get(self.path, (404, {}, b"nothing here"))
                status, extra, body = answer(headers) if callable(answer) else answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **extra}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.context.web._PAUSE_SECONDS", 0.0)


def got(url: str, directory: Path, environ: Mapping[str, str] | None = None) -> Downloaded:
    done = download(url, str(directory), environ=environ or {})
    assert isinstance(done, Downloaded)
    return done


def test_a_file_is_saved(server: Server, tmp_path: Path) -> None:
    """Its digest, date, mode and validators are told."""
    headers = {"Last-Modified": DATE, "ETag": '"one"'}
    server.answers["/dir/file.txt?x=1"] = (200, headers, b"content")
    done = got(f"{server.url}/dir/file.txt?x=1#part", tmp_path)
    assert done.path == str(tmp_path / "file.txt")
    assert Path(done.path).read_bytes() == b"content"
    assert (done.digest, done.size) == (digest_of(b"content"), 7)
    assert done.mtime_ns == 1_445_412_480_000_000_000
    assert done.validators == Validators(etag='"one"', last_modified=DATE)
    status = os.stat(done.path)
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o600, done.mtime_ns)


def test_without_a_date_the_time_is_0(server: Server, tmp_path: Path) -> None:
    """The time of the download is not the file's."""
    server.answers["/f"] = (200, {"Last-Modified": "yesterday"}, b"")
    assert got(f"{server.url}/f", tmp_path).mtime_ns == 0


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="real.txt"', "real.txt"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ("attachment; filename*=UTF-8''%C3%A4", "ä"),
        ('attachment; filename="dir/"', "url"),
        ("attachment", "url"),
        ("", "url"),
    ],
)
def test_names(server: Server, tmp_path: Path, header: str, name: str) -> None:
    """The server may name the file, in its directory."""
    server.answers["/url"] = (200, {"Content-Disposition": header}, b"")
    assert got(f"{server.url}/url", tmp_path).path == str(tmp_path / name)


def test_a_name_that_is_given_wins(server: Server, tmp_path: Path) -> None:
    """Whatever the server says."""
    server.answers["/url"] = (200, {"Content-Disposition": 'filename="x"'}, b"")
    done = download(f"{server.url}/url", str(tmp_path), environ={}, filename="mine")
    assert isinstance(done, Downloaded)
    assert os.path.basename(done.path) == "mine"


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/..", "\0"])
def test_names_that_are_none(name: str) -> None:
    """A file always has a name of its own."""
    assert safe_filename(name) == "download"


def test_what_is_known_is_not_sent_again(server: Server, tmp_path: Path) -> None:
    """A tag is sent back, else the date; the server's 304 is enough."""

    def answer(headers: Mapping[str, str]) -> Answer:
        if headers.get("If-None-Match") == '"one"' or headers.get("If-Modified-Since") == DATE:
            return 304, {}, b""
        return 200, {"ETag": '"two"'}, b"new"

    server.answers["/f"] = answer
    url = f"{server.url}/f"
    for known in (Validators(etag='"one"', last_modified="x"), Validators(last_modified=DATE)):
        assert download(url, str(tmp_path), environ={}, known=known) == Unchanged()
    changed = download(url, str(tmp_path), environ={}, known=Validators(etag='"old"'))
    assert isinstance(changed, Downloaded)
    assert changed.validators.etag == '"two"'


def test_a_server_that_ignores_tags(server: Server, tmp_path: Path) -> None:
    """The same tag in a full answer means the same file."""
    server.answers["/f"] = (200, {"ETag": '"one"'}, b"x" * 100)
    known = Validators(etag='"one"')
    assert download(f"{server.url}/f", str(tmp_path), environ={}, known=known) == Unchanged()
    assert list(tmp_path.iterdir()) == []


def test_checksums(server: Server, tmp_path: Path) -> None:
    """A file with another digest is not kept."""
    server.answers["/f"] = (200, {}, b"content")
    right, wrong = digest_of(b"content"), digest_of(b"other")
    url = f"{server.url}/f"
    assert isinstance(download(url, str(tmp_path), environ={}, checksum=right), Downloaded)
    with pytest.raises(DigestMismatch, match=f"{right}.*expected: {wrong}"):
        download(url, str(tmp_path), environ={}, checksum=wrong)
    assert list(tmp_path.iterdir()) == []


def test_redirects(server: Server, tmp_path: Path) -> None:
    """They are followed, relative ones too, but not for ever."""
    server.answers["/a"] = (302, {"Location": "b/c"}, b"")
    server.answers["/b/c"] = (307, {"Location": f"{server.url}/d"}, b"")
    server.answers["/d"] = (200, {}, b"content")
    done = got(f"{server.url}/a", tmp_path)
    assert (done.size, os.path.basename(done.path)) == (7, "a")
    server.answers["/loop"] = (301, {"Location": "/loop"}, b"")
    with pytest.raises(RemoteError, match="redirects"):
        got(f"{server.url}/loop", tmp_path)
    server.answers["/file"] = (301, {"Location": "file:///etc/passwd"}, b"")
    with pytest.raises(UserError, match="not the URL of a web server"):
        got(f"{server.url}/file", tmp_path)


def test_credentials_stay_with_their_host(server: Server, tmp_path: Path) -> None:
    """A redirect to another server takes none along."""
    other = Server()
    other.answers["/there"] = (200, {}, b"")
    server.answers["/here"] = (302, {"Location": "/again"}, b"")
    server.answers["/again"] = (302, {"Location": f"{other.url}/there"}, b"")
    got(server.url.replace("//", "//user:pa%20ss@") + "/here", tmp_path)
    other.close()
    expected = "Basic dXNlcjpwYSBzcw=="
    assert [headers.get("Authorization") for _, headers in server.seen] == [expected] * 2
    assert other.seen[0][1].get("Authorization") is None


def test_failures_are_remote_errors(server: Server, tmp_path: Path) -> None:
    """A status says whether trying again may help; server errors are tried three times."""
    with pytest.raises(RemoteError, match="invalid response status 404") as caught:
        got(f"{server.url}/missing", tmp_path)
    assert not caught.value.retryable
    assert len(server.seen) == 1
    server.answers["/broken"] = (503, {}, b"")
    with pytest.raises(RemoteError, match="503"):
        got(f"{server.url}/broken", tmp_path)
    assert len(server.seen) == 4


def test_an_answer_that_is_cut_off_is_tried_again(server: Server, tmp_path: Path) -> None:
    """Half a file is never taken for a whole one."""
    tries: list[int] = []

    def answer(_: Mapping[str, str]) -> Answer:
        tries.append(1)
        return 200, {"Content-Length": "7" if len(tries) > 2 else "9"}, b"content"

    server.answers["/f"] = answer
    assert got(f"{server.url}/f", tmp_path).size == 7
    assert len(tries) == 3


def test_nobody_listens(tmp_path: Path) -> None:
    """The error names the URL and the cause."""
    with pytest.raises(RemoteError, match=r"http://127.0.0.1:9/x: Connection refused"):
        got("http://127.0.0.1:9/x", tmp_path)


@pytest.mark.parametrize("url", ["ftp://host/x", "http://", "file:///etc/passwd", "http://h:x/"])
def test_other_urls(tmp_path: Path, url: str) -> None:
    """Only web servers are asked."""
    with pytest.raises(UserError):
        got(url, tmp_path)


def test_proxies_come_from_the_environment(server: Server, tmp_path: Path) -> None:
    """A proxy is asked for the whole URL, but not for the hosts of NO_PROXY."""
    server.answers["http://example.invalid/f"] = (200, {}, b"via proxy")
    proxies = {"http_proxy": server.url}
    assert got("http://example.invalid/f", tmp_path, proxies).size == 9
    server.answers["/f"] = (200, {}, b"direct")
    direct = {**proxies, "NO_PROXY": "other, 127.0.0.1"}
    assert got(f"{server.url}/f", tmp_path, direct).size == 6


class TestContexts:
    """A URL as the context."""

    def open(self, server: Server, tmp_path: Path, body: bytes) -> tuple[Dockerfile | None, Path]:
        server.answers["/context"] = (200, {}, body)
        directory, work = tmp_path / "directory", tmp_path / "work"
        directory.mkdir()
        work.mkdir()
        url = f"{server.url}/context"
        found = open_url(url, str(directory), str(work), environ={})
        assert list(work.iterdir()) == []
        return found, directory

    def test_a_tar(self, server: Server, tmp_path: Path) -> None:
        """It is unpacked."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            archive.addfile(tarfile.TarInfo("file"))
        found, directory = self.open(server, tmp_path, stream.getvalue())
        assert found is None
        assert (directory / "file").exists()

    def test_a_dockerfile(self, server: Server, tmp_path: Path) -> None:
        """It is the Dockerfile, and the one file of the context."""
        found, directory = self.open(server, tmp_path, b"FROM scratch\n")
        assert found == Dockerfile(b"FROM scratch\n")
        assert [path.name for path in directory.iterdir()] == ["context"]

    def test_only_the_dockerfile(self, server: Server, tmp_path: Path) -> None:
        """`-f URL`."""
        server.answers["/Dockerfile"] = (200, {}, b"FROM scratch\n")
        text = fetch_dockerfile(f"{server.url}/Dockerfile", str(tmp_path), environ={})
        assert text == b"FROM scratch\n"
        assert list(tmp_path.iterdir()) == []
