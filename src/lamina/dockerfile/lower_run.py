"""RUN: the process, what it sees, and its mounts, as an operation."""

from __future__ import annotations

import posixpath

from lamina.dockerfile import metadata
from lamina.dockerfile.heredoc import chomp, parse_heredoc
from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.instructions.mount import MountFlag, MountType
from lamina.dockerfile.local import as_layers
from lamina.dockerfile.paths import join
from lamina.dockerfile.scope import Scope
from lamina.dockerfile.stages import StageState, StepCommand
from lamina.errors import InternalError, UserError
from lamina.graph import mounts as m
from lamina.graph.ops import CopyOp, ExecOp, InlineSource, LocalOp, ScratchOp
from lamina.graph.vertex import Vertex
from lamina.source import Span

_PIPES = "/dev/pipes"


def lower_run(scope: Scope, state: StageState, command: c.RunCommand, step: StepCommand) -> None:
    """Raises UserError."""
    _refuse(command)
    draft, platform = state.draft, state.platform
    assert draft is not None
    assert platform is not None
    assert state.vertex is not None
    inputs = [state.vertex]
    line, mounts, summary = _command_line(state, command, inputs)
    args = metadata.command_line(draft, line)
    mounts += _lower_mounts(scope, state, command, step, inputs)
    variables = {**state.variables, **_masked(command)}
    shown = scope.displayed(command.original + summary, variables, shell=True)
    name = scope.step_name(state, shown, trigger=step.from_trigger)
    operation = ExecOp(
        args=args,
        env=state.variables.as_tuple(),
        cwd=state.cwd,
        user=state.user,
        mounts=tuple(mounts),
        network=command.network if command.network != "default" else scope.request.network,
        hostname=scope.request.hostname,
        extra_hosts=scope.request.extra_hosts,
        proxies=scope.proxies,
        limits=scope.request.limits,
        platform=platform,
    )
    state.vertex = Vertex(
        op=operation,
        inputs=tuple(inputs),
        name=name,
        span=command.span,
        locus=scope.locus(state, "RUN"),
        forced=state.forced,
    )
    draft.commit(f"RUN {_history(state, args)} # buildkit", layer=True, created=scope.created)


def _refuse(command: c.RunCommand) -> None:
    """What is understood, and not done yet."""
    if command.security == "insecure":
        raise UserError(
            "entitlement security.insecure is not allowed: steps always run in the sandbox",
            hint="remove the flag, or build with a builder that grants security.insecure",
        )
    if command.devices:
        raise UserError("--device is not supported: steps see no devices of the machine")


def _command_line(
    state: StageState, command: c.RunCommand, inputs: list[Vertex]
) -> tuple[c.CommandLine, list[m.Mount], str]:
    """The command line with its heredocs in place, a mount that one needs, and what steps show of
    it.
    """
    line = command.line
    if not line.files:
        return line, [], ""
    if len(line.words) != 1 or not line.prepend_shell:
        raise InternalError(f"a heredoc in an unexpected place: {line.words}")
    first = line.files[0]
    if parse_heredoc(line.words[0]) is None:
        # The shell reads the heredocs itself.
        text = line.words[0] + "".join(f"\n{file.data}{file.name}" for file in line.files)
        return c.CommandLine(words=(text,)), [], ""
    data = chomp(first.data) if first.chomp else first.data
    summary = f" ({_summary(first.data)})"
    if not data.startswith("#!"):
        return c.CommandLine(words=(data,)), [], summary
    script = InlineSource(name=first.name, content=data.encode("utf-8", "surrogateescape"))
    inputs.append(
        Vertex(
            op=CopyOp(sources=(script,), dest="/", chmod="0755"),
            inputs=(Vertex(op=ScratchOp()),),
            locus="heredoc",
        )
    )
    mount = m.BindMount(input=len(inputs) - 1, source="/", target=_PIPES)
    path = posixpath.join(_PIPES, first.name)
    return c.CommandLine(words=(path,)), [mount], summary


def _summary(document: str) -> str:
    lines = document.strip().replace("\r\n", "\n").split("\n")
    return lines[0] + ("..." if len(lines) > 1 else "")


