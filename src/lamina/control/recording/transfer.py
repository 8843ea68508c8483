"""`lamina history export` and `import`: the record of a build as one file, for another machine.

The file is gzip (RFC 1952) of JSON lines:

    {"format":"lamina build record","version":1}
    {"record":{…}}                                  the record (docs/history.md)
    {"listing":"sha256:…","data":"…"}               files that a part of a key stands for
    {"log":5,"data":"…"}                            a piece of the output of step 5
    {"end":4}                                       how many lines came before: nothing is missing

`data` is base64; that of a listing is zlib of msgpack, as in the index. Nothing that is imported
gets into the cache: listings stay with their record, and serve explanations alone.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import secrets
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import msgspec
from msgspec.structs import replace

from lamina.control.history import BUILD_ID, History, recorded_steps
from lamina.control.recording.retention import RECORD
from lamina.control.store import Store, open_store
from lamina.errors import HostError, LaminaError, UserError
from lamina.fs.publish import publish_file, publishing
from lamina.fs.remove import remove_tree
from lamina.oci.digest import encoded, parse_digest
from lamina.trace.record import BuildRecord, decode_record, encode_record

FORMAT = "lamina build record"
FORMAT_VERSION = 1
_PIECE = 1 << 20  # bytes of a log in one line
_LONGEST_LINE = 128 << 20
_LARGEST = 1 << 30  # bytes of all lines
_PRIVATE = 0o600
_NAMES = ("record", "listing", "log", "end")


class DamagedFile(UserError):
    """The file is no exported record, or not all of it."""


class _Line(msgspec.Struct, omit_defaults=True):
    format: str = ""
    version: int = 0
    record: msgspec.Raw = msgspec.Raw()
    listing: str = ""
    log: int = 0
    data: bytes = b""
    end: int | None = None


def export_build(root: str, build: str, path: str) -> str:
    """Write a build's record to a file (`-` is not one), and return its id. Raises HostError."""
    history, store = History.of(root), open_store(root)
    record = history.find(build)
    try:
        with publishing(path, mode=_PRIVATE) as file:
            _write(file, record, history, store)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from error
    return record.build


def _write(file: BinaryIO, record: BuildRecord, history: History, store: Store) -> None:
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as out:
        count = 0
        for line in _lines(record, history, store):
            out.write(msgspec.json.encode(line) + b"\n")
            count += 1
        out.write(msgspec.json.encode({"end": count}) + b"\n")


def _lines(record: BuildRecord, history: History, store: Store) -> Iterator[object]:
    yield {"format": FORMAT, "version": FORMAT_VERSION}
    yield {"record": msgspec.Raw(encode_record(replace(record, imported=False)))}
    steps = recorded_steps(record)
    digests = dict.fromkeys(
        part.value
        for step in steps.values()
        for part in step.parts
        if part.name.startswith("files:")
    )
    for digest in digests:
        with contextlib.suppress(LaminaError):
            files = store.index.listing(parse_digest(digest))
            files = files or history.listing(record.build, digest)
            if files is not None:
                yield {"listing": digest, "data": zlib.compress(msgspec.msgpack.encode(files), 1)}
    for number in steps:
        with (
            contextlib.suppress(FileNotFoundError),
            open(history.path(record.build, f"{number}.log"), "rb") as log,
        ):
            while piece := log.read(_PIECE):
                yield {"log": number, "data": piece}


def import_build(root: str, path: str) -> str:
    """Take in an exported record, and return the build's id. One that is here stays as it is.

    Raises DamagedFile for a file that is not whole or from a later version, and HostError.
    """
    store = open_store(root)
    history = History.of(root)
    work = os.path.join(store.folder("history"), f".importing-{secrets.token_hex(8)}")
    try:
        with open(path, "rb") as file:
            os.makedirs(os.path.join(work, "listings"), mode=0o700)
            build = _take(_read(file, path), work, path)
        if not os.path.isdir(history.path(build)):
            os.rename(work, history.path(build))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DamagedFile(f"{path} is no exported record, or cut short: {error}") from None
    except OSError as error:
        raise HostError(f"cannot import {path}: {error.strerror}") from error
    finally:
        remove_tree(work)
    return build


def _read(file: BinaryIO, path: str) -> Iterator[_Line]:
    """The lines between the first and the last. Raises DamagedFile."""
    total = count = 0
    decoder = msgspec.json.Decoder(_Line)
    with gzip.GzipFile(fileobj=file, mode="rb") as stream:
        while data := stream.readline(_LONGEST_LINE):
            total += len(data)
            if not data.endswith(b"\n") or total > _LARGEST:
                break
            try:
                line = decoder.decode(data)
            except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
                raise DamagedFile(f"{path} is no exported record: {error}") from None
            if not count:
                _check_format(line, path)
            elif line.end is not None:
                if line.end == count:
                    return
                break
            else:
                yield line
            count += 1
    raise DamagedFile(f"{path} was cut short: its end is missing", hint="export it again")


def _check_format(line: _Line, path: str) -> None:
    if line.format != FORMAT:
        raise DamagedFile(f"{path} is no exported record", hint="lamina history export makes one")
    if line.version > FORMAT_VERSION:
        raise DamagedFile(
            f"{path} has version {line.version} of the format, this Lamina knows {FORMAT_VERSION}",
            hint="use a newer Lamina",
        )


def _take(lines: Iterator[_Line], work: str, path: str) -> str:
    """Write everything into the folder `work`. Returns the build's id."""
    build = ""
    for line in lines:
        if bytes(line.record):
            record = decode_record(bytes(line.record), name=path)
            if not BUILD_ID.fullmatch(record.build):
                raise DamagedFile(f"{path} names no build")
            build = record.build
            data = encode_record(replace(record, imported=True))
            publish_file(f"{work}/{RECORD}", data, mode=_PRIVATE)
        elif line.listing:
            name = encoded(parse_digest(line.listing))
            publish_file(f"{work}/listings/{name}", line.data, mode=_PRIVATE)
        elif line.log > 0:
            with open(f"{work}/{line.log}.log", "ab") as log:
                log.write(line.data)
    if not build:
        raise DamagedFile(f"{path} has no record in it")
    return build
