"""What `editcore tune` tries: runs of layers, and the step size by half decades, as it depends on width and depth."""

from collections.abc import Mapping
from typing import Any, Final

from editcore_hooks import Tunable
from editcore_keyvalue.space import together
from editcore_ultraedit.hparams import layers_by_depth

LAYERS: Final = 3
HALF_DECADES: Final = range(-12, -3)
"""From the published 1e-6, for models of a width of 4,096, to more than a small model bears. Between a step that edits
nothing and one that ruins everything lies a factor of three on the demo model."""
FIRST: Final = -7
"""The half decade by which places are compared."""


def space(model: Mapping[str, Any]) -> Tunable:
    """Runs of three layers that begin at every quarter of the depth, and those of the published settings."""
    n_layers = int(model["n_layers"])
    starts = sorted({min(round(part * n_layers / 4), max(0, n_layers - LAYERS)) for part in range(4)})
    runs = [tuple(range(start, min(start + LAYERS, n_layers))) for start in starts]
    places = dict.fromkeys([*runs, layers_by_depth(n_layers)])
    half_decades = sorted(HALF_DECADES, key=lambda half: abs(half - FIRST))
    return Tunable(
        places=tuple({"layers": list(layers)} for layers in places),
        recipes=tuple({"lr": float(f"{10 ** (half / 2):.0e}")} for half in half_decades),
        together=together(model),
    )