def _lower_mounts(
    scope: Scope,
    state: StageState,
    command: c.RunCommand,
    step: StepCommand,
    inputs: list[Vertex],
) -> list[m.Mount]:
    lowered: list[m.Mount] = []
    agents = 0
    for mount, source in zip(command.mounts, step.sources, strict=True):
        if source is not None and not source.lowered:
            raise UserError(
                f'cannot mount from stage "{mount.from_}" to "{mount.target}", '
                "stage needs to be defined before current command"
            )
        match mount.type:
            case MountType.SECRET:
                lowered.append(_secret(mount))
            case MountType.SSH:
                lowered.append(_ssh(mount, agents))
                agents += 1
            case _:
                vertex = source.vertex if source is not None else None
                lowered.append(_files(scope, state, mount, vertex, inputs, span=command.span))
    return lowered


def _files(
    scope: Scope,
    state: StageState,
    mount: MountFlag,
    source: Vertex | None,
    inputs: list[Vertex],
    *,
    span: Span,
) -> m.Mount:
    target = (
        join("/", state.cwd, mount.target) if not mount.target.startswith("/") else mount.target
    )
    target = join(target)
    if target == "/":
        raise UserError(f'invalid mount target "{mount.target}"', hint="give it a target=")
    if mount.type is MountType.TMPFS:
        return m.TmpfsMount(target=target, size=mount.size)
    if mount.type is MountType.CACHE:
        return _cache(scope, mount, target, source, inputs, span=span)
    tree, path = source or scope.context, join("/", mount.source)
    if isinstance(tree.op, LocalOp):
        # A step sees files as its key has them: owned by root, without ignored ones, and
        # unchanging.
        tree, path = as_layers(tree, path=path, dest="/source", span=span), "/source"
    inputs.append(tree)
    return m.BindMount(
        input=len(inputs) - 1,
        source=path,
        target=target,
        read_only=mount.read_only,
    )


def _cache(
    scope: Scope,
    mount: MountFlag,
    target: str,
    source: Vertex | None,
    inputs: list[Vertex],
    *,
    span: Span,
) -> m.CacheMount:
    namespace = scope.request.build_args.get("BUILDKIT_CACHE_MOUNT_NS", "")
    name = mount.id or join(mount.target)
    place = None
    path = join("/", mount.source)
    if source is not None and not isinstance(source.op, ScratchOp):
        if isinstance(source.op, LocalOp):
            source, path = as_layers(source, path=path, dest="/source", span=span), "/source"
        inputs.append(source)
        place = len(inputs) - 1
    return m.CacheMount(
        id=f"{namespace}/{name}" if namespace else name,
        target=target,
        sharing=mount.sharing or m.Sharing.SHARED,
        input=place,
        source=path,
        mode=0o755 if mount.mode is None else mount.mode,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
        read_only=mount.read_only,
    )


def _secret(mount: MountFlag) -> m.SecretMount:
    name = mount.source or mount.id or posixpath.basename(mount.target)
    target: str | None = mount.target or f"/run/secrets/{posixpath.basename(name)}"
    if mount.env is not None and not mount.target:
        target = None
    return m.SecretMount(
        id=name,
        target=target,
        env=mount.env or name if mount.env is not None else None,
        required=mount.required,
        mode=0o400 if mount.mode is None else mount.mode,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
    )


def _ssh(mount: MountFlag, number: int) -> m.SshMount:
    if mount.source:
        raise UserError("ssh does not support source")
    return m.SshMount(
        id=mount.id or "default",
        target=mount.target or f"/run/buildkit/ssh_agent.{number}",
        required=mount.required,
        mode=0o600 if mount.mode is None else mount.mode,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
    )


def _masked(command: c.RunCommand) -> dict[str, str]:
    """Variables that hold secrets, as steps may show them."""
    return {
        mount.env: "****"
        for mount in command.mounts
        if mount.type is MountType.SECRET and mount.env
    }


def _history(state: StageState, args: tuple[str, ...]) -> str:
    """The command line behind the ARGs it could see, as Docker writes it: `|1 VERSION=2 /bin/sh -c
    make`.
    """
    seen = {arg.key: state.variables.get(arg.key, arg.value or "") for arg in state.arguments}
    told = [f"{name}={value}" for name, value in seen.items()]
    count = [f"|{len(told)}"] if told else []
    return " ".join((*count, *told, *args))
