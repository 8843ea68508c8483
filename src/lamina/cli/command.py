"""What all commands share: the global flags, Go's way with boolean flags, lazy importing.

`Session` is what a command gets of the surroundings; nothing below it looks at the process.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, Protocol, cast

import click
import msgspec

from lamina.cli.key_values import parse_switch
from lamina.errors import UsageError
from lamina.notation.suggest import nearest

SUMMARIES: Mapping[str, str] = {
    "build": "Build an image from a Dockerfile",
    "cache": "Show what the store takes, and clear caches away",
    "check": "Find what wastes the cache in Dockerfiles",
    "context": "Show what goes to a build, and why",
    "explain": "Say why the steps of a build ran",
    "fix": "Mend what lamina check finds",
    "forecast": "Say what the cache would have done over a repository's history",
    "history": "Show the builds that were made here",
    "images": "List the images in the local store",
    "import": "Make an image from an archive of a root file system",
    "login": "Log in to a registry",
    "logout": "Forget the login at a registry",
    "mounts": "Show cache mounts, look into them, copy and remove them",
    "lsp": "Serve an editor (Language Server Protocol)",
    "pull": "Bring an image from its registry into the local store",
    "push": "Push images of the local store to their registries",
    "report": "Show a build as a page that opens offline",
    "rmi": "Remove images from the local store",
    "rules": "Show what lamina check looks for",
    "run": "Run a command in a container",
    "tag": "Give an image of the local store one more name",
    "version": "Show the version",
}


class Session(msgspec.Struct, kw_only=True):
    """The process's surroundings, and the global flags (given before or behind the command)."""

    environ: Mapping[str, str]
    stdin: BinaryIO
    stdout: BinaryIO
    stderr: BinaryIO
    cwd: str
    root: str
    debug: bool = False


class CommandModule(Protocol):
    """A file in `cli/commands`."""

    def command(self) -> click.Command: ...


class Command(click.Command):
    """A command with the global flags, and with boolean flags that may be given a value."""

    def __init__(
        self,
        name: str,
        *,
        params: list[click.Parameter],
        run: Callable[[Session, Mapping[str, object]], int],
        usage: str,
        summary: str = "",
        epilog: str | None = None,
        intermixed: bool = True,
    ) -> None:
        """`summary` is for commands of a group; `intermixed` False: what follows the first
        argument is no flag of ours.
        """
        summary = summary or SUMMARIES[name]
        super().__init__(
            name,
            params=[*params, *global_flags()],
            callback=self._called,
            help=summary + ".",
            short_help=summary,
            epilog=epilog,
            options_metavar=usage,
            context_settings={
                "help_option_names": ["-h", "--help"] if intermixed else ["--help"],
                "max_content_width": 110,
                "allow_interspersed_args": intermixed,
            },
        )
        self._run = run

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [self.options_metavar or ""]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, without_bool_values(args, self.params))
        except click.UsageError as problem:
            problem.ctx = problem.ctx or ctx
            raise

    def _called(self, **values: object) -> int:
        session = click.get_current_context().obj
        return self._run(cast(Session, session), values)


def without_bool_values(args: list[str], params: list[click.Parameter]) -> list[str]:
    """`--pull=true` to `--pull`, `--pull=false` to nothing: Go's way, which click does not know."""
    options = [param for param in params if isinstance(param, click.Option)]
    switches = {name for option in options if option.is_flag for name in option.opts}
    with_value = {name for option in options if not option.is_flag for name in option.opts}
    out: list[str] = []
    rest = iter(args)
    for arg in rest:
        if arg == "--":
            return [*out, arg, *rest]
        name, equals, value = arg.partition("=")
        if equals and name in switches:
            out = [other for other in out if other != name]
            out += [name] if parse_switch(name, value) else []
            continue
        out.append(arg)
        if arg in with_value:
            out += [next_arg for next_arg in (next(rest, None),) if next_arg is not None]
    return out


class Group(click.Group):
    """A command with commands of its own (`lamina history ls`), which are all in its file."""

    def __init__(self, name: str, *, commands: Sequence[Command]) -> None:
        super().__init__(
            name,
            commands={command.name or "": command for command in commands},
            help=SUMMARIES[name] + ".",
            short_help=SUMMARIES[name],
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        name = args[0]
        if name not in known and not name.startswith("-"):
            near = nearest(name, known)
            hint = f"did you mean {near}?" if near else f"commands: {', '.join(known)}"
            raise UsageError(f"unknown command {name!r}", hint=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, (c and c.short_help) or "") for name, c in commands])


class LazyGroup(Group):
    """`lamina` itself: a command's file is imported when the command is used."""

    def __init__(self, name: str, *, params: list[click.Parameter], summary: str) -> None:
        click.Group.__init__(
            self,
            name,
            params=params,
            help=summary,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUMMARIES:
            return None
        name = f"{cmd_name}_" if cmd_name == "import" else cmd_name
        module = importlib.import_module(f"lamina.cli.commands.{name}")
        return cast(CommandModule, module).command()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES[name]) for name in self.list_commands(ctx)])


def group() -> click.Group:
    """The command `lamina`."""
    return LazyGroup(
        "lamina",
        summary="Builds container images from Dockerfiles, without a daemon.",
        params=[
            *global_flags(),
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_show_version,
                help="Show the version and exit",
            ),
        ],
    )


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """`--version` among other flags; alone it is answered before anything is imported."""
    if wanted:
        from lamina import __version__

        click.echo(f"lamina {__version__}")
        context.exit()


def global_flags() -> list[click.Parameter]:
    """Flags that may stand before the command and behind it."""
    return [
        click.Option(
            ["--root"],
            metavar="DIR",
            expose_value=False,
            callback=_set_root,
            help="The store (default: $LAMINA_ROOT, else /var/lib/lamina or ~/.local/share/lamina)",
        ),
        click.Option(
            ["-D", "--debug"],
            is_flag=True,
            expose_value=False,
            callback=_set_debug,
            help="Show tracebacks of errors",
        ),
    ]


def _set_root(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        if not value:
            raise UsageError("--root is empty", hint="--root DIR")
        ctx.ensure_object(Session).root = value


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Session).debug = True
