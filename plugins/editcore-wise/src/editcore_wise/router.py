"""The router: how far a side matrix moves what the layer writes for a prompt, and which side that chooses.

D(x)    = 1/|x| Σₜ ‖σ(W uₜ) − σ(W' uₜ)‖₂             σ: the activation of the model's MLP
θₛ      = act_ratio · min over the edits of s of D    with s as the latest of them left it
current the newest shard, if D ≥ θ; else the main matrix
stored  each in its turn, where its D is above its own θ and above every D before it

Wang et al. 2024 (arXiv:2405.14768), section 2.2 and equations 3, 4 and 10.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Activation = Callable[[Tensor], Tensor]


def token_distances(activation: Activation, outputs: Tensor, change: Tensor) -> Tensor:
    """‖σ(y) − σ(y + Δu)‖₂ of outputs and changes (..., d), (...)."""
    outputs = outputs.float()
    moved: Tensor = activation(outputs) - activation(outputs + change.float())
    return moved.square().sum(-1).clamp(min=1e-24).sqrt()  # no gradient of √0, where Δ is 0 at the start


def prompt_distances(distances: Tensor, prompt: Tensor) -> Tensor:
    """D of rows, from the distances (..., B, S) of their tokens and which of them are prompt (B, S): (..., B)."""
    weights = prompt.to(distances.dtype)
    return (distances * weights).sum(-1) / weights.sum(-1).clamp(min=1)


def choose(distances: Tensor, thresholds: Tensor, current: bool) -> Tensor:
    """The shard of each row, -1 for the main matrix: D (k, B) and θ (k,); (B,) int64.

    With `current` the first is the current shard, otherwise all are stored.
    """
    chosen = torch.full(distances.shape[1:], -1, device=distances.device)
    largest = torch.zeros_like(distances[0])
    for s, (distance, threshold) in enumerate(zip(distances, thresholds, strict=True)):
        first = current and s == 0
        better = (distance >= threshold) if first else (distance > threshold) & (distance > largest)
        chosen = torch.where(better, s, chosen)
        largest = distance if first else torch.where(better, distance, largest)
    return chosen
