"""A package tool: what its calls look like, and the folders that it fills again and again."""

from __future__ import annotations

import enum

import msgspec


class Locking(enum.StrEnum):
    """Whether two steps may use a cache folder at once.

    `NEVER` needs a lock: the tool is made for many at once, or locks inside the folder. `PARALLEL`
    needs one where steps of one build meet: the tool's own lock lies outside the folder. `ALWAYS`
    needs one: two at once fail, or break it.
    """

    NEVER = "never"
    PARALLEL = "parallel"
    ALWAYS = "always"


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that is worth keeping between builds.

    `folders` are templates, the first whose variables are all set counts: `$PIP_CACHE_DIR`,
    `~/.cache/pip`. `flags` of the tool name the folder, too. `also` are folders that serve as well.
    `extra`: worth mounting along with the others, but not worth a word alone.
    """

    folders: tuple[str, ...]
    flags: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    locking: Locking = Locking.NEVER
    extra: bool = False


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A package tool.

    `uses` are the subcommands that fill the caches, as words; the empty one is a call with none.
    Without any, every call does. `valued` are options that take the next word. `disabling` flags
    and variables turn the cache off, and `instead` does what else such a flag does. `offline`
    flags need the cache filled. `cleaning` are commands that empty it, and `roots` folders whose
    removal does nothing else. `store`: later steps read what lies in the folders, so they are
    mounted everywhere or nowhere. `safe` is false where the base image keeps its own files there.
    """

    name: str
    programs: tuple[str, ...]
    caches: tuple[Cache, ...]
    uses: tuple[tuple[str, ...], ...] = ()
    valued: tuple[str, ...] = ()
    disabling: tuple[str, ...] = ()
    instead: str = ""
    disabling_variables: tuple[str, ...] = ()
    offline: tuple[str, ...] = ()
    cleaning: tuple[tuple[str, ...], ...] = ()
    roots: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    store: bool = False
    safe: bool = True
