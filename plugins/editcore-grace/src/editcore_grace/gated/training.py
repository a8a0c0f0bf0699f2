"""The gate and its map, trained together by Adam; the best is kept.

L = mean over edits of −1/m Σⱼ log p(yⱼ | x, y₁ … yⱼ₋₁), with the gate open
  + mean over edits of −log σ(z(h)) + mean over other states of −log(1 − σ(z(h')))

Keys are trained on states of mean length 1, so that a step size fits every model.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import softplus

from editcore.authoring.models import Item
from editcore_grace.gated.hparams import DeferHparams, GatedHparams, MemoryNetworkHparams
from editcore_grace.gated.memory import Opened
from editcore_grace.gated.sides import DEFER, NETWORK, PARTS, Side
from editcore_grace.training import Read, losses_of
from editcore_hooks import Site

if TYPE_CHECKING:
    from editcore_hooks import Session

MARGIN = 1.0
"""Least |z| at which the gate is done: rounding in another batch must not turn a decision."""


@frozen(eq=False)
class Trained:
    """The best side, and with it the loss of each edit (n,) and the least z of the edits, the largest of the others."""

    side: Side
    losses: Tensor
    opens_at: float
    shut_at: float


def first_tensors(layer: Read, shut: Tensor, hparams: GatedHparams, seed: int) -> tuple[str, dict[str, Tensor]]:
    """The form, and its tensors for states of length 1: the gate between the two means, the layer's mean output."""
    drawn = torch.Generator().manual_seed(seed)
    d_in, mean = layer.inputs.shape[1], layer.inputs.mean(0)
    centre = shut.mean(0) if len(shut) else torch.zeros_like(mean)
    key = 2 * (mean - centre) / (mean - centre).square().sum()  # z = 1 at the edits' mean, −1 at that of the others
    bias = -(key @ (mean + centre)) / 2
    constant = layer.outputs.mean(0)
    if isinstance(hparams, DeferHparams):
        down = (torch.randn(hparams.rank, d_in, generator=drawn) / d_in**0.5).to(mean.device)
        up = constant.new_zeros(len(constant), hparams.rank)
        return DEFER, {"keys": key[None], "bias": bias, "down": down, "up": up, "constant": constant}
    assert isinstance(hparams, MemoryNetworkHparams)
    m = hparams.slots
    noise = (torch.randn(m, d_in, generator=drawn) / d_in**0.5).to(mean.device)
    values = constant.repeat(m, 1)
    return NETWORK, {"keys": key + noise, "bias": bias - torch.tensor(float(m)).log().to(bias), "values": values}


def train(
    session: "Session",
    items: Sequence[Item],
    site: Site,
    replace: str,
    layer: Read,
    shut: Tensor,
    hparams: GatedHparams,
) -> Trained:
    """The side that all `items` share. `layer` is what the layer reads and gives at the end of each prompt."""
    size = layer.inputs.norm(dim=-1).mean()
    inside = Read(layer.inputs / size, layer.outputs)
    form, start = first_tensors(inside, shut / size, hparams, session.seed)
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    optimiser = torch.optim.Adam(leaves.values(), lr=hparams.lr)
    best: Trained | None = None
    lowest = float("inf")
    with session.progress("gate and values", hparams.steps) as progress:
        for _ in range(hparams.steps + 1):
            side = _scaled(form, leaves, size)
            with session.live.memories.trying(Opened(site, replace, [side])), torch.enable_grad():
                losses = losses_of(session, items)
            opens, shuts = side.gate(layer.inputs), side.gate(shut)
            gate = softplus(-opens).mean() + (softplus(shuts).mean() if len(shut) else 0.0)
            loss = losses.mean() + gate
            opens_at = float(opens.detach().min())
            shut_at = float(shuts.detach().max()) if len(shut) else -float("inf")
            if best is None or float(loss.detach()) < lowest:
                kept = {name: tensor.detach().clone() for name, tensor in leaves.items()}
                lowest = float(loss.detach())
                best = Trained(_scaled(form, kept, size), losses.detach(), opens_at, shut_at)
            done = float(losses.detach().max()) < hparams.stop_loss
            if done and opens_at >= MARGIN and shut_at <= -MARGIN:
                break
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            progress.advance()
    assert best is not None  # at least one step
    return best


def _scaled(form: str, tensors: Mapping[str, Tensor], size: Tensor) -> Side:
    """The side for states as the layer reads them, of tensors for states of length 1."""
    reading = ("keys", "down")
    return Side.of(form, [tensors[name] / size if name in reading else tensors[name] for name in PARTS[form]])
