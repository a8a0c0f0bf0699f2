"""Search space of `editcore tune`: runs of layers, and the step size, as it depends on width and depth."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_hooks import Tunable
from editcore_keyvalue.search_space import together
from editcore_ultraedit.hparams import layers_by_depth

LAYERS: Final = 3
QUARTER_DECADES: Final = (-24, -22, -20, -18, *range(-16, -7))
"""From the published 1e-6, for models of a width of 4,096, to more than a small model bears; all of them where small
models are, as between a step that edits nothing and one that ruins everything lies a factor of three."""
FIRST: Final = -13
"""The quarter decade by which places are compared: one that edits something on small models of either shape."""


def space(model: Mapping[str, Any]) -> Tunable:
    """Runs of three layers that begin at every quarter of the depth, and those of the published settings."""
    n_layers = int(model["n_layers"])
    starts = sorted({min(round(part * n_layers / 4), max(0, n_layers - LAYERS)) for part in range(4)})
    runs = [tuple(range(start, min(start + LAYERS, n_layers))) for start in starts]
    places = dict.fromkeys([*runs, layers_by_depth(n_layers)])
    quarters = sorted(QUARTER_DECADES, key=lambda quarter: abs(quarter - FIRST))
    return Tunable(
        places=tuple({"layers": list(layers)} for layers in places),
        recipes=tuple({"lr": float(f"{10 ** (quarter / 4):.1e}")} for quarter in quarters),
        together=together(model),
    )
