"""The graph of a build as JSON, in the form in which BuildKit's provenance lists the steps.

The names of the fields are those of BuildKit's low-level definition (solver/pb/ops.proto), so that
what reads its provenance reads Lamina's. Fields that are empty are left out, as there.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, assert_never

import msgspec

from lamina.control.building.bases import ImageOrigin
from lamina.graph.mounts import BindMount, CacheMount, Mount, SecretMount, SshMount, TmpfsMount
from lamina.graph.ops import (
    CopyOp,
    ExecOp,
    HttpOp,
    ImageOp,
    InlineSource,
    LocalOp,
    MakeDirOp,
    MergeOp,
    ScratchOp,
)
from lamina.graph.vertex import Vertex
from lamina.oci.digest import digest_from, digest_of
from lamina.oci.platform import Platform
from lamina.source import Span

Json = dict[str, Any]
_NONE = -1
_WITH_USER = re.compile(
    r"(?P<scheme>(?!docker-image:|oci-layout:)[a-z][a-z0-9+.-]*://)(?P<user>[^/?#]*)@"
)
_NETWORKS = {"host": 1, "none": 2}
_SECRET, _SSH, _CACHE, _TMPFS = 1, 2, 3, 4
_SHARING = {"shared": 0, "private": 1, "locked": 2}


class BuildSteps(msgspec.Struct, frozen=True, kw_only=True):
    """The steps that an image comes of, inputs first; step N of the JSON is `vertices[N]`."""

    vertices: tuple[Vertex, ...]
    origins: Mapping[ImageOp, ImageOrigin]

    def definition(self) -> list[Json]:
        """Every step with its inputs; the last one stands for the image and does nothing."""
        places = {vertex: place for place, vertex in enumerate(self.vertices)}
        steps = [self._step(vertex, places) for vertex in self.vertices]
        return [*steps, last_step(len(steps))]

    def digests(self) -> dict[str, str]:
        """What is the same in every build of the same step, to the step's name here."""
        identities = [vertex.identity for vertex in self.vertices]
        found: dict[str, str] = {}
        for place, digest in enumerate(map(digest_from, identities)):
            found[digest] = f"step{place}"
        found[digest_of(b"".join(identities[-1:]))] = f"step{len(identities)}"
        return found

    def locations(self) -> Json:
        """Which lines of the Dockerfile each step is from."""
        return {
            f"step{place}": _location(vertex.span)
            for place, vertex in enumerate(self.vertices)
            if vertex.span is not None
        }

    def _step(self, vertex: Vertex, places: Mapping[Vertex, int]) -> Json:
        real = [each for each in vertex.inputs if each in places]
        # An input that is empty has no step; in the operation it is called -1.
        inputs = [real.index(each) if each in places else _NONE for each in vertex.inputs]
        return _filled(
            id=f"step{places[vertex]}",
            inputs=[f"step{places[each]}:0" for each in real],
            op=self._op(vertex, inputs),
        )

    def _op(self, vertex: Vertex, inputs: list[int]) -> Json:
        op = vertex.op
        match op:
            case ScratchOp():
                done: Json = {}
            case ImageOp():
                source = {"identifier": _identifier(op, self.origins.get(op))}
                return {"Op": {"source": source}, "platform": _platform(op.platform)}
            case LocalOp():
                done = {"source": {"identifier": f"local://{op.name}"}}
            case HttpOp():
                attrs = {"http.filename": op.filename, "http.checksum": op.checksum}
                done = {"source": {"identifier": redacted(op.url), "attrs": _filled(**attrs)}}
            case CopyOp():
                done = {"file": {"actions": _copies(op, inputs)}}
            case MakeDirOp():
                done = {"file": {"actions": [_make_folder(op, inputs)]}}
            case ExecOp():
                return {"Op": {"exec": _process(op, inputs)}, "platform": _platform(op.platform)}
            case MergeOp():
                done = {"merge": {"inputs": [{"input": place} for place in inputs]}}
            case _:
                assert_never(op)
        return {"Op": done}


def steps_of(target: Vertex, origins: Mapping[ImageOp, ImageOrigin]) -> BuildSteps:
    """The steps of an image; an empty tree is none."""
    order: dict[Vertex, None] = {}
    todo = [(target, False)]
    while todo:
        vertex, ready = todo.pop()
        if vertex in order or isinstance(vertex.op, ScratchOp):
            continue
        if ready:
            order[vertex] = None
        else:
            todo.append((vertex, True))
            todo += [(each, False) for each in reversed(vertex.inputs)]
    return BuildSteps(vertices=tuple(order), origins=origins)


def last_step(number: int) -> Json:
    """The step that does nothing but name its input, which BuildKit's lists end with."""
    inputs = [f"step{number - 1}:0"] if number else []
    return {"id": f"step{number}", "inputs": inputs, "op": {"Op": {}}}


def redacted(url: str) -> str:
    """A URL without the name and the password that it may hold; other texts as they are."""
    found = _WITH_USER.match(url)
    if found is None:
        return url
    user = "xxxxx:xxxxx" if ":" in found["user"] else "xxxxx"
    return f"{found['scheme']}{user}{url[found.end('user') :]}"


