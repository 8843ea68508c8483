"""Instructions that change the image's configuration and no file."""

from __future__ import annotations

import signal

from lamina.dockerfile.draft import ConfigDraft
from lamina.dockerfile.instructions import commands as c
from lamina.dockerfile.paths import join, native, normalize
from lamina.dockerfile.ports import parse_ports
from lamina.dockerfile.scope import Scope
from lamina.dockerfile.stages import StageState
from lamina.errors import InternalError, UserError
from lamina.notation.gostrings import quote
from lamina.oci.config import Healthcheck

# What BuildKit sets without a word, and no step sees: an ARG of this name is no variable.
HIDDEN_ARGUMENTS = frozenset(("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"))


def apply(scope: Scope, state: StageState, command: c.Command) -> None:
    """Change the stage's draft and variables; a line of history says so. Raises UserError."""
    draft = state.draft
    assert draft is not None
    text = _apply(scope, state, draft, command)
    if text is not None:
        draft.commit(text, layer=False, created=scope.created)


def _apply(scope: Scope, state: StageState, draft: ConfigDraft, command: c.Command) -> str | None:
    match command:
        case c.ArgCommand():
            return _declare(scope, state, command)
        case c.EnvCommand():
            for pair in command.env:
                state.variables.set(pair.key, pair.value)
                draft.env[pair.key] = pair.value
            return "ENV " + " ".join(f"{pair.key}={pair.value}" for pair in command.env)
        case c.LabelCommand():
            draft.labels = {**(draft.labels or {}), **{p.key: p.value for p in command.labels}}
            return "LABEL " + " ".join(f"{pair.key}={pair.value}" for pair in command.labels)
        case c.MaintainerCommand():
            draft.author = command.maintainer
            return f"MAINTAINER {command.maintainer}"
        case c.OnbuildCommand():
            draft.onbuild = (*draft.onbuild, command.expression)
            return None
        case c.CmdCommand():
            draft.cmd = command_line(draft, command.line)
            draft.args_escaped = True
            draft.command_set = True
            return f"CMD {_list(draft.cmd)}"
        case c.EntrypointCommand():
            draft.entrypoint = command_line(draft, command.line)
            if not draft.command_set:
                draft.cmd = None
            return f"ENTRYPOINT {_list(draft.entrypoint)}"
        case c.HealthCheckCommand():
            draft.healthcheck = _healthcheck(command.health)
            return "HEALTHCHECK " + _describe(command.health)
        case c.ExposeCommand():
            ports = parse_ports(command.ports)
            draft.ports = {**(draft.ports or {}), **{port: {} for port in ports}}
            return f"EXPOSE [{' '.join(ports)}]"
        case c.UserCommand():
            state.user = draft.user = command.user
            return f"USER {command.user}"
        case c.VolumeCommand():
            if "" in command.volumes:
                raise UserError("VOLUME specified can not be an empty string")
            draft.volumes = {**(draft.volumes or {}), **{path: {} for path in command.volumes}}
            return f"VOLUME [{' '.join(command.volumes)}]"
        case c.StopSignalCommand():
            _check_signal(command.signal)
            draft.stop_signal = command.signal
            return f"STOPSIGNAL {command.signal}"
        case c.ShellCommand():
            draft.shell = command.shell
            return f"SHELL [{' '.join(command.shell)}]"
        case c.RunCommand() | c.AddCommand() | c.CopyCommand() | c.WorkdirCommand():
            raise InternalError(f"{command.keyword} changes files")


def command_line(draft: ConfigDraft, line: c.CommandLine) -> tuple[str, ...]:
    """The words that are run: those of the exec form, or the shell and the one line it gets."""
    if not line.prepend_shell:
        return line.words
    return (*shell_of(draft), " ".join(line.words))


def shell_of(draft: ConfigDraft) -> tuple[str, ...]:
    """The command that runs a line: that of SHELL, or of the operating system."""
    default = ("cmd", "/S", "/C") if draft.image.os == "windows" else ("/bin/sh", "-c")
    return draft.shell or default


def set_workdir(state: StageState, path: str) -> str:
    """Change to a directory, seen from the present one; the path as slashes write it."""
    draft, platform = state.draft, state.platform
    assert draft is not None
    assert platform is not None
    path = normalize(draft.working_dir, path, os=platform.os)
    draft.working_dir = native(path, os=platform.os)
    state.cwd = join("/", path)
    return path


def _declare(scope: Scope, state: StageState, command: c.ArgCommand) -> str:
    said = []
    for arg in command.args:
        value = scope.request.build_args.get(arg.key)
        if value is None and arg.value is not None:
            value = scope.lexer.word(arg.value, state.variables)
        elif value is None:
            value = scope.global_arguments.get(arg.key)
        if value is not None and arg.key not in HIDDEN_ARGUMENTS:
            state.variables.set(arg.key, value, argument=True)
        state.arguments.append(c.KeyValueOptional(key=arg.key, value=value))
        said.append(arg.key if value is None else f"{arg.key}={value}")
    return f"ARG {' '.join(said)}"


def _healthcheck(health: c.Health) -> Healthcheck:
    return Healthcheck(
        test=health.test,
        interval=health.interval,
        timeout=health.timeout,
        start_period=health.start_period,
        start_interval=health.start_interval,
        retries=health.retries,
    )


def _describe(health: c.Health) -> str:
    test = " ".join(health.test)
    durations = (health.interval, health.timeout, health.start_period, health.start_interval)
    names = ("Interval", "Timeout", "StartPeriod", "StartInterval")
    told = " ".join(f"{n}:{_duration(d)}" for n, d in zip(names, durations, strict=True))
    return f"{{Test:[{test}] {told} Retries:{health.retries}}}"


def _duration(nanoseconds: int) -> str:
    """A duration as Go writes it: 1m30s."""
    if nanoseconds < 10**9:
        return f"{nanoseconds / 10**6:g}ms" if nanoseconds else "0s"
    minutes, seconds = divmod(nanoseconds / 10**9, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{seconds:g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _list(words: tuple[str, ...]) -> str:
    return f"[{' '.join(quote(word) for word in words)}]"


def _check_signal(name: str) -> None:
    number = name.removeprefix("SIG").removeprefix("sig").upper()
    if name.isdecimal():
        known = 0 < int(name) <= 64
    else:
        known = f"SIG{number.partition('+')[0].partition('-')[0]}" in signal.Signals.__members__
    if not known:
        raise UserError(f"invalid signal: {name}")
