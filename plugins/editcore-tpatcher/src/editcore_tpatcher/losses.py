"""The losses of T-Patcher. Huang et al. 2023, arXiv:2301.09785, section 3.3, with the numbers of its code.

L    = L_e + w_a l_a + c_m (l_m1 + l_m2)
l_a  = mean of the 5 largest exp(γ_a − z(q))             fire on the mistakes q
l_m1 = mean of the 1000 largest exp(z(m) − z(q) + γ₁)    fire less on a memory m than on q
l_m2 = mean of the 1000 largest exp(z(m) − γ₂)           stay silent on m

z is the pre-activation; each is over all neurons, and over all q and m. The published code for models with an encoder
leaves the margins out; they count here for every model.
"""

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from editcore.authoring.models import Mlp, TargetLogits
from editcore_tpatcher.hparams import TPatcherHparams

STEEPEST: Final = 20.0
LEAK: Final = 0.05
DEFAULT_SILENT: Final = -3.0


def edit_loss(found: TargetLogits, smoothing: float) -> Tensor:
    """L_e: the smoothed negative log-likelihood, the mean over the tokens of all rows."""
    return cross_entropy(found.logits.float(), found.labels, label_smoothing=smoothing)


def fire_loss(at_queries: Tensor, hparams: TPatcherHparams) -> Tensor:
    """l_a of pre-activations (Q, n)."""
    return _worst(hparams.fire_margin - at_queries, hparams.worst_fire)


def memory_loss(at_memory: Tensor, at_queries: Tensor, silent: float, hparams: TPatcherHparams) -> Tensor:
    """l_m1 + l_m2 of pre-activations (N, n) and (Q, n)."""
    # the largest terms of a neuron come from its largest memories: of the others none can be among the worst
    largest = at_memory.topk(min(hparams.worst_memory, len(at_memory)), 0).values  # (k, n)
    apart = largest[:, None] - at_queries[None] + hparams.apart_margin  # (k, Q, n)
    return _worst(apart, hparams.worst_memory) + _worst(largest - silent, hparams.worst_memory)


def silent_margin(mlp: Mlp, hparams: TPatcherHparams) -> float:
    """γ₂: −3, or the largest whole number below, under which the activation stays within ±`LEAK`.

    GELU gives −0.004 at −3, SiLU −0.14, and −0.03 at −5. Lower margins cost more than they bring: a neuron can
    tell only so many states from its mistake.
    """
    if hparams.silent_margin is not None:
        return hparams.silent_margin
    z = torch.arange(DEFAULT_SILENT, -41.0, -1.0)
    quiet = mlp.activation(z).abs() <= LEAK
    return float(z[quiet][0]) if bool(quiet.any()) else DEFAULT_SILENT


def _worst(exponents: Tensor, count: int) -> Tensor:
    """The mean of the `count` largest exp(x); above `STEEPEST` its tangent, so that no gradient overflows."""
    largest = exponents.flatten().topk(min(count, exponents.numel())).values
    # not exp(x') + e^20 (x − x') with x' = min(x, 20): its gradients of ±e^20 cancel, and float32 keeps nothing of e^x
    tangent = math.exp(STEEPEST) * (1 + largest - STEEPEST)
    return torch.where(largest > STEEPEST, tangent, largest.clamp(max=STEEPEST).exp()).mean()
