"""`editcore stats`: collect second moments ahead of the first edit."""

from typing import Any

import click

from editcore.authoring.commands import Output, model_options, open_session, with_output
from editcore_hooks import UsageError


@click.command()
@click.argument("model")
@click.option("--layers", default="all", show_default=True, help="Layers such as 3,5-7, collected in one pass.")
@click.option(
    "--of",
    type=click.Choice(["keys", "gradients"]),
    default="keys",
    show_default=True,
    help="Moments of the keys, or of the gradients of the loss at the outputs, which crispedit also needs.",
)
@click.option("--corpus", default="auto", show_default=True, help="auto, bundled, self, a text file or a dataset id.")
@click.option(
    "--tokens", type=click.IntRange(0), default=0, help="Number of tokens. Default: as many as an edit needs."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0),
    default=0.0,
    help="Time limit in seconds, at which fewer tokens are read. 0: no limit.",
)
@model_options
@with_output
def stats(
    out: Output, model: str, layers: str, of: str, corpus: str, tokens: int, seconds: float, **options: Any
) -> None:
    """Collect and keep the second moments of the MLP keys of MODEL, which ROME and related methods need.

    `bundled` is English text that comes with this package, `self` text that the model writes, seeded, and `auto` the
    first of these that suits the model. A pass that is stopped is resumed by the next.
    """
    from editcore_keyvalue.ridge import by_spectrum
    from editcore_keyvalue.statistic import GRADIENTS, KEYS
    from editcore_keyvalue.store import MomentRequest, second_moments

    session = open_session(out, model, **options)
    wanted = parse_layers(layers, session.anatomy.n_layers)
    request = MomentRequest(corpus, tokens, seconds or float("inf"))
    found = second_moments(session, wanted, request, GRADIENTS if of == "gradients" else KEYS)
    rows = [
        {
            "layer": layer,
            "width": moment.mean.shape[0],
            "corpus": moment.corpus,
            "tokens": moment.count,
            "ridge": by_spectrum(moment.mean, moment.count),
            "sha256": asset.sha256,
            "path": str(asset.path),
        }
        for layer, (moment, asset) in sorted(found.items())
    ]
    if out.as_json:
        out.json(rows)
    else:
        out.table([*rows[0]], [[*row.values()] for row in rows])


def parse_layers(text: str, n_layers: int) -> list[int]:
    """`3,5-7` or `all` to layer numbers. Raises `UsageError`."""
    if text == "all":
        return list(range(n_layers))
    layers: set[int] = set()
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            layers.update(range(int(first), int(last if dash else first) + 1))
    except ValueError:
        raise UsageError(f"--layers {text!r} is not a list of layers", hint="write it like 3,5-7 or all") from None
    outside = sorted(layer for layer in layers if not 0 <= layer < n_layers)
    if outside:
        raise UsageError(f"the model has no layer {outside[0]}", hint=f"choose layers from 0 to {n_layers - 1}")
    return sorted(layers)
