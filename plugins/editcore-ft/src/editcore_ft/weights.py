"""The edited matrices as float32 copies, and the model run with them instead of its own, which are never written."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from editcore.authoring.models import Item, TargetLogits, cached_logits
from editcore_hooks import Site, UsageError

if TYPE_CHECKING:
    from editcore_hooks import Session

T = TypeVar("T")


class Trainable(Protocol):
    """What an objective needs of the weights: the model run with them. `owners` are the indices of requests.

    `Copies` are those of all requests together; `Branched` has weights of its own for each.
    """

    def logits(self, items: Sequence[Item], owners: Sequence[int]) -> TargetLogits:
        """`target_logits` with these weights, differentiable in them; `owners` (n,) of the items."""
        ...

    def fresh_logits(self, items: Sequence[Item], owners: Sequence[int]) -> TargetLogits:
        """The same of items that will not come again: nothing is kept."""
        ...

    def run(self, work: Callable[[], T], owners: Sequence[int]) -> T:
        """What `work` gives with these weights in the model; `owners` are those of the rows that it runs."""
        ...


class Copies:
    """One trainable copy a site, in stored orientation, which is all the same to an optimiser that goes by entry.

    `start` are the values as this edit found them, `anchor` those that a constraint holds on to, `trained` the leaves.
    What the model makes of a batch below the sites is kept for the next pass.
    """

    def __init__(self, session: "Session", sites: Sequence[Site], *, anchored_at_base: bool = False) -> None:
        self._model = _Run(session.model)
        self._anatomy = session.anatomy
        self._kept: dict[tuple[Item, ...], Callable[[], TargetLogits]] = {}
        self._parameters = {site: matrix(session, site) for site in sites}
        self.start = self._float32()
        self.anchor = self.start
        if anchored_at_base and session.live.patches:
            with session.at_base():
                self.anchor = self._float32()
        self.trained = {site: value.clone().requires_grad_() for site, value in self.start.items()}

    def current(self, site: Site) -> Tensor:
        """The matrix that the model runs with, stored orientation, float32; differentiable in what is trained."""
        return self.trained[site]

    def settle_(self) -> None:
        """Called once when training has ended: what a subclass still has to do to the copies."""

    def logits(self, items: Sequence[Item], owners: Sequence[int] = ()) -> TargetLogits:
        key = tuple(items)
        if key not in self._kept:
            self._kept[key] = cached_logits(self._anatomy, items, list(self.trained))
        return self.run(self._kept[key])

    def fresh_logits(self, items: Sequence[Item], owners: Sequence[int] = ()) -> TargetLogits:
        return self.run(cached_logits(self._anatomy, items, list(self.trained)))

    def run(self, work: Callable[[], T], owners: Sequence[int] = ()) -> T:
        swapped = {
            f"model.{name}": self.current(site).to(live.dtype) for site, (name, live, _) in self._parameters.items()
        }
        found: T = functional_call(self._model, swapped, (work,))
        return found

    def delta(self, site: Site) -> Tensor:
        """The change from training, canonical (d_out, d_in), float32."""
        change = self.trained[site].detach() - self.start[site]
        return change.T if self._parameters[site][2] else change

    def set_delta_(self, site: Site, delta: Tensor) -> None:
        """Put the copy where `delta`, canonical (d_out, d_in), leads from the start."""
        with torch.no_grad():
            self.trained[site].copy_(self.start[site] + (delta.T if self._parameters[site][2] else delta))

    def _float32(self) -> dict[Site, Tensor]:
        return {site: live.detach().to(torch.float32, copy=True) for site, (_, live, _) in self._parameters.items()}


class _Run(nn.Module):
    """Makes whatever runs the model a forward, so that `functional_call` may swap parameters for the length of it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, run: Callable[[], T]) -> T:
        return run()


def matrix(session: "Session", site: Site) -> tuple[str, nn.Parameter, bool]:
    """Name and parameter of a site, and whether it is stored [in, out]. Raises `UsageError` if it is no matrix."""
    name, parameter, transposed = session.anatomy.parameter(site)
    if parameter.ndim != 2 or not parameter.is_floating_point():
        raise UsageError(
            f"fine-tuning edits matrices, and {site} is not one", hint="choose another locator, or leave it out"
        )
    return name, parameter, transposed
