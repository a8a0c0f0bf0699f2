"""The command line. click is all that is imported here; a command's module is imported when the command runs."""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from editcore.cli.commands import COMMANDS
from editcore.cli.group import LazyGroup
from editcore.cli.options import talk_options
from editcore.cli.output import Output
from editcore.threads import settle
from editcore_hooks import EditcoreError, PluginError, RefusedFileError

__all__ = ["main", "root"]

INTERRUPTED = 130


def _show_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from importlib.metadata import version

        from editcore_hooks import API_VERSION

        click.echo(f"editcore {version('editcore')} (contract {API_VERSION})")
        context.exit()


@click.group(
    cls=LazyGroup,
    commands_table=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@talk_options
@click.pass_context
def root(context: click.Context) -> None:
    """Change what a language model knows by small, named, reversible patches to its weights."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())  # to be paged
        context.exit(2)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code and lets no exception out."""
    out = Output()
    root.remembers = args is None
    with warnings.catch_warnings():
        warnings.showwarning = _one_line_warning(out)
        try:
            settle()
            result = root.main(args, prog_name="editcore", standalone_mode=False, obj=out)
            sys.stdout.flush()
        except BaseException as error:
            return _report(error, out)
    return result if type(result) is int else 0


def _report(error: BaseException, out: Output) -> int:
    if isinstance(error, SystemExit):
        return error.code if type(error.code) is int else int(error.code is not None)
    if isinstance(error, BrokenPipeError):
        # The reader went away. What is still buffered must not raise once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        out.error("interrupted")
        return INTERRUPTED
    if out.debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, EditcoreError):
        out.error(error.message, error.hint or _next(error, out))
        return error.exit_code
    if isinstance(error, click.ClickException):
        out.error(error.format_message(), _help_of(error))
        return error.exit_code
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error)):
        out.error("out of memory", "run it again with --debug to see where")
        return 1
    from editcore.plugins.raising import origin_of

    origin = origin_of(error)
    out.error(
        f"{type(error).__name__}: {error}{f', {origin}' if origin else ''}", "run it again with --debug to see where"
    )
    return 1


def _next(error: EditcoreError, out: Output) -> str | None:
    """The next step after an error without a hint of its own."""
    if not out.command:
        return None
    if isinstance(error, RefusedFileError):
        return "get the file again from its source"
    return "editcore plugins doctor" if isinstance(error, PluginError) else f"{out.command} --help"


def _help_of(error: click.ClickException) -> str | None:
    context = getattr(error, "ctx", None)
    return None if context is None else f"{context.command_path} --help"


def _one_line_warning(out: Output) -> Any:
    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        # Libraries tell their users' programmers of changes to come; a person at a terminal can do nothing about it.
        if out.verbose or not issubclass(category, (DeprecationWarning, PendingDeprecationWarning, FutureWarning)):
            out.warn(str(message))

    return show
