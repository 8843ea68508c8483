"""ADD and COPY: sources of three kinds (paths, inline files, addresses) and a destination."""

from __future__ import annotations

from lamina.dockerfile.heredoc import chomp, heredoc_or_none
from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.instructions.flags import parse_flags
from lamina.dockerfile.instructions.placed import common
from lamina.dockerfile.problems import InstructionError
from lamina.dockerfile.syntax import Instruction


def parse_add(node: Instruction) -> c.AddCommand:
    """Raises InstructionError."""
    _check_destination(node, "ADD")
    flags = parse_flags(
        node.flags,
        switch=("link", "keep-git-dir", "unpack"),
        value=("chown", "chmod", "checksum"),
        values=("exclude",),
    )
    sources, contents, dest = _sources(node, "ADD")
    return c.AddCommand(
        **common(node),
        sources=sources,
        contents=contents,
        dest=dest,
        chown=flags.value("chown"),
        chmod=flags.value("chmod"),
        link=bool(flags.switch("link")),
        exclude=flags.values("exclude"),
        checksum=flags.value("checksum"),
        keep_git_dir=flags.switch("keep-git-dir"),
        unpack=flags.switch("unpack"),
    )


def parse_copy(node: Instruction) -> c.CopyCommand:
    """Raises InstructionError."""
    _check_destination(node, "COPY")
    flags = parse_flags(
        node.flags,
        switch=("link", "parents"),
        value=("chown", "chmod", "from"),
        values=("exclude",),
    )
    sources, contents, dest = _sources(node, "COPY")
    return c.CopyCommand(
        **common(node),
        sources=sources,
        contents=contents,
        dest=dest,
        chown=flags.value("chown"),
        chmod=flags.value("chmod"),
        link=bool(flags.switch("link")),
        exclude=flags.values("exclude"),
        from_=flags.value("from"),
        parents=bool(flags.switch("parents")),
    )


def _check_destination(node: Instruction, name: str) -> None:
    if len(node.args) < 2:
        raise InstructionError(
            f"{name} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )


def _sources(
    node: Instruction, name: str
) -> tuple[tuple[str, ...], tuple[c.SourceContent, ...], str]:
    """The paths, the inline files and the destination of ADD or COPY."""
    *words, dest = node.args
    if heredoc_or_none(dest) is not None:
        raise InstructionError(f"{name} cannot accept a heredoc as a destination")
    filled = {heredoc.name: heredoc.content for heredoc in node.heredocs}
    paths: list[str] = []
    contents: list[c.SourceContent] = []
    for word in words:
        heredoc = heredoc_or_none(word)
        if heredoc is None:
            paths.append(word)
            continue
        data = filled.get(heredoc.name, "")
        if heredoc.chomp:
            data = chomp(data)
        contents.append(c.SourceContent(path=heredoc.name, data=data, expand=heredoc.expand))
    return tuple(paths), tuple(contents), dest
