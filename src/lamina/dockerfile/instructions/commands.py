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
from typing import Self

import msgspec
from msgspec.structs import replace

from lamina.dockerfile.instructions.mount import Device, Expander, MountFlag, parse_mount
from lamina.source import Span

WordsExpander = Callable[[str], Iterable[str]]


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """What all instructions have in common."""

    span: Span
    original: str
    keyword: str
    comments: tuple[str, ...] = ()


class KeyValue(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of ENV or LABEL; `legacy` if it was written as `KEY value`, without `=`."""

    key: str
    value: str
    legacy: bool = False

    def expand(self, expander: Expander) -> KeyValue:
        return replace(self, key=expander(self.key), value=expander(self.value))


class KeyValueOptional(msgspec.Struct, frozen=True, kw_only=True):
    """A declaration of ARG; `value` is None when it has no default."""

    key: str
    value: str | None = None
    doc_comment: str = ""

    def expand(self, expander: Expander) -> KeyValueOptional:
        key = expander(self.key)
        value = None if self.value is None else expander(self.value)
        return replace(self, key=key, value=value)


class SourceContent(msgspec.Struct, frozen=True, kw_only=True):
    """A file whose content stands in the Dockerfile; `path` is the heredoc's name."""

    path: str
    data: str
    expand: bool = True


class InlineFile(msgspec.Struct, frozen=True, kw_only=True):
    """A heredoc of a shell command; `data` still has its leading tabs, `chomp` drops them."""

    name: str
    data: str
    chomp: bool = False


class CommandLine(msgspec.Struct, frozen=True, kw_only=True):
    """A command line: of the exec form, or one string that is given to the shell."""

    words: tuple[str, ...] = ()
    prepend_shell: bool = True
    files: tuple[InlineFile, ...] = ()


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """A health check; durations in nanoseconds, 0 means inherited or default."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ArgCommand(Placed, frozen=True, kw_only=True):
    """`ARG name[=value] …`"""

    args: tuple[KeyValueOptional, ...]

    def expand(self, expander: Expander) -> ArgCommand:
        return replace(self, args=tuple(pair.expand(expander) for pair in self.args))


class EnvCommand(Placed, frozen=True, kw_only=True):
    """`ENV key=value …` or `ENV key value`."""

    env: tuple[KeyValue, ...]

    def expand(self, expander: Expander) -> EnvCommand:
        return replace(self, env=tuple(pair.expand(expander) for pair in self.env))


class LabelCommand(Placed, frozen=True, kw_only=True):
    """`LABEL key=value …`"""

    labels: tuple[KeyValue, ...]

    def expand(self, expander: Expander) -> LabelCommand:
        return replace(self, labels=tuple(pair.expand(expander) for pair in self.labels))


class MaintainerCommand(Placed, frozen=True, kw_only=True):
    """`MAINTAINER name`, deprecated."""

    maintainer: str


class Transfer(Placed, frozen=True, kw_only=True):
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


class AddCommand(Transfer, frozen=True, kw_only=True):
    """`ADD src … dest`; `keep_git_dir` and `unpack` are None when the flag is not given."""

    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None

    def expand(self, expander: Expander) -> Self:
        expanded = Transfer.expand(self, expander)
        return replace(expanded, checksum=expander(self.checksum))


class CopyCommand(Transfer, frozen=True, kw_only=True):
    """`COPY src … dest`; `from_` (a stage, an image, a context) takes no variables."""

    from_: str = ""
    parents: bool = False


class RunCommand(Placed, frozen=True, kw_only=True):
    """`RUN …`

    `mounts` are complete only after `expand`; before that each knows its `from_` alone, which
    takes no variables, so that the stages a step needs can be told without expanding.
    """

    line: CommandLine
    mount_options: tuple[str, ...] = ()
    mounts: tuple[MountFlag, ...] = ()
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


class CmdCommand(Placed, frozen=True, kw_only=True):
    """`CMD …`"""

    line: CommandLine


class EntrypointCommand(Placed, frozen=True, kw_only=True):
    """`ENTRYPOINT …`"""

    line: CommandLine


class HealthCheckCommand(Placed, frozen=True, kw_only=True):
    """`HEALTHCHECK CMD …` or `HEALTHCHECK NONE`."""

    health: Health


class ExposeCommand(Placed, frozen=True, kw_only=True):
    """`EXPOSE port …`, sorted; one word may expand to several ports."""

    ports: tuple[str, ...]

    def expand_words(self, expander: WordsExpander) -> ExposeCommand:
        return replace(self, ports=tuple(port for word in self.ports for port in expander(word)))


class UserCommand(Placed, frozen=True, kw_only=True):
    """`USER name[:group]`"""

    user: str

    def expand(self, expander: Expander) -> UserCommand:
        return replace(self, user=expander(self.user))


class VolumeCommand(Placed, frozen=True, kw_only=True):
    """`VOLUME path …`"""

    volumes: tuple[str, ...]

    def expand(self, expander: Expander) -> VolumeCommand:
        return replace(self, volumes=tuple(expander(path) for path in self.volumes))


class WorkdirCommand(Placed, frozen=True, kw_only=True):
    """`WORKDIR path`"""

    path: str

    def expand(self, expander: Expander) -> WorkdirCommand:
        return replace(self, path=expander(self.path))


class StopSignalCommand(Placed, frozen=True, kw_only=True):
    """`STOPSIGNAL signal`"""

    signal: str

    def expand(self, expander: Expander) -> StopSignalCommand:
        return replace(self, signal=expander(self.signal))


class ShellCommand(Placed, frozen=True, kw_only=True):
    """`SHELL ["executable", "parameter"]`"""

    shell: tuple[str, ...]


class OnbuildCommand(Placed, frozen=True, kw_only=True):
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


class Stage(Placed, frozen=True, kw_only=True):
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
