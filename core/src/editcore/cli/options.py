"""EditOptions of every command: `--json`, `-v`, `-q`, `--debug`, with an `Output` as first argument."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from editcore.cli.naming import given_names
from editcore.cli.output import Output

F = TypeVar("F", bound=Callable[..., Any])


def with_output(function: F) -> F:
    """Give a command its `Output` and the shared options. Stands between `@click.command` and the function.

    @click.command()
    @click.argument("patch")
    @with_output
    def inspect(out: Output, patch: str) -> None: ...
    """

    @wraps(function)
    def with_out(*arguments: Any, **options: Any) -> Any:
        context = click.get_current_context()
        out = context.find_object(Output) or Output()
        out.command = context.command_path
        out.given = given_names(options)
        return function(out, *arguments, **options)

    as_json = click.option(
        "--json", is_flag=True, expose_value=False, is_eager=True, callback=_set_json, help="Data as JSON on stdout."
    )
    return as_json(talk_options(with_out))  # type: ignore[return-value]


def talk_options(function: F) -> F:
    """`-v`, `-q` and `--debug`, before or after the name of the command."""
    verbose = click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        is_eager=True,
        callback=_set_verbose,
        help="Show more messages.",
    )
    quiet = click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_quiet,
        help="Show fewer messages.",
    )
    debug = click.option(
        "--debug", is_flag=True, expose_value=False, is_eager=True, callback=_set_debug, help="Show tracebacks."
    )
    return verbose(quiet(debug(function)))


def _set_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Output).as_json = True


def _set_verbose(context: click.Context, _: click.Parameter, value: int) -> None:
    if value:
        context.ensure_object(Output).verbose = True


def _set_quiet(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Output).quiet = True


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Output).debug = True
