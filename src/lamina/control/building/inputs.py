"""What a build reads: the Dockerfile, the ignore file and the build context."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import msgspec

from lamina.context.statindex import StatIndex, index_file
from lamina.context.tree import ContextTree
from lamina.control.request import BuildRequest
from lamina.control.store import Store
from lamina.dockerfile.ignorefile import parse_ignore_file
from lamina.dockerfile.sources import WEB
from lamina.errors import UserError
from lamina.notation.suggest import nearest
from lamina.snapshot.store import WorkDir
from lamina.source import SourceFile

_GIT = ("git://", "git@", "ssh://", "github.com/")
_MAX_DOCKERFILE = 16 * 1024 * 1024


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """`locus` says which Dockerfile this is, for the cache. `ignore` is the ignore file, if any."""

    dockerfile: SourceFile
    locus: str
    ignore: SourceFile | None
    context: ContextTree
    trees: Mapping[str, ContextTree]


@contextlib.contextmanager
def open_inputs(
    request: BuildRequest, store: Store, stdin: BinaryIO, environ: Mapping[str, str]
) -> Iterator[Inputs]:
    """Read the Dockerfile, and make the trees of all local contexts. Raises UserError."""
    with contextlib.ExitStack() as held:
        place = held.enter_context(_context(request, store, stdin, environ))
        dockerfile, ignore = _dockerfile(request, place, store, stdin, environ)
        if place.received:
            context = held.enter_context(_received_tree(place.directory))
        else:
            context = held.enter_context(_tree(store, place.directory, ignore))
        trees = {
            name: held.enter_context(_tree(store, path, _read(f"{path}/.dockerignore")))
            for name, path in request.named_contexts.items()
            if os.path.isdir(path)
        }
        yield Inputs(
            dockerfile=dockerfile,
            locus=f"{place.name}:{dockerfile.name}",
            ignore=None if place.received else ignore,
            context=context,
            trees=trees,
        )


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """The context's directory; `dockerfile` where standard input or a URL gave that instead.

    `received`: it came as an archive, and is just what somebody chose to send. Then no ignore file
    applies, and owners are those of the archive.
    """

    directory: str
    name: str
    dockerfile: bytes | None = None
    received: bool = False


@contextlib.contextmanager
def _context(
    request: BuildRequest, store: Store, stdin: BinaryIO, environ: Mapping[str, str]
) -> Iterator[_Place]:
    context = request.context
    if context.startswith(_GIT) or (
        context.startswith(WEB) and context.partition("#")[0].endswith(".git")
    ):
        raise UserError(
            f"a git repository as the build context is not supported yet: {context}",
            hint="clone it, and give the directory",
        )
    if context == "-" or context.startswith(WEB):
        with store.layers.work() as work:
            dockerfile = _receive(context, work, stdin, environ)
            yield _Place(directory=work.diff, name=context, dockerfile=dockerfile, received=True)
        return
    if not os.path.isdir(context):
        missing = not os.path.exists(context)
        raise UserError(
            f'unable to prepare context: path "{context}" '
            + ("not found" if missing else "is not a directory")
        )
    yield _Place(directory=context, name=os.path.realpath(context))


def _receive(
    context: str, work: WorkDir, stdin: BinaryIO, environ: Mapping[str, str]
) -> bytes | None:
    """Unpack a context from standard input or a URL; the Dockerfile, if that is all there is."""
    from lamina.context.remote import open_url
    from lamina.context.tarcontext import open_stream

    if context == "-":
        found = open_stream(stdin, work.diff)
    else:
        found = open_url(context, work.diff, work.work, environ=environ)
    return found.content if found is not None else None


def _dockerfile(
    request: BuildRequest,
    place: _Place,
    store: Store,
    stdin: BinaryIO,
    environ: Mapping[str, str],
) -> tuple[SourceFile, SourceFile | None]:
    """The Dockerfile, and the ignore file that belongs to it."""
    general = _inside(place.directory, ".dockerignore")
    if place.dockerfile is not None:
        return SourceFile.decode("Dockerfile", place.dockerfile), _read(general)
    wanted = request.dockerfile
    if wanted == "-":
        if request.context == "-":
            raise UserError("standard input cannot be both the context and the Dockerfile")
        return SourceFile.decode("Dockerfile", stdin.read(_MAX_DOCKERFILE)), _read(general)
    if wanted is not None and wanted.startswith(WEB):
        from lamina.context.remote import fetch_dockerfile

        with store.layers.work() as work:
            text = fetch_dockerfile(wanted, work.diff, environ=environ)
        return SourceFile.decode("Dockerfile", text), _read(general)
    path, name = _find(
        wanted,
        place.directory,
        in_context=request.context == "-" or request.context.startswith(WEB),
    )
    source = _read(path, name=name)
    if source is None:
        raise UserError(
            f"failed to read dockerfile: open {wanted or name}: no such file or directory",
            hint=_how_to_find(wanted, place.directory),
        )
    return source, _read(f"{path}.dockerignore") or _read(general)


def _how_to_find(wanted: str | None, directory: str) -> str | None:
    """What may have been meant by a Dockerfile that is not there."""
    if wanted is None and os.path.islink(f"{directory}/Dockerfile"):
        return f"{directory}/Dockerfile is a symlink that leads to nothing within the context"
    folder, name = os.path.split(wanted or "Dockerfile")
    try:
        meant = nearest(name, os.listdir(folder or directory))
    except OSError:
        meant = None
    if meant is not None:
        return f"did you mean -f {os.path.join(folder or directory, meant)}?"
    return f"there is none in {directory}: name it with -f" if wanted is None else None


def _find(wanted: str | None, directory: str, *, in_context: bool) -> tuple[str, str]:
    """The path of the Dockerfile and what to call it. `dockerfile` in lower case will do too."""
    if wanted is not None:
        if in_context or (not os.path.exists(wanted) and os.path.exists(f"{directory}/{wanted}")):
            return _inside(directory, wanted), wanted
        return wanted, os.path.basename(wanted)
    path = _inside(directory, "Dockerfile")
    if not os.path.exists(path) and os.path.exists(f"{directory}/dockerfile"):
        return f"{directory}/dockerfile", "dockerfile"
    return path, "Dockerfile"


def _inside(directory: str, name: str) -> str:
    """A path of the context; a symlink in it leads nowhere outside."""
    from lamina.fs.paths import resolve_in_root

    inner = resolve_in_root(directory, os.fsencode(name).lstrip(b"/"))
    return os.path.join(directory, os.fsdecode(inner))


def _read(path: str, *, name: str | None = None) -> SourceFile | None:
    """The file as text; None if there is none."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_DOCKERFILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        raise UserError(
            f"failed to read {name or path}: it is a directory", hint="name a file with -f"
        ) from None
    except OSError as error:
        raise UserError(f"failed to read {name or path}: {error.strerror}") from None
    if len(data) > _MAX_DOCKERFILE:
        raise UserError(
            f"{path} is larger than {_MAX_DOCKERFILE >> 20} MiB", hint="is it the right file?"
        )
    return SourceFile.decode(name or os.path.basename(path), data)


@contextlib.contextmanager
def _tree(store: Store, directory: str, ignore: SourceFile | None) -> Iterator[ContextTree]:
    matcher = parse_ignore_file(ignore) if ignore is not None else None
    index = StatIndex(index_file(store.folder("contexts"), directory))
    name = ignore.name if ignore is not None else ""
    with ContextTree(
        directory,
        ignore=matcher,
        index=index,
        ignore_file=name,
        contents=store.layers.contents,
    ) as tree:
        yield tree


def _received_tree(directory: str) -> ContextTree:
    """The tree is thrown away after the build, so what is read of it need not be remembered."""
    return ContextTree(directory, ignore=None, index=StatIndex(None), keep_owners=True)
