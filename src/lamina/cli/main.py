"""The command `lamina`: runs a command, turns what it raises into a message and an exit code."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as typing's, whose import is most of what `--version` would cost
if TYPE_CHECKING:
    from lamina.cli.command import Session
    from lamina.errors import LaminaError

INTERRUPTED = 130
BROKEN_PIPE = 141


def start() -> int:
    """The process `lamina`. Nothing that is imported is garbage, so it is looked for less often,
    and not at the end, when all of it is: that is a quarter of what a cached build takes.
    """
    import gc

    gc.set_threshold(100_000)
    code = main()
    gc.freeze()
    return code


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (`lamina.errors` lists them)."""
    args = sys.argv[1:] if argv is None else argv
    if args in (["--version"], ["version"]):  # spares the imports
        from lamina import __version__

        sys.stdout.write(f"lamina {__version__}\n")
        return 0
    try:
        return _run(args)
    except KeyboardInterrupt:  # a second one, while the first was dealt with
        return INTERRUPTED


def _run(args: list[str]) -> int:
    from lamina.cli.surroundings import open_session, stop_on_sigterm

    session = open_session()
    try:
        stop_on_sigterm()
        return _dispatch(args, session)
    except KeyboardInterrupt as interrupt:
        from lamina.cli.surroundings import ignore_interrupts
        from lamina.ui.sink import Sink

        ignore_interrupts()
        Sink(session.stderr).data(b"ERROR: interrupted\n")
        return int(interrupt.args[0]) if interrupt.args else INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return BROKEN_PIPE
    except Exception as error:
        return _failed(error, session)


def _dispatch(args: list[str], session: Session) -> int:
    import click

    from lamina.cli.command import group
    from lamina.cli.usage import usage_error

    try:
        with group().make_context("lamina", list(args), obj=session) as context:
            code = context.command.invoke(context)
    except click.exceptions.NoArgsIsHelpError as problem:
        session.stdout.write(f"{problem.format_message()}\n".encode())
        code = 0
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as problem:
        raise usage_error(problem) from None
    session.stdout.flush()
    return code if isinstance(code, int) else 0


def _failed(error: Exception, session: Session) -> int:
    """Say what went wrong. No traceback reaches the terminal unless `--debug` asks for it."""
    from lamina.cli.failure import as_lamina_error
    from lamina.ui.printable import encode
    from lamina.ui.render_error import render_error
    from lamina.ui.sink import Sink

    if session.debug:
        import traceback

        from lamina.notation.masking import without_credentials

        Sink(session.stderr).text(without_credentials(traceback.format_exc()))
    told: LaminaError = as_lamina_error(error, session)
    color = session.stderr.isatty() and not session.environ.get("NO_COLOR")
    Sink(session.stderr).data(encode(render_error(told, color=color)))
    return told.exit_code


def _drop_stdout() -> None:
    """Keep the interpreter from complaining about a closed pipe when it flushes at its end."""
    import os

    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)
