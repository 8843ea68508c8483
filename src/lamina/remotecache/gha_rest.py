"""The part of GitHub's REST API that lists and removes cache entries ("Actions: Cache").

A job's own token speaks to the cache service, which can do neither; this takes a token with the
permission `actions: write` for the repository.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

import msgspec

from lamina.errors import RemoteError
from lamina.remotecache.gha_line import Line

_PAGE = 100
_MOST_PAGES = 100
_MAX_PAGE = 1 << 20  # bytes


class RestEntry(msgspec.Struct, frozen=True):
    """An entry as the API lists it."""

    id: int
    key: str
    created_at: str = ""

    @property
    def created(self) -> float | None:
        """In seconds since 1970."""
        try:
            return datetime.fromisoformat(self.created_at).timestamp()
        except ValueError:
            return None


class RestApi:
    """Raises RemoteError."""

    def __init__(self, line: Line, *, url: str, repository: str, token: str) -> None:
        self._line = line
        self._url = f"{url.rstrip('/')}/repos/{repository}/actions/caches"
        self._headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def entries(self, prefix: str) -> list[RestEntry]:
        """All whose keys begin with `prefix`, on every branch."""
        found: list[RestEntry] = []
        for number in range(1, _MOST_PAGES + 1):
            query = f"key={quote(prefix, safe='')}&per_page={_PAGE}&page={number}"
            url = f"{self._url}?{query}"
            data = self._line.ask("listing", "GET", url, headers=self._headers, limit=_MAX_PAGE)
            try:
                page = msgspec.json.decode(data, type=_Page)
            except (msgspec.MsgspecError, RecursionError, UnicodeError):
                raise RemoteError(
                    f"{self._line.address}: the list of cache entries makes no sense"
                ) from None
            found += [entry for entry in page.actions_caches if entry.key.startswith(prefix)]
            if len(page.actions_caches) < _PAGE:
                break
        return found

    def remove(self, entry: RestEntry) -> None:
        self._line.ask("removing", "DELETE", f"{self._url}/{entry.id}", headers=self._headers)


class _Page(msgspec.Struct):
    actions_caches: tuple[RestEntry, ...] = ()
