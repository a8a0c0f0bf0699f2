"""Shared parts of every command that opens a model."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from editcore.cli.output import Output

if TYPE_CHECKING:
    from editcore.facade import Session

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--device", default="cpu", show_default=True, help="Device of the model; auto spreads it over several."
    ),
    click.option("--dtype", help="Dtype of the computation: float32, bfloat16, float16. Default: float32 on a CPU."),
    click.option("--revision", help="Branch, tag or commit of a hub model."),
    click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed for all sampling."
    ),
    click.option(
        "--architecture", metavar="FILE", help="YAML file with the layout of a model whose structure is not recognised."
    ),
    click.option("--trust-remote-code", is_flag=True, help="Run Python code that comes with the model. Dangerous."),
)


def model_options(function: F) -> F:
    """`--device`, `--dtype`, `--revision`, `--seed`, `--architecture` and `--trust-remote-code`, for `open_session`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def open_session(out: Output, model: str, **options: Any) -> "Session":
    """Open `model` with what `model_options` gave."""
    from editcore.facade import open_model
    from editcore.models.loading.source import find_local, folder_like

    if find_local(model, revision=options.get("revision")) is None:
        meant = folder_like(model)  # shown at once: a hub that is not reached is asked for half a minute
        out.say(f"there is no folder {model}{f' ({meant})' if meant else ''}: asking the hub for a model of that name")

    return open_model(model, talk=out, **options)
