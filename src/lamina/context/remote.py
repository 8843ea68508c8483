"""A URL as the build context, or as the Dockerfile."""

from __future__ import annotations

import os
from collections.abc import Mapping

from lamina.context.tarcontext import ArchiveStream, Dockerfile, recognize
from lamina.context.web import Downloaded, download
from lamina.errors import InternalError, UserError
from lamina.layer.unpack import unpack_archive
from lamina.trace.recorder import Progress

_FILE = "context"


def open_url(
    url: str,
    directory: str,
    work: str,
    *,
    environ: Mapping[str, str],
    progress: Progress | None = None,
) -> Dockerfile | None:
    """Makes what is behind the URL a context, in the empty `directory`.

    A tar is unpacked. Anything else is a Dockerfile, which is returned, and is in the context too,
    as the file `context`. `work` is an empty directory on the same file system for the download.
    Raises RemoteError, UserError and HostError.
    """
    done = download(url, work, environ=environ, filename=_FILE, progress=progress)
    if not isinstance(done, Downloaded):
        raise InternalError("nothing was known, so nothing can be unchanged")
    with open(done.path, "rb") as file:
        found = recognize(file)
        if isinstance(found, ArchiveStream):
            unpack_archive(found.stream, os.fsencode(directory))
    if isinstance(found, ArchiveStream):
        os.unlink(done.path)
        return None
    os.rename(done.path, os.path.join(directory, _FILE))
    return found


def fetch_dockerfile(url: str, work: str, *, environ: Mapping[str, str]) -> bytes:
    """The Dockerfile behind a URL; `work` is an empty directory for the download.

    Raises RemoteError, UserError and HostError.
    """
    done = download(url, work, environ=environ, filename=_FILE)
    if not isinstance(done, Downloaded):
        raise InternalError("nothing was known, so nothing can be unchanged")
    with open(done.path, "rb") as file:
        found = recognize(file)
    os.unlink(done.path)
    if isinstance(found, ArchiveStream):
        raise UserError(f"{url} is an archive, not a Dockerfile")
    return found.content
