"""The loss of an edit. Wang et al. 2024 (arXiv:2405.14768), equations 5 and 6.

L     = L_FT + L_act
L_FT  = −1/m Σⱼ log p(yⱼ | x, y₁ … yⱼ₋₁)                    the mean over all target tokens, the contexts' included
L_act = mean₊(D_out − D_in + γ) + mean₊(D_out − α) + mean₊(β − D_in)

D_in are the distances of the edit's prompts, D_out those of irrelevant ones; the first term takes every pair. mean₊ is
the mean over the positive entries alone, 0 where there is none.
"""

from attrs import frozen
from torch import Tensor
from torch.nn.functional import cross_entropy

from editcore.authoring.models import TargetLogits


@frozen
class Margins:
    """α, β and γ in the unit of distances of the model at hand."""

    alpha: float
    beta: float
    gamma: float


def edit_loss(found: TargetLogits) -> Tensor:
    """L_FT."""
    return cross_entropy(found.logits.float(), found.labels)


def activation_loss(inside: Tensor, outside: Tensor, margins: Margins) -> Tensor:
    """L_act of D_in (B,) and D_out (O,)."""
    apart = outside[:, None] - inside + margins.gamma  # (O, B)
    return mean_positive(apart) + mean_positive(outside - margins.alpha) + mean_positive(margins.beta - inside)


def mean_positive(values: Tensor) -> Tensor:
    """mean₊."""
    positive = values > 0
    return (values * positive).sum() / positive.sum().clamp(min=1)
