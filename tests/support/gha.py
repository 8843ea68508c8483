"""The cache service of GitHub Actions, both versions and the REST API, as a small real server.

It does what is published of the service (actions/toolkit, packages/cache; "Actions: Cache" of the
REST API): entries are immutable and belong to a branch; a job sees its own branch, its base and the
default one, in that order, and writes to its own; the newest entry whose key begins with what is
asked for is found; bytes go through signed addresses that take no token and expire.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

TWIRP = "/twirp/github.actions.results.api.v1.CacheService/"
V1 = "/_apis/artifactcache/"
REPOSITORY, GITHUB_TOKEN = "someone/something", "ghp_a-token-that-nobody-may-see"


def token_for(*branches: str) -> str:
    """A job's token: it may write to the first branch and read the others. Nobody checks its
    signature, as the service's key is not ours.
    """
    access = [
        {"Scope": branch, "Permission": 3 if place == 0 else 1}
        for place, branch in enumerate(branches)
    ]
    claims = {"ac": json.dumps(access), "nbf": 0, "exp": 4102444800}
    parts = ({"alg": "none"}, claims, "signature")
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    )


@dataclass(slots=True, kw_only=True)
class Entry:
    id: int
    key: str
    version: str
    branch: str
    ready: bool = False
    data: bytes = b""
    blocks: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class GhaServer:
    """The running service. `throttle` answers the next so many requests to it with 429,
    `expired` lets the next so many signed addresses be refused.
    """

    url: str = ""
    entries: list[Entry] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    throttle: int = 0
    retry_after: str = "0"
    expired: int = 0
    authorized_storage: int = 0  # requests to signed addresses that came with a token
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def environment(self, *branches: str, version: int = 2) -> dict[str, str]:
        """What a job on these branches has in its environment."""
        found = {"ACTIONS_RUNTIME_TOKEN": token_for(*branches or ("refs/heads/main",))}
        if version == 2:
            return {**found, "ACTIONS_CACHE_SERVICE_V2": "true", "ACTIONS_RESULTS_URL": self.url}
        return {**found, "ACTIONS_CACHE_URL": f"{self.url}/"}

    def rest_environment(self, *branches: str) -> dict[str, str]:
        return {**self.environment(*branches), "GITHUB_API_URL": self.url}

    def ready(self) -> list[str]:
        return [entry.key for entry in self.entries if entry.ready]

    def reserve(self, key: str, version: str, branch: str) -> Entry | None:
        with self.lock:
            for entry in self.entries:
                if (entry.key, entry.version, entry.branch) == (key, version, branch):
                    return None
            entry = Entry(id=next(self.numbers), key=key, version=version, branch=branch)
            self.entries.append(entry)
            return entry

    def find(self, keys: list[str], version: str, branches: list[str]) -> Entry | None:
        """The exact key first, then what begins with one of them, newest first, by branch."""
        for branch in branches:
            there = [
                e for e in self.entries if (e.branch, e.version, e.ready) == (branch, version, True)
            ]
            for entry in there:
                if entry.key == keys[0]:
                    return entry
            for key in keys:
                for entry in reversed(there):
                    if entry.key.startswith(key):
                        return entry
        return None

    def by_id(self, number: int) -> Entry | None:
        return next((entry for entry in self.entries if entry.id == number), None)


@contextlib.contextmanager
def running_gha() -> Iterator[GhaServer]:
    """Serve an empty cache on loopback."""
    state = GhaServer()

    class Handler(_Handler):
        server_state = state

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{httpd.server_address[1]}"
        try:
            yield state
        finally:
            httpd.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: GhaServer

    def handle_any(self) -> None:
        state = self.server_state
        path, _, query = self.path.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state.requests.append(f"{self.command} {path}")
        if path.startswith("/storage/"):
            self.storage(int(path.rpartition("/")[2]))
        elif path.startswith("/repos/"):
            self.rest(path)
        elif state.throttle > 0:
            state.throttle -= 1
            self.answer(429, {"message": "slow"}, {"Retry-After": state.retry_after})
        elif not self.branches():
            self.answer(401, {"code": "unauthenticated", "msg": "no token"})
        elif path.startswith(TWIRP):
            self.twirp(path.removeprefix(TWIRP))
        elif path.startswith(V1):
            self.version_1(path.removeprefix(V1))
        else:
            self.answer(404, {"message": "no such path"})

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

    def branches(self, *, writable: bool = False) -> list[str]:
        try:
            token = self.headers["Authorization"].removeprefix("Bearer ").split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            access = json.loads(claims["ac"])
        except (KeyError, IndexError, ValueError, AttributeError):
            return []
        return [each["Scope"] for each in access if not writable or each["Permission"] & 2]

    def twirp(self, method: str) -> None:
        state, asked = self.server_state, json.loads(self.body)
        match method:
            case "CreateCacheEntry":
                branch = self.branches(writable=True)[0]
                entry = state.reserve(asked["key"], asked["version"], branch)
                if entry is None:
                    self.answer(409, {"code": "already_exists", "msg": "cache already exists"})
                    return
                self.answer(200, {"ok": True, "signed_upload_url": self.signed(entry)})
            case "FinalizeCacheEntryUpload":
                entry = self.mine(asked["key"], asked["version"])
                done = entry is not None and len(entry.data) == int(asked["size_bytes"])
                if entry is not None and done:
                    entry.ready = True
                self.answer(200, {"ok": done, "entry_id": str(entry.id) if entry else "0"})
            case "GetCacheEntryDownloadURL":
                keys = [asked["key"], *asked.get("restore_keys", [])]
                found = state.find(keys, asked["version"], self.branches())
                if found is None:
                    self.answer(200, {"ok": False, "signed_download_url": "", "matched_key": ""})
                    return
                self.answer(
                    200,
                    {
                        "ok": True,
                        "signed_download_url": self.signed(found),
                        "matched_key": found.key,
                    },
                )
            case _:
                self.answer(404, {"code": "bad_route", "msg": "no such method"})

    def version_1(self, path: str) -> None:
        state = self.server_state
        head, _, number = path.partition("/")
        match self.command, head:
            case "GET", "cache":
                keys = self.query["keys"].split(",")
                found = state.find(keys, self.query["version"], self.branches())
                if found is None:
                    self.answer(204, None)
                    return
                place = {"cacheKey": found.key, "archiveLocation": self.signed(found)}
                self.answer(200, {**place, "scope": found.branch})
            case "POST", "caches" if not number:
                asked = json.loads(self.body)
                branch = self.branches(writable=True)[0]
                entry = state.reserve(asked["key"], asked["version"], branch)
                if entry is None:
                    kind = "ArtifactCacheItemAlreadyExistsException"
                    self.answer(409, {"typeKey": kind, "message": "Cache already exists."})
                    return
                self.answer(201, {"cacheId": entry.id})
            case "PATCH", "caches":
                entry = state.by_id(int(number))
                start = int(self.headers["Content-Range"].removeprefix("bytes ").split("-")[0])
                assert entry is not None
                assert start == len(entry.data)
                entry.data += self.body
                self.answer(204, None)
            case "POST", "caches":
                entry = state.by_id(int(number))
                assert entry is not None
                assert json.loads(self.body)["size"] == len(entry.data)
                entry.ready = True
                self.answer(204, None)
            case _:
                self.answer(404, {"message": "no such path"})

    def storage(self, number: int) -> None:
        """Azure Blob Storage: Get Blob, Put Blob, Put Block, Put Block List."""
        state = self.server_state
        entry = state.by_id(number)
        state.authorized_storage += "Authorization" in self.headers
        if entry is None or self.query.get("sig") != "signed":
            self.answer(403, {"message": "AuthenticationFailed"})
        elif state.expired > 0:
            state.expired -= 1
            self.answer(403, {"message": "Signature not valid in the specified time frame"})
        elif self.command == "GET":
            self.send_blob(entry.data)
        elif self.query.get("comp") == "block":
            entry.blocks[self.query["blockid"]] = self.body
            self.answer(201, None)
        elif self.query.get("comp") == "blocklist":
            names = self.body.decode().split("<Latest>")[1:]
            entry.data = b"".join(entry.blocks[name.partition("<")[0]] for name in names)
            self.answer(201, None)
        elif self.headers.get("x-ms-blob-type") == "BlockBlob":
            entry.data = self.body
            self.answer(201, None)
        else:
            self.answer(400, {"message": "MissingRequiredHeader"})

    def rest(self, path: str) -> None:
        state = self.server_state
        start = f"/repos/{REPOSITORY}/actions/caches"
        if self.headers.get("Authorization") != f"Bearer {GITHUB_TOKEN}":
            self.answer(401, {"message": "Bad credentials"})
        elif self.command == "GET" and path == start:
            found = [e for e in state.entries if e.ready and e.key.startswith(self.query["key"])]
            first = (int(self.query["page"]) - 1) * int(self.query["per_page"])
            rows = [
                {
                    "id": e.id,
                    "key": e.key,
                    "ref": e.branch,
                    "size_in_bytes": len(e.data),
                    "created_at": "2026-01-02T03:04:05Z",
                }
                for e in reversed(found)
            ]
            page = rows[first : first + int(self.query["per_page"])]
            self.answer(200, {"total_count": len(rows), "actions_caches": page})
        elif self.command == "DELETE" and path.startswith(f"{start}/"):
            number = int(path.rpartition("/")[2])
            state.entries[:] = [entry for entry in state.entries if entry.id != number]
            self.answer(204, None)
        else:
            self.answer(404, {"message": "Not Found"})

    def mine(self, key: str, version: str) -> Entry | None:
        branch = self.branches(writable=True)[0]
        wanted = (key, version, branch)
        entries = self.server_state.entries
        return next((e for e in entries if (e.key, e.version, e.branch) == wanted), None)

    def signed(self, entry: Entry) -> str:
        return f"{self.server_state.url}/storage/{entry.id}?sig=signed"

    def send_blob(self, data: bytes) -> None:
        ranged = self.headers.get("Range", "").removeprefix("bytes=").rstrip("-")
        start = int(ranged or 0)
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:])

    def answer(
        self, status: int, body: object | None, headers: dict[str, str] | None = None
    ) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