def _identifier(op: ImageOp, origin: ImageOrigin | None) -> str:
    if origin is None:
        return f"docker-image://{op.reference.partition('@')[0]}@{op.digest}"
    scheme = "oci-layout" if origin.local else "docker-image"
    return f"{scheme}://{str(origin.reference).partition('@')[0]}@{origin.digest}"


def _platform(platform: Platform) -> Json:
    return _filled(Architecture=platform.architecture, OS=platform.os, Variant=platform.variant)


def _copies(op: CopyOp, inputs: list[int]) -> list[Json]:
    """One action a source; each works on what the one before it left."""
    actions = []
    for place, source in enumerate(op.sources):
        common = {"owner": _owner(op.chown), **_mode(op.chmod), "timestamp": _timestamp(op.epoch)}
        if isinstance(source, InlineSource):
            path = op.dest + source.name if op.dest.endswith("/") else op.dest
            data = b64encode(source.content).decode()
            action = {"mkfile": _filled(path=path, data=data, **common)}
            second = _NONE
        else:
            second = inputs[source.input]
            action = {
                "copy": _filled(
                    src=source.path,
                    dest=op.dest,
                    createDestPath=True,
                    allowWildcard=source.wildcards,
                    allowEmptyWildcard=source.wildcards,
                    followSymlink=source.wildcards,
                    dirCopyContents=source.wildcards,
                    attemptUnpackDockerCompatibility=source.unpack,
                    includePatterns=list(source.include),
                    requiredPaths=list(source.required),
                    excludePatterns=list(op.exclude),
                    **common,
                )
            }
        last = place == len(op.sources) - 1
        actions.append(
            {
                "input": inputs[0] if not place else len(inputs) + place - 1,
                "secondaryInput": second,
                "output": 0 if last else _NONE,
                "Action": action,
            }
        )
    return actions


def _make_folder(op: MakeDirOp, inputs: list[int]) -> Json:
    made = _filled(
        path=op.path,
        mode=op.mode,
        makeParents=True,
        owner=_owner(op.owner),
        timestamp=_timestamp(op.epoch),
    )
    return {"input": inputs[0], "secondaryInput": _NONE, "output": 0, "Action": {"mkdir": made}}


def _process(op: ExecOp, inputs: list[int]) -> Json:
    secrets = [mount for mount in op.mounts if isinstance(mount, SecretMount)]
    meta = _filled(
        args=list(op.args),
        env=[f"{each.name}={each.value}" for each in op.env],
        cwd=op.cwd,
        user=op.user,
        hostname=op.hostname,
        extraHosts=[{"Host": host, "IP": address} for host, address in op.extra_hosts],
        ulimit=[{"Name": n, "Soft": soft, "Hard": hard} for n, soft, hard in op.limits.ulimits],
    )
    return _filled(
        meta=meta,
        mounts=[
            _filled(dest="/", input=inputs[0]),
            *(made for mount in op.mounts for made in _mount(mount, inputs)),
        ],
        network=_NETWORKS.get(op.network, 0),
        secretenv=[
            _filled(ID=each.id, name=each.env, optional=not each.required)
            for each in secrets
            if each.env is not None
        ],
    )


def _mount(mount: Mount, inputs: list[int]) -> list[Json]:
    match mount:
        case BindMount():
            found = _filled(
                input=inputs[mount.input],
                selector=mount.source if mount.source != "/" else "",
                readonly=mount.read_only,
            )
        case CacheMount():
            found = _filled(
                input=_NONE if mount.input is None else inputs[mount.input],
                selector=mount.source if mount.source != "/" else "",
                readonly=mount.read_only,
                mountType=_CACHE,
                cacheOpt=_filled(ID=mount.id, sharing=_SHARING[mount.sharing.value]),
            )
        case TmpfsMount():
            found = _filled(input=_NONE, mountType=_TMPFS, TmpfsOpt=_filled(size=mount.size))
        case SecretMount() | SshMount():
            if mount.target is None:
                return []
            is_secret = isinstance(mount, SecretMount)
            given = _filled(
                ID=mount.id,
                uid=mount.uid,
                gid=mount.gid,
                mode=mount.mode,
                optional=not mount.required,
            )
            found = {
                "input": _NONE,
                "mountType": _SECRET if is_secret else _SSH,
                ("secretOpt" if is_secret else "SSHOpt"): given,
            }
        case _:
            assert_never(mount)
    return [{**found, "dest": mount.target, "output": _NONE}]


def _owner(text: str | None) -> Json | None:
    if text is None:
        return None
    user, _, group = text.partition(":")

    def one(name: str) -> Json | None:
        if not name:
            return None
        return {"User": {"byID": int(name)} if name.isdecimal() else {"byName": {"name": name}}}

    return _filled(user=one(user), group=one(group))


def _mode(text: str | None) -> Json:
    if text is None:
        return {"mode": _NONE}
    try:
        return {"mode": int(text, 8)}
    except ValueError:
        return {"modeStr": text}


def _timestamp(epoch: int | None) -> int:
    """Nanoseconds since 1970; -1 leaves the times alone."""
    return _NONE if epoch is None else epoch * 10**9


def _location(span: Span) -> Json:
    lines = {"start": {"line": span.line}, "end": {"line": span.end_line}}
    return {"locations": [{"ranges": [lines]}]}


def _filled(**fields: object) -> Json:
    """The fields that hold something."""
    return {name: value for name, value in fields.items() if value}
