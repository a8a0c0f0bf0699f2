"""The trained nets: the projection of the scope, and queries, keys and values of the counterfactual model.

scope           e(x) = P (f(x) − μ)/σ,  f(x) = [state of the last token; mean state] at an early block     (p,)
                g(z, x) = exp(−‖e(z) − e(x)‖²)
counterfactual  a = softmax(Q n(s)·K n(sₜ) / √r),  n: layer norm without parameters                        (T + 1,)
                h(x, z) = Σₜ aₜ c V u(yₜ) + a_end s,  u(y): the row of token y in the head, of length 1    (d,)

s is the base's last state at the token that is read, sₜ that of the edit's own text where it reads yₜ next, and s_end
the one after its target: there the base goes on by itself.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm


class Nets(nn.Module):
    """Nets for a model of width `d`, in float32."""

    centre: Tensor
    """μ (2d,)"""
    spread: Tensor
    """σ (2d,)"""
    size: Tensor
    """c, the mean length of a last state, ()"""

    def __init__(self, d: int, width: int, rank: int, seed: int = 0) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(seed)
        self.project = nn.Parameter(torch.randn(2 * d, width, generator=drawn) / (2 * d * width) ** 0.5)  # P
        self.query = nn.Parameter(torch.randn(d, rank, generator=drawn) / d**0.5)  # Q
        self.key = nn.Parameter(self.query.detach().clone())  # K starts as Q: near states attend to each other
        self.value = nn.Parameter(torch.eye(d))  # V
        self.register_buffer("centre", torch.zeros(2 * d))
        self.register_buffer("spread", torch.ones(2 * d))
        self.register_buffer("size", torch.ones(()))

    def collect(self, features: Tensor, states: Tensor) -> None:
        """Take μ and σ from features (n, 2d), and c from last states (m, d)."""
        self.centre.copy_(features.mean(0))
        self.spread.copy_(features.std(0).clamp(min=1e-6))
        self.size.copy_(states.norm(dim=-1).mean())

    def encode(self, features: Tensor) -> Tensor:
        """e of features (n, 2d), (n, p)."""
        return encode(features, self.centre, self.spread, self.project)

    def keys(self, states: Tensor) -> Tensor:
        """K n(s) of states (m, d), (m, r)."""
        return normed(states) @ self.key

    def values(self, rows: Tensor) -> Tensor:
        """c V u of rows of the head (m, d), (m, d)."""
        return self.size * (nn.functional.normalize(rows, dim=-1) @ self.value)

    def kept(self) -> Mapping[str, Tensor]:
        """What a patch needs of the nets to decide and to act."""
        names = ("centre", "spread", "project", "query")
        return {name: getattr(self, name).detach().cpu().clone() for name in names}


def encode(features: Tensor, centre: Tensor, spread: Tensor, project: Tensor) -> Tensor:
    """e of features (n, 2d), (n, p)."""
    return ((features - centre) / spread) @ project


def normed(states: Tensor) -> Tensor:
    """States of mean 0 and variance 1."""
    return layer_norm(states.float(), states.shape[-1:])


def squared(one: Tensor, two: Tensor) -> Tensor:
    """‖a − b‖² of rows (n, p) and (m, p) by one matrix product, (n, m)."""
    return (one.square().sum(-1)[:, None] + two.square().sum(-1) - 2 * one @ two.T).clamp(min=0)
