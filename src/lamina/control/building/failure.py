"""`--on-error`: what becomes of the files of a RUN step that failed, once the build is at rest.

    shell    a shell in them, with the step's mounts, variables, user and network
    keep     an image of the local store, for `lamina run` and `lamina rmi`
    export   plain files in a folder

The build fails afterwards as it would have; what was done is said in the hints of its error.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from lamina.control.building.session import BuildSession
from lamina.control.request import OnError
from lamina.errors import LaminaError, UserError
from lamina.executor.launcher import CannotStart
from lamina.executor.spec import BindMount, ContainerSpec, Mount, OverlayMount
from lamina.exporter.files import FileOptions
from lamina.exporter.image import BuiltImage
from lamina.exporter.port import ExportContext
from lamina.fs.publish import publish_file
from lamina.graph.mounts import CacheMount, TmpfsMount
from lamina.graph.ops import ExecOp
from lamina.layer.entry import Kind
from lamina.layer.stack import Layer
from lamina.oci.config import ContainerConfig, History, ImageConfig
from lamina.oci.reference import parse_reference
from lamina.ops.failed_tree import FailedTree
from lamina.ops.remains import Remains

COMMAND = "LAMINA_COMMAND"
"""The variable with the failed command, for `eval`."""

REPOSITORY = "lamina-failed"
"""Kept files are images called `lamina-failed:BUILD`, whoever clears up may look for."""

REMOVED = ".lamina-removed"
"""Lists, in a folder of changed files, the paths that the step has removed."""

_SHELLS = ("/bin/sh", "/bin/bash", "/bin/ash", "/bin/dash", "/bin/zsh", "/busybox/sh")
_EXECUTABLE = 0o111
_NAME = 12


class ShellNotice(msgspec.Struct, frozen=True, kw_only=True):
    """What a user is told before the shell. `emptied` are tmpfs mounts, which begin anew, `shared`
    cache mounts that may be written to.
    """

    error: LaminaError
    shell: str
    emptied: tuple[str, ...]
    shared: tuple[str, ...]


Opening = Callable[[ShellNotice], None]
"""Clears the terminal for the shell: nothing else writes to it from then on."""


@contextlib.contextmanager
def attending(build: BuildSession, on_error: OnError, opening: Opening) -> Iterator[None]:
    """Looks after a step that fails in the block, as `on_error` says. For the main thread alone."""
    morgue = build.morgue
    assert morgue is not None
    try:
        yield
    except LaminaError as error:
        remains = morgue.of(error)
        if remains is not None:
            _attend(build, on_error, remains, opening)
        raise
    finally:
        morgue.close()


def _attend(build: BuildSession, on_error: OnError, remains: Remains, opening: Opening) -> None:
    """What goes wrong here must not hide what went wrong before."""
    try:
        match on_error.action:
            case "shell":
                done = _shell(build, remains, opening)
            case "keep":
                done = _keep(build, remains)
            case _:
                done = _export(build, remains, on_error)
    except (LaminaError, OSError) as problem:
        done = f"--on-error={on_error.action} did not work: {problem}"
    error = remains.error
    error.hint = "\n".join(filter(None, (error.hint, done)))


def _shell(build: BuildSession, remains: Remains, opening: Opening) -> str:
    shells = _shells(build, remains)
    if not shells:
        raise UserError(f"the image has no shell ({', '.join(_SHELLS)})")
    spec = remains.spec
    mounts = remains.op.mounts
    notice = ShellNotice(
        error=remains.error,
        shell=shells[0],
        emptied=tuple(each.target for each in mounts if isinstance(each, TmpfsMount)),
        shared=tuple(
            each.target for each in mounts if isinstance(each, CacheMount) and not each.read_only
        ),
    )
    opening(notice)
    executor = build.open_executor()
    problem: CannotStart | None = None
    for number, shell in enumerate(shells):
        try:
            executor.run_attached(_again(spec, shell, number), terminal=True)
            return ""
        except CannotStart as error:
            problem = error
    raise problem or UserError("no shell")


def _shells(build: BuildSession, remains: Remains) -> list[str]:
    """Those that the image has, its SHELL first."""
    tree = FailedTree(build.store.layers, remains.below, remains.spec.root)
    args = remains.op.args
    wanted = [args[0]] if args[1:] and args[-2].endswith("c") and args[0].startswith("/") else []
    found = []
    for path in dict.fromkeys((*wanted, *_SHELLS)):
        entry = tree.entry(path)
        if entry is not None and entry.kind is Kind.FILE and entry.mode & _EXECUTABLE:
            found.append(path)
    return found


def _again(spec: ContainerSpec, shell: str, number: int) -> ContainerSpec:
    """The step once more, with a shell as its command."""
    env = (*spec.process.env, (COMMAND, shlex.join(spec.process.args)))
    root = _remounted(spec.root, number)
    assert isinstance(root, OverlayMount | BindMount)
    return replace(
        spec,
        root=root,
        mounts=tuple(_remounted(each, number) for each in spec.mounts),
        process=replace(spec.process, args=(shell,), env=env, terminal=True),
    )


def _remounted(mount: Mount, number: int) -> Mount:
    """No two mounts may have had the same work directory."""
    if not isinstance(mount, OverlayMount) or mount.work is None:
        return mount
    work = f"{mount.work}-{number}"
    os.mkdir(work, 0o700)
    return replace(mount, work=work)


def _keep(build: BuildSession, remains: Remains) -> str:
    from lamina.exporter.store import StoreExporter

    name = f"{REPOSITORY}:{build.chronicle.build[:_NAME]}"
    shells = _shells(build, remains)
    image = _image(remains, [_committed(remains)], shell=shells[0] if shells else "sh")
    context = replace(_context(build), names=(parse_reference(name),))
    StoreExporter.parse(None, {}).export([image], context)
    return f"its files are kept: see lamina run -it {name}, and remove with lamina rmi {name}"


def _export(build: BuildSession, remains: Remains, on_error: OnError) -> str:
    from lamina.exporter.local import LocalExporter

    layer, dest = _committed(remains), on_error.dest
    image = _image(remains, [layer], shell="", below=on_error.whole)
    LocalExporter(dest=dest, options=FileOptions()).export([image], _context(build))
    if on_error.whole:
        return f"its whole root file system is in {dest}"
    entries = build.store.layers.manifest(layer.id).entries
    removed = [entry.path for entry in entries if entry.kind is Kind.WHITEOUT or entry.opaque]
    files = sum(entry.kind not in (Kind.WHITEOUT, Kind.DIRECTORY) for entry in entries)
    count = (
        "the file that it made or changed is"
        if files == 1
        else (f"the {files} files that it made or changed are")
    )
    text = f"{count} in {dest}"
    if not files:
        text = f"it has changed no file; {dest} holds none"
    if not removed:
        return text
    publish_file(f"{dest}/{REMOVED}", b"".join(b"/" + path + b"\n" for path in removed))
    return f"{text}; {dest}/{REMOVED} lists what it removed ({len(removed)})"


def _committed(remains: Remains) -> Layer:
    return Layer(id=remains.active.commit())


def _image(
    remains: Remains, layers: Sequence[Layer], *, shell: str, below: bool = True
) -> BuiltImage:
    op, platform = remains.op, remains.op.platform
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        config=ContainerConfig(
            env=tuple(f"{each.name}={each.value}" for each in op.env),
            working_dir=op.cwd,
            user=op.user,
            cmd=(shell,),
        ),
        history=(History(created_by=_told(op), comment="this step failed"),),
    )
    stack = (*(remains.below if below else ()), *layers)
    return BuiltImage(platform=platform, config=config, stack=stack)


def _told(op: ExecOp) -> str:
    return f"RUN {' '.join(op.args)}"


def _context(build: BuildSession) -> ExportContext:
    return ExportContext(
        content=build.store.blobs,
        blobs=build.layer_blobs(),
        view=build.stacks.view,
        store=build.store.images,
    )
