"""Syntax to typed instructions: which arguments and flags each takes.

One function an instruction, all called with the syntax node. They raise InstructionError with the
bare reason; `parse` adds the place.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.instructions.flags import parse_flags
from lamina.dockerfile.instructions.health import parse_health
from lamina.dockerfile.instructions.mount import parse_device, parse_mount
from lamina.dockerfile.instructions.placed import common
from lamina.dockerfile.instructions.transfer import parse_add, parse_copy
from lamina.dockerfile.parser import parse_syntax
from lamina.dockerfile.problems import InstructionError, UnknownInstruction
from lamina.dockerfile.syntax import Instruction, Syntax
from lamina.notation.gostrings import SPACES, quote
from lamina.notation.suggest import did_you_mean
from lamina.source import SourceFile, Span

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_ONBUILD = re.compile(r"[\t\n\f\r ]*ONBUILD[\t\n\f\r ]*", re.IGNORECASE)


def parse(syntax: Syntax) -> tuple[tuple[c.Stage, ...], tuple[c.ArgCommand, ...]]:
    """The stages of a file, and the ARGs above the first FROM. Raises InstructionError."""
    meta_args: list[c.ArgCommand] = []
    stages: list[c.Stage] = []
    commands: list[list[c.Command]] = []
    for node in syntax.instructions:
        try:
            parsed = parse_instruction(node)
        except InstructionError as error:
            raise error.placed(node.code) from None
        match parsed:
            case c.Stage():
                stages.append(parsed)
                commands.append([])
            case c.ArgCommand() if not stages:
                meta_args.append(parsed)
            case _ if not stages:
                raise InstructionError(
                    "no build stage in current context",
                    span=node.code,
                    hint="only ARG may stand before the first FROM",
                )
            case _:
                commands[-1].append(parsed)
    return (
        tuple(stage.having(body) for stage, body in zip(stages, commands, strict=True)),
        tuple(meta_args),
    )


def parse_instruction(node: Instruction) -> c.Stage | c.Command:
    """One instruction; a FROM becomes a stage without commands. Raises InstructionError."""
    parser = _PARSERS.get(node.name)
    if parser is None:
        raise UnknownInstruction(
            did_you_mean(
                f"unknown instruction: {node.keyword}",
                node.keyword,
                (name.upper() for name in _PARSERS),
                ignore_case=True,
            ),
            span=Span(node.code.file, node.code.start, node.code.start + len(node.keyword)),
        )
    if "\0" in node.original:
        raise InstructionError("an instruction cannot hold a NUL byte", span=node.code)
    try:
        return parser(node)
    except InstructionError as error:
        error.place(node.code)
        raise


def parse_trigger(expression: str, *, image: str) -> c.Command:
    """The command of an ONBUILD trigger, which came with the base image `image`.

    Raises InstructionError, DockerfileSyntaxError, ExpansionError.
    """
    source = SourceFile(f"ONBUILD trigger of {image}", expression)
    nodes = tuple(parse_syntax(source).instructions)
    if len(nodes) != 1:
        raise InstructionError("onbuild trigger should be a single expression", span=nodes[0].code)
    command = parse_instruction(nodes[0])
    if isinstance(command, c.Stage):
        raise InstructionError("FROM isn't allowed as an ONBUILD trigger", span=nodes[0].code)
    return command


def _parse_from(node: Instruction) -> c.Stage:
    name = _stage_name(node.args)
    flags = parse_flags(node.flags, value=("platform",))
    return c.Stage(
        **common(node),
        name=name,
        base_name=node.args[0],
        platform=flags.value("platform"),
        doc_comment=_doc_comment(node.comments, name),
    )


def _stage_name(args: tuple[str, ...]) -> str:
    if len(args) == 3 and args[1].lower() == "as":
        name = args[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise InstructionError(
                f"invalid name for build stage: {quote(args[2])}, "
                "name can't start with a number or contain symbols"
            )
        return name
    if len(args) != 1:
        raise InstructionError("FROM requires either one or three arguments")
    return ""


def _doc_comment(comments: tuple[str, ...], name: str) -> str:
    """What the comments above say about `name`: a line that starts with the name says it."""
    if not name:
        return ""
    prefix = name + " "
    return next((line.removeprefix(prefix) for line in comments if line.startswith(prefix)), "")


def _parse_arg(node: Instruction) -> c.ArgCommand:
    if not node.args:
        raise _at_least_one("ARG")
    # ARG takes no flags, and BuildKit does not look whether there are any.
    return c.ArgCommand(
        **common(node), args=tuple(_declaration(arg, node.comments) for arg in node.args)
    )


def _declaration(arg: str, comments: tuple[str, ...]) -> c.KeyValueOptional:
    key, equals, value = arg.partition("=")
    if equals and not key:
        raise InstructionError("ARG names can not be blank")
    return c.KeyValueOptional(
        key=key,
        value=value if equals else None,
        doc_comment=_doc_comment(comments, key),
    )


def _pairs(node: Instruction, name: str) -> tuple[c.KeyValue, ...]:
    parse_flags(node.flags)
    if not node.args:
        raise _at_least_one(name)
    if len(node.args) % 3:
        raise InstructionError(f"Bad input to {name}, too many arguments")
    triples = zip(node.args[::3], node.args[1::3], node.args[2::3], strict=True)
    pairs = tuple(
        c.KeyValue(key=key, value=value, legacy=not equals) for key, value, equals in triples
    )
    if not all(pair.key for pair in pairs):
        raise InstructionError(f"{name} names can not be blank")
    return pairs


def _parse_env(node: Instruction) -> c.EnvCommand:
    return c.EnvCommand(**common(node), env=_pairs(node, "ENV"))


def _parse_label(node: Instruction) -> c.LabelCommand:
    return c.LabelCommand(**common(node), labels=_pairs(node, "LABEL"))


def _command_line(node: Instruction) -> c.CommandLine:
    words = node.args
    if words and not node.json:
        words = (" ".join(words),)
    return c.CommandLine(
        words=words,
        prepend_shell=not node.json,
        files=tuple(
            c.InlineFile(name=heredoc.name, data=heredoc.content, chomp=heredoc.chomp)
            for heredoc in node.heredocs
        ),
    )


def _parse_run(node: Instruction) -> c.RunCommand:
    flags = parse_flags(node.flags, value=("network", "security"), values=("mount", "device"))
    devices = tuple(map(parse_device, flags.values("device")))
    mounts = tuple(parse_mount(option, None) for option in flags.values("mount"))
    network = flags.value("network", "default")
    if network not in ("default", "none", "host"):
        raise InstructionError(f"invalid network mode {quote(network)}")
    security = flags.value("security", "sandbox")
    if security not in ("insecure", "sandbox"):
        raise InstructionError(f"security {quote(security)} is not valid")
    return c.RunCommand(
        **common(node),
        line=_command_line(node),
        mount_options=flags.values("mount"),
        mounts=mounts,
        network=network,
        security=security,
        devices=devices,
        flags_used=flags.used,
    )


def _parse_cmd(node: Instruction) -> c.CmdCommand:
    parse_flags(node.flags)
    return c.CmdCommand(**common(node), line=_command_line(node))


def _parse_entrypoint(node: Instruction) -> c.EntrypointCommand:
    parse_flags(node.flags)
    return c.EntrypointCommand(**common(node), line=_command_line(node))


def _parse_shell(node: Instruction) -> c.ShellCommand:
    parse_flags(node.flags)
    if not node.args:
        raise _at_least_one("SHELL")
    if not node.json:
        raise InstructionError("SHELL requires the arguments to be in JSON form")
    return c.ShellCommand(**common(node), shell=node.args)


def _parse_healthcheck(node: Instruction) -> c.HealthCheckCommand:
    if not node.args:
        raise _at_least_one("HEALTHCHECK")
    return c.HealthCheckCommand(**common(node), health=parse_health(node))


def _parse_expose(node: Instruction) -> c.ExposeCommand:
    return c.ExposeCommand(**common(node), ports=tuple(sorted(_arguments(node, "EXPOSE"))))


def _parse_volume(node: Instruction) -> c.VolumeCommand:
    volumes = tuple(path.strip(SPACES) for path in _arguments(node, "VOLUME"))
    if not all(volumes):
        raise InstructionError("VOLUME specified can not be an empty string")
    return c.VolumeCommand(**common(node), volumes=volumes)


def _arguments(node: Instruction, name: str) -> tuple[str, ...]:
    if not node.args:
        raise _at_least_one(name)
    parse_flags(node.flags)
    return node.args


def _argument(node: Instruction, name: str) -> str:
    if len(node.args) != 1:
        raise InstructionError(f"{name} requires exactly one argument")
    parse_flags(node.flags)
    return node.args[0]


def _parse_maintainer(node: Instruction) -> c.MaintainerCommand:
    return c.MaintainerCommand(**common(node), maintainer=_argument(node, "MAINTAINER"))


def _parse_user(node: Instruction) -> c.UserCommand:
    return c.UserCommand(**common(node), user=_argument(node, "USER"))


def _parse_workdir(node: Instruction) -> c.WorkdirCommand:
    return c.WorkdirCommand(**common(node), path=_argument(node, "WORKDIR"))


def _parse_stopsignal(node: Instruction) -> c.StopSignalCommand:
    if len(node.args) != 1:
        raise InstructionError("STOPSIGNAL requires exactly one argument")
    return c.StopSignalCommand(**common(node), signal=node.args[0])


def _parse_onbuild(node: Instruction) -> c.OnbuildCommand:
    inner = node.inner
    if inner is None and not node.args:
        raise _at_least_one("ONBUILD")
    parse_flags(node.flags)
    trigger = inner.keyword.upper() if inner is not None else "ONBUILD"
    if trigger == "ONBUILD":
        raise InstructionError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise InstructionError(f"{trigger} isn't allowed as an ONBUILD trigger")
    match = _ONBUILD.match(node.original)
    expression = node.original[match.end() if match else 0 :]
    for heredoc in node.heredocs:
        expression += f"\n{heredoc.content}{heredoc.name}"
    return c.OnbuildCommand(**common(node), expression=expression)


def _at_least_one(name: str) -> InstructionError:
    return InstructionError(f"{name} requires at least one argument")


_PARSERS: dict[str, Callable[[Instruction], c.Stage | c.Command]] = {
    "add": parse_add,
    "arg": _parse_arg,
    "cmd": _parse_cmd,
    "copy": parse_copy,
    "entrypoint": _parse_entrypoint,
    "env": _parse_env,
    "expose": _parse_expose,
    "from": _parse_from,
    "healthcheck": _parse_healthcheck,
    "label": _parse_label,
    "maintainer": _parse_maintainer,
    "onbuild": _parse_onbuild,
    "run": _parse_run,
    "shell": _parse_shell,
    "stopsignal": _parse_stopsignal,
    "user": _parse_user,
    "volume": _parse_volume,
    "workdir": _parse_workdir,
}
