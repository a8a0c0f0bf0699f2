"""What `editcore tune` tries: runs of layers, and the step size by decades, as it depends on width and depth."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_hooks import Tunable
from editcore_keyvalue.space import together
from editcore_ultraedit.hparams import layers_by_depth

LAYERS: Final = 3
DECADES: Final = range(-6, 0)
FIRST: Final = -3
"""The decade by which places are compared: between the published 1e-6, for models of a width of 4,096, and what a small
model needs."""


def space(model: Mapping[str, Any]) -> Tunable:
    """Runs of three layers that begin at every quarter of the depth, and those of the published settings."""
    n_layers = int(model["n_layers"])
    starts = sorted({min(round(part * n_layers / 4), max(0, n_layers - LAYERS)) for part in range(4)})
    runs = [tuple(range(start, min(start + LAYERS, n_layers))) for start in starts]
    places = dict.fromkeys([*runs, layers_by_depth(n_layers)])
    decades = sorted(DECADES, key=lambda decade: abs(decade - FIRST))
    return Tunable(
        places=tuple({"layers": list(layers)} for layers in places),
        recipes=tuple({"lr": 10.0**decade} for decade in decades),
        together=together(model),
    )
