"""The slots in training, and the model run with them beside its MLPs, whose weights are never written.

plain   FFN'(x) = FFN(x) + act(x Kᵀ) V
gated   FFN'(x) = FFN(x) + (act(x Gᵀ) ∘ x Kᵀ) V

Dong et al. 2022, arXiv:2210.03329, equation 3, and its code for a gated one. There are no biases.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Item, Mlp, Tap, TargetLogits, Trace, cached_logits, mlp_of, neurons
from editcore.authoring.patches import Units
from editcore_hooks import Location, Site, UsageError

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen(eq=False)
class Slots:
    """The n slots of one MLP as leaves: `keys`, `values` and `gate` (n, d), float32."""

    mlp: Mlp
    keys: Tensor
    values: Tensor
    gate: Tensor | None

    @classmethod
    def at(cls, mlp: Mlp, keys: Tensor) -> "Slots":
        """Slots whose values are zero: they add nothing yet. A gate takes half of `keys`, which are then (2n, d)."""
        first, *second = (part.clone().requires_grad_() for part in keys.chunk(2 if mlp.gated else 1))
        return cls(mlp, first, torch.zeros_like(first).requires_grad_(), second[0] if second else None)

    @property
    def leaves(self) -> list[Tensor]:
        return [self.keys, self.values, *([] if self.gate is None else [self.gate])]

    def added(self, x: Tensor) -> Tensor:
        """What the slots add to the output of the MLP at states (..., d), (..., d)."""
        return neurons(self.mlp.activation, self.keys, self.values, None, self.gate)(x)

    def units(self) -> Units:
        """The slots as a patch has them."""
        keys, values, *gate = (leaf.detach().cpu().clone() for leaf in self.leaves)
        return Units(keys, values, None, gate[0] if gate else None)


class Slotted:
    """The model of a session with `slots` by block. What it makes of a batch below them is kept for the next pass."""

    def __init__(self, session: "Session", slots: Mapping[Site, Slots]) -> None:
        self._session = session
        self.slots = slots
        self._kept: dict[tuple[Item, ...], Callable[[], TargetLogits]] = {}

    @property
    def leaves(self) -> list[Tensor]:
        return [leaf for some in self.slots.values() for leaf in some.leaves]

    def logits(self, items: Sequence[Item], owners: Sequence[int] = ()) -> TargetLogits:
        """`target_logits` with the slots, differentiable in them."""
        key = tuple(items)
        if key not in self._kept:
            sites = [Site("mlp_out", block.layer, block.stack) for block in self.slots]
            self._kept[key] = cached_logits(self._session.anatomy, items, sites)
        with ExitStack() as beside:
            for block, some in self.slots.items():
                beside.enter_context(self._beside(block, some))
            return self._kept[key]()

    def _beside(self, block: Site, some: Slots) -> Trace:
        """Hooks that add the slots of one block to the output of its MLP."""
        reads, adds_to = (self._session.model.get_submodule(path) for path in (some.mlp.inner[0], some.mlp.out))

        def add(output: Tensor) -> Tensor:
            return output + some.added(trace.input(reads)).to(output.dtype)

        trace = Trace(None, {reads: Tap(input=True), adds_to: Tap(edit=add)}, detach=False)
        return trace


def slots_at(session: "Session", location: Location, keys: Callable[[Mlp, int], Tensor], count: int) -> Slotted:
    """`count` slots at each site, with keys that begin at `keys(mlp, rows)`. Raises `UsageError` at what is no MLP."""
    if not location.sites:
        raise UsageError("the location names no site", hint="choose another locator, or leave it out")
    made = {}
    for site in location.sites:
        if site.role not in ("mlp_out", "block") or site.expert is not None:
            raise UsageError(
                f"slots stand beside an MLP, not beside {site}", hint="choose another locator, or leave it out"
            )
        if site.stack == "encoder":
            message = f"{site} is not in the decoder, which writes the target"
            raise UsageError(message, hint="choose a block of the decoder")
        block = Site("block", site.layer, site.stack)
        mlp = mlp_of(session.anatomy, block)
        made[block] = Slots.at(mlp, keys(mlp, count * (2 if mlp.gated else 1)).to(session.device))
    return Slotted(session, made)
