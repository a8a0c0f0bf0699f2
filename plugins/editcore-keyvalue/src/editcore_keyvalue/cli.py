"""`editcore stats`: collect second moments ahead of the first edit."""

from typing import Any

import click

from editcore.cli.options import model_options, open_session
from editcore.cli.output import command_output
from editcore_hooks import UsageError


def parse_layers(text: str, n_layers: int) -> list[int]:
    """`3,5-7` or `all` to layer numbers. Raises `UsageError`."""
    if text == "all":
        return list(range(n_layers))
    layers: set[int] = set()
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            layers.update(range(int(first), int(last or first) + 1))
    except ValueError:
        raise UsageError(f"--layers {text!r} is not a list of layers", hint="write it like 3,5-7 or all") from None
    outside = sorted(layer for layer in layers if not 0 <= layer < n_layers)
    if outside:
        raise UsageError(f"the model has no layer {outside[0]}", hint=f"its layers are 0 to {n_layers - 1}")
    return sorted(layers)
