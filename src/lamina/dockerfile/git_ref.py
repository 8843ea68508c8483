"""Names of git repositories, as `ADD` takes them.

    https://example.com/org/repo.git#v1:docs      http and https only with a path in `.git`
    git@example.com:org/repo.git?branch=main      the form of scp
    ssh://git@example.com/org/repo.git
    github.com/org/repo                           deprecated

The fragment is `ref:subdirectory`; a query says the same and more, by name.
Source: the Dockerfile reference, "ADD", "Adding files from a Git repository".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qs, quote_plus, unquote, urlsplit

import msgspec
from msgspec.structs import replace

from lamina.dockerfile.problems import GitReferenceError
from lamina.notation.boolean import parse_bool
from lamina.notation.gostrings import quote

_SCHEME = re.compile(r"[a-zA-Z0-9]+://")
_SCP = re.compile(r"([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):(.*?)(?:\?(.*?))?(?:#(.*))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SCHEMES = frozenset(("http", "https", "ssh", "git"))
_SWITCHES = frozenset(("keep-git-dir", "submodules", "fetch-by-commit"))
_TAGS, _BRANCHES = "refs/tags/", "refs/heads/"


class GitRef(msgspec.Struct, frozen=True, kw_only=True):
    """A repository, and what of it is meant.

    `remote` is an address for git; `short_name` the last part of it; `ref` a branch, tag or
    commit, "" for the default branch; `checksum` the commit it must be, or a prefix of it;
    `subdir` relative. `like_local` if the text could also name a file; `unencrypted` for http
    and git. None where the text does not say.
    """

    remote: str
    short_name: str
    ref: str = ""
    checksum: str = ""
    subdir: str = ""
    like_local: bool = False
    unencrypted: bool = False
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    mtime: str = ""
    fetch_by_commit: bool = False


def parse_git_ref(text: str) -> GitRef:
    """Raises GitReferenceError; `is_git` of it tells whether only a query is wrong."""
    if text.startswith(("./", "../")):
        raise _no_git("invalid argument")
    if text.startswith("github.com/"):
        url = _split(f"https://{text}")
        ref = _from_url(url)
        ref = replace(ref, remote=ref.remote.removeprefix("https://"), like_local=True)
        return _with_query(ref, _query(url.query))
    if (scheme := _SCHEME.match(text)) is None:
        return _from_scp(text)
    name = scheme[0].removesuffix("://").lower()
    if name not in _SCHEMES:
        raise _no_git(f"{name}: invalid protocol")
    url = _split(text)
    if name in ("http", "https") and not unquote(url.path).endswith(".git"):
        raise _no_git("invalid argument")
    ref = replace(_from_url(url), unencrypted=name in ("http", "git"))
    return _with_query(ref, _query(url.query))


def is_commit(text: str) -> bool:
    """Whether the text is a whole commit id, of either length."""
    return _COMMIT.fullmatch(text) is not None


def _no_git(message: str) -> GitReferenceError:
    return GitReferenceError(message, is_git=False)


def _split(text: str) -> SplitResult:
    # urlsplit would silently drop control characters.
    if any(letter < " " or letter == "\x7f" for letter in text):
        raise _no_git("invalid control character in URL")
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError as error:
        raise _no_git(str(error)) from None
    return url


def _query(text: str) -> Mapping[str, list[str]]:
    return parse_qs(text, keep_blank_values=True)


def _from_url(url: SplitResult) -> GitRef:
    return _of(url._replace(query="", fragment="").geturl(), unquote(url.fragment))


def _from_scp(text: str) -> GitRef:
    match = _SCP.fullmatch(text)
    if match is None:
        raise _no_git("unknown protocol")
    user, host, path, query, fragment = match.groups()
    return _with_query(
        _of(f"{quote_plus(user)}@{host}:{path}", fragment or ""), _query(query or "")
    )


def _of(remote: str, fragment: str) -> GitRef:
    ref, _, subdir = fragment.partition(":")
    return GitRef(
        remote=remote,
        short_name=remote.rpartition("/")[2].removesuffix(".git"),
        ref=ref,
        subdir=posixpath.normpath(f"/{subdir.lstrip('/')}")[1:],
    )


def _with_query(git: GitRef, query: Mapping[str, list[str]]) -> GitRef:
    tag = branch = ""
    for name, values in query.items():
        if len(values) > 1:
            raise _bad_query(f"query {quote(name)} has multiple values")
        value = values[0]
        if not value and name not in _SWITCHES:
            raise _bad_query(f"query {quote(name)} has no value")
        match name:
            case "tag":
                tag = value
            case "branch":
                branch = value
            case _:
                git = _with_option(git, name, value)
    if tag:
        git = _with_ref(git, _TAGS + tag.removeprefix(_TAGS))
    if branch:
        if tag:
            raise _bad_query("branch conflicts with tag")
        git = _with_ref(git, _BRANCHES + branch.removeprefix(_BRANCHES))
    return git


def _with_option(git: GitRef, name: str, value: str) -> GitRef:
    match name:
        case "ref":
            return _with_ref(git, value)
        case "subdir":
            if git.subdir not in ("", value):
                raise _bad_query(f"subdir conflicts: {quote(git.subdir)} vs {quote(value)}")
            return replace(git, subdir=value)
        case "checksum" | "commit":
            return replace(git, checksum=value)
        case "mtime":
            if value not in ("checkout", "commit"):
                raise _bad_query(
                    f'invalid mtime value: {quote(value)} (must be "checkout" or "commit")'
                )
            return replace(git, mtime=value)
        case "keep-git-dir":
            return replace(git, keep_git_dir=_switch(name, value))
        case "submodules":
            return replace(git, submodules=_switch(name, value))
        case "fetch-by-commit":
            return replace(git, fetch_by_commit=_switch(name, value))
    raise _bad_query(f"unexpected query {quote(name)}")


def _with_ref(git: GitRef, ref: str) -> GitRef:
    if git.ref not in ("", ref):
        raise _bad_query(f"ref conflicts: {quote(git.ref)} vs {quote(ref)}")
    return replace(git, ref=ref)


def _switch(name: str, value: str) -> bool:
    state = parse_bool(value or "true")
    if state is None:
        raise _bad_query(f"invalid {name} value: {quote(value)}")
    return state


def _bad_query(message: str) -> GitReferenceError:
    return GitReferenceError(message, is_git=True)
