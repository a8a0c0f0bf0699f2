"""One fact spread over several layers: values at the last, and at each layer a share of what is still missing there.

Meng et al. 2023 (MEMIT), section 4.3 and algorithm 1. The methods of the family differ in the system that they solve
(`system`), in the share, and in where the value is read; the order of things is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from attrs import field, frozen
from torch import Tensor

from editcore_hooks import Anatomy, EditcoreError, LowRank, Site
from editcore_keyvalue.key_reader import KeyReader
from editcore_keyvalue.rows import EditRows
from editcore_keyvalue.system import Preserved, right_factor

FAR: Final = 0.5
"""Largest missing share of the change of values after the last layer before a warning."""

Share = Callable[[int], float]


def linear(left: int) -> float:
    """An equal part for each of the `left` layers to write, including this one: MEMIT."""
    return 1 / left


def root(left: int) -> float:
    """1/√left: PMET, section 3.3. Lower layers take more than their part."""
    return float(left**-0.5)


@frozen(eq=False)
class Written:
    """Factors by site; the keys (f, E) of each layer; of the residual of each edit what is left, (E,); and whether an
    earlier edit had its key, (E,)."""

    updates: Mapping[Site, LowRank]
    keys: Mapping[int, Tensor]
    missing: Tensor
    again: Tensor
    notes: Mapping[str, Any] = field(factory=dict)


def spread(
    anatomy: Anatomy,
    edits: Sequence[EditRows],
    contexts: int,
    layers: Sequence[int],
    target: Tensor,
    site: Site,
    preserved: Callable[[int], Preserved],
    share: Share = linear,
    context_spread: bool = False,
    advance: Callable[[int], None] = lambda n: None,
) -> Written:
    """Bring the output of `site` on the clean prompt of each edit to `target` (d, E), by updates of ascending `layers`.

    At every layer: keys K and outputs H with the updates of lower layers on, R = share · (Z − H), Δ = R Aᵀ.
    With `context_spread` what contexts do to a key is spared as earlier keys are: Δ (k_c − k) should be zero.
    `advance` is called with 1 after each layer.
    """
    reader = KeyReader.of_edits(anatomy, edits, contexts)
    target = target.double()
    updates: dict[Site, LowRank] = {}
    keys: dict[int, Tensor] = {}
    norms: dict[str, float] = {}
    first: Tensor | None = None
    again = torch.zeros(len(edits), dtype=torch.bool)
    for i, layer in enumerate(layers):
        keys[layer], apart = reader.keys(layer, updates, context_spread)  # (f, E), (f, E · R)
        left = target - reader.outputs(site, updates).double()  # (d, E)
        first = left if first is None else first
        r = share(len(layers) - i) * left
        spared, written = preserved(layer).writing(keys[layer])
        again |= written.cpu()
        spared = spared if apart is None else spared.sparing(apart)
        a = right_factor(keys[layer], spared).to(r.device)  # (f, E)
        if not bool(torch.isfinite(r).all() and torch.isfinite(a).all()):
            raise EditcoreError(f"the update of layer {layer} is not finite", hint="try --dtype float32")
        updates[Site("mlp_out", layer)] = LowRank(r.float(), a.T.float().contiguous())
        norms[str(layer)] = _norm(r, a) / float(anatomy.weight(Site("mlp_out", layer)).double().norm())
        advance(1)
    assert first is not None
    rest = target - reader.outputs(site, updates).double()
    missing = rest.norm(dim=0) / first.norm(dim=0).clamp(min=1e-30)  # (E,)
    return Written(updates, keys, missing, again, {"relative_norm": norms, "missing": round(float(missing.mean()), 4)})


def _norm(r: Tensor, a: Tensor) -> float:
    """‖R Aᵀ‖, without forming it."""
    return float(((r.T @ r) * (a.T @ a)).sum().clamp(min=0).sqrt())
