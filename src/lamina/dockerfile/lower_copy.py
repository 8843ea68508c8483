"""COPY, ADD and WORKDIR: what they write, as operations."""

from __future__ import annotations

from lamina.dockerfile import metadata
from lamina.dockerfile.git_ref import parse_git_ref
from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.paths import contains_wildcards, join, normalize
from lamina.dockerfile.problems import GitReferenceError
from lamina.dockerfile.scope import Scope
from lamina.dockerfile.sources import file_name, is_http_url, parse_checksum
from lamina.dockerfile.stages import StageState, StepCommand
from lamina.errors import UserError
from lamina.graph.ops import (
    CopyOp,
    CopySource,
    HttpOp,
    InlineSource,
    MakeDirOp,
    MergeOp,
    ScratchOp,
    TreeSource,
)
from lamina.graph.vertex import Vertex

Transfer = c.AddCommand | c.CopyCommand


def lower_copy(scope: Scope, state: StageState, command: Transfer, step: StepCommand) -> None:
    """Raises UserError."""
    assert state.draft is not None
    assert state.vertex is not None
    assert state.platform is not None
    if command.chmod:
        from lamina.notation.chmod import parse_mode_change

        parse_mode_change(command.chmod)  # wrong ones are found before anything runs
    source = _source(scope, state, command, step)
    inputs: list[Vertex] = []
    sources = [
        _lower_source(path, command, source, inputs, state.platform.os) for path in command.sources
    ]
    sources += [
        InlineSource(name=file.path, content=file.data.encode("utf-8", "surrogateescape"))
        for file in command.contents
    ]
    dest = "./" if command.dest in ("", ".") else command.dest
    operation = CopyOp(
        sources=tuple(sources),
        dest=normalize(state.cwd, dest, os=state.platform.os, keep_slash=True),
        chown=command.chown or None,
        chmod=command.chmod or None,
        exclude=command.exclude,
    )
    shown = scope.displayed(command.original, state.variables)
    name = scope.step_name(state, shown, trigger=step.from_trigger)
    # A mode that is given symbolically depends on nothing below, but BuildKit does not link with
    # one.
    linked = command.link and not command.chmod
    vertex = Vertex(
        op=operation,
        inputs=(Vertex(op=ScratchOp()) if linked else state.vertex, *inputs),
        name=name,
        span=command.span,
        locus=scope.locus(state, command.keyword.upper()),
        forced=state.forced,
    )
    state.vertex = Vertex(op=MergeOp(), inputs=(state.vertex, vertex)) if linked else vertex
    state.draft.commit(f"{_history(command)} # buildkit", layer=True, created=scope.created)


def lower_workdir(
    scope: Scope, state: StageState, command: c.WorkdirCommand, step: StepCommand
) -> None:
    """Raises UserError."""
    draft = state.draft
    assert draft is not None
    assert state.vertex is not None
    path = metadata.set_workdir(state, command.path)
    if path != "/":
        operation = MakeDirOp(path=join("/", path), owner=draft.user or None, epoch=scope.epoch)
        shown = scope.displayed(command.original, state.variables)
        name = scope.step_name(state, shown, trigger=step.from_trigger)
        state.vertex = Vertex(
            op=operation,
            inputs=(state.vertex,),
            name=name,
            span=command.span,
            locus=scope.locus(state, "WORKDIR"),
        )
    draft.commit(f"WORKDIR {path}", layer=path != "/", created=scope.created)


def _source(scope: Scope, state: StageState, command: Transfer, step: StepCommand) -> Vertex:
    """The tree that local paths are taken from."""
    if not step.sources or step.sources[0] is None:
        return scope.context
    source = step.sources[0]
    if not source.lowered:
        name = command.from_ if isinstance(command, c.CopyCommand) else ""
        raise UserError(
            f'cannot copy from stage "{name}", it needs to be defined before current stage '
            f'"{state.label}"'
        )
    assert source.vertex is not None
    return source.vertex


def _lower_source(
    path: str, command: Transfer, source: Vertex, inputs: list[Vertex], os: str
) -> CopySource:
    """One source path; its tree is added to `inputs`. Input 0 is what is copied onto."""
    add = command if isinstance(command, c.AddCommand) else None
    if _is_repository(path):
        if add is None:
            raise UserError("source can't be a git ref for COPY")
        raise UserError(
            "ADD from a git repository is not supported yet",
            hint="clone it beside the Dockerfile, and give it with --build-context",
        )
    if is_http_url(path):
        if add is None:
            raise UserError("source can't be a URL for COPY")
        return _download(path, add, inputs)
    if add is not None and add.checksum:
        raise UserError("checksum requires HTTP(S) or Git sources")
    return _local(path, command, source, inputs, os)


def _is_repository(path: str) -> bool:
    """Raises GitReferenceError for a repository with a wrong query."""
    try:
        return not parse_git_ref(path).like_local
    except GitReferenceError as error:
        if error.is_git:
            raise
        return False


def _download(url: str, command: c.AddCommand, inputs: list[Vertex]) -> TreeSource:
    if command.checksum and len(command.sources) != 1:
        raise UserError("checksum can't be specified for multiple sources")
    checksum = parse_checksum(command.checksum) if command.checksum else None
    operation = HttpOp(url=url, filename=file_name(url), checksum=checksum)
    inputs.append(Vertex(op=operation, name=url, span=command.span, locus=f"http:{url}"))
    return TreeSource(
        input=len(inputs),
        path=f"/{operation.filename}",
        wildcards=False,
        unpack=bool(command.unpack),
    )


def _local(
    path: str, command: Transfer, source: Vertex, inputs: list[Vertex], os: str
) -> TreeSource:
    include: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    if isinstance(command, c.CopyCommand) and command.parents:
        base, pivot, pattern = path.partition("/./")
        path, pattern = (base, pattern) if pivot else ("/", path)
        pattern = normalize("/", pattern, os=os)
        include = (pattern.removeprefix("/"),)
        if not contains_wildcards(path) and not contains_wildcards(pattern):
            required = (join("/", path, pattern),)
    unpack = isinstance(command, c.AddCommand) and command.unpack is not False
    inputs.append(source)
    return TreeSource(
        input=len(inputs),
        path=join("/", normalize("/", path, os=os)),
        include=include,
        required=required,
        unpack=unpack,
    )


def _history(command: Transfer) -> str:
    words = ["ADD" if isinstance(command, c.AddCommand) else "COPY"]
    if isinstance(command, c.CopyCommand) and command.parents:
        words.append("--parents")
    if command.chown:
        words.append(f"--chown={command.chown}")
    if command.chmod:
        words.append(f"--chmod={command.chmod}")
    words += [*command.sources, *(f"<<{file.path}" for file in command.contents), command.dest]
    return " ".join(words)
