"""The typed instructions of a Dockerfile.

Every command knows where it stands (`span`: from the first letter to the end of the last line,
heredocs included), its text on one line (`original`), its keyword as it was written (`keyword`)
and the comments directly above it.

A command whose words may hold variables has `expand(expander)`, which gives the same command
with every such word run through `expander`; nothing is expanded before that.
Source: the Dockerfile reference, one section an instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Self

from lamina.dockerfile.instructions.mount import Device, Expander, Mount, parse_mount
from lamina.source import Span

WordsExpander = Callable[[str], Iterable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What all instructions have in common."""

    span: Span
    original: str
    keyword: str
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A pair of ENV or LABEL; `legacy` if it was written as `KEY value`, without `=`."""

    key: str
    value: str
    legacy: bool = False

    def expand(self, expander: Expander) -> KeyValue:
        return replace(self, key=expander(self.key), value=expander(self.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValueOptional:
    """A declaration of ARG; `value` is None when it has no default."""

    key: str
    value: str | None = None
    doc_comment: str = ""

    def expand(self, expander: Expander) -> KeyValueOptional:
        key = expander(self.key)
        value = None if self.value is None else expander(self.value)
        return replace(self, key=key, value=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContent:
    """A file whose content stands in the Dockerfile; `path` is the heredoc's name."""

    path: str
    data: str
    expand: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineFile:
    """A heredoc of a shell command; `data` still has its leading tabs, `chomp` drops them."""

    name: str
    data: str
    chomp: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A command line: of the exec form, or one string that is given to the shell."""

    words: tuple[str, ...] = ()
    prepend_shell: bool = True
    files: tuple[InlineFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A health check; durations in nanoseconds, 0 means inherited or default."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgCommand(Placed):
    """`ARG name[=value] …`"""

    args: tuple[KeyValueOptional, ...]

    def expand(self, expander: Expander) -> ArgCommand:
        return replace(self, args=tuple(pair.expand(expander) for pair in self.args))


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvCommand(Placed):
    """`ENV key=value …` or `ENV key value`."""

    env: tuple[KeyValue, ...]

    def expand(self, expander: Expander) -> EnvCommand:
        return replace(self, env=tuple(pair.expand(expander) for pair in self.env))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCommand(Placed):
    """`LABEL key=value …`"""

    labels: tuple[KeyValue, ...]

    def expand(self, expander: Expander) -> LabelCommand:
        return replace(self, labels=tuple(pair.expand(expander) for pair in self.labels))


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintainerCommand(Placed):
    """`MAINTAINER name`, deprecated."""

    maintainer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Placed):
    """What ADD and COPY have in common: sources, a destination, and how to write there.

    `exclude` patterns are never expanded; owners, modes and paths are.
    """

    sources: tuple[str, ...]
    contents: tuple[SourceContent, ...] = ()
    dest: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()

    def expand(self, expander: Expander) -> Self:
        return replace(
            self,
            chown=expander(self.chown),
            chmod=expander(self.chmod),
            sources=tuple(expander(path) for path in self.sources),
            dest=expander(self.dest),
        )

    def expand_contents(self, expander: Expander) -> Self:
        """Expand inline files; `expander` must leave quotes and escapes alone."""
        return replace(
            self,
            contents=tuple(
                replace(file, data=expander(file.data)) if file.expand else file
                for file in self.contents
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCommand(Transfer):
    """`ADD src … dest`; `keep_git_dir` and `unpack` are None when the flag is not given."""

    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None

    def expand(self, expander: Expander) -> Self:
        expanded = Transfer.expand(self, expander)
        return replace(expanded, checksum=expander(self.checksum))


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyCommand(Transfer):
    """`COPY src … dest`; `from_` (a stage, an image, a context) takes no variables."""

    from_: str = ""
    parents: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCommand(Placed):
    """`RUN …`

    `mounts` are complete only after `expand`; before that each knows its `from_` alone, which
    takes no variables, so that the stages a step needs can be told without expanding.
    """

    line: CommandLine
    mount_options: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[Device, ...] = ()
    flags_used: tuple[str, ...] = ()

    def expand(self, expander: Expander) -> RunCommand:
        """Read the options of the mounts, every value of them expanded. Raises MountError."""
        return replace(
            self,
            mounts=tuple(
                parse_mount(option, expander, span=self.span) for option in self.mount_options
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdCommand(Placed):
    """`CMD …`"""

    line: CommandLine


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrypointCommand(Placed):
    """`ENTRYPOINT …`"""

    line: CommandLine


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckCommand(Placed):
    """`HEALTHCHECK CMD …` or `HEALTHCHECK NONE`."""

    health: Health


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposeCommand(Placed):
    """`EXPOSE port …`, sorted; one word may expand to several ports."""

    ports: tuple[str, ...]

    def expand_words(self, expander: WordsExpander) -> ExposeCommand:
        return replace(self, ports=tuple(port for word in self.ports for port in expander(word)))


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCommand(Placed):
    """`USER name[:group]`"""

    user: str

    def expand(self, expander: Expander) -> UserCommand:
        return replace(self, user=expander(self.user))


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeCommand(Placed):
    """`VOLUME path …`"""

    volumes: tuple[str, ...]

    def expand(self, expander: Expander) -> VolumeCommand:
        return replace(self, volumes=tuple(expander(path) for path in self.volumes))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkdirCommand(Placed):
    """`WORKDIR path`"""

    path: str

    def expand(self, expander: Expander) -> WorkdirCommand:
        return replace(self, path=expander(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignalCommand(Placed):
    """`STOPSIGNAL signal`"""

    signal: str

    def expand(self, expander: Expander) -> StopSignalCommand:
        return replace(self, signal=expander(self.signal))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellCommand(Placed):
    """`SHELL ["executable", "parameter"]`"""

    shell: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnbuildCommand(Placed):
    """`ONBUILD instruction`; `expression` is the text of the trigger, its heredocs included."""

    expression: str


Command = (
    ArgCommand
    | EnvCommand
    | LabelCommand
    | MaintainerCommand
    | AddCommand
    | CopyCommand
    | RunCommand
    | CmdCommand
    | EntrypointCommand
    | HealthCheckCommand
    | ExposeCommand
    | UserCommand
    | VolumeCommand
    | WorkdirCommand
    | StopSignalCommand
    | ShellCommand
    | OnbuildCommand
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Placed):
    """A FROM and the commands below it, up to the next FROM.

    `span`, `original` and `keyword` are those of the FROM; `name` is in lower case, "" if the
    stage has none; `platform` is the flag's value, not expanded.
    """

    name: str = ""
    base_name: str
    platform: str = ""
    doc_comment: str = ""
    commands: tuple[Command, ...] = ()

    def having(self, commands: Iterable[Command]) -> Stage:
        return replace(self, commands=tuple(commands))
