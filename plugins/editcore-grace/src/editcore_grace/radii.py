"""The rule of radii: entries of one target may overlap, and of two targets each keeps to its half of the distance."""

from collections.abc import Sequence

import torch
from torch import Tensor

MARGIN = 1e-5
"""What the earlier of two entries keeps away from the middle between them."""
SAME = 1e-3
"""Keys closer than this share of their norm are one prompt: what rounding alone makes of it in another batch."""


def resolve(keys: Tensor, initial: Tensor, labels: Sequence[str], expand: bool) -> Tensor:
    """The radii (N,) of entries that were added in this order, from `keys` (N, d) and `initial` radii (N,).

    A new entry j that overlaps an earlier i, d = ‖kᵢ − kⱼ‖ ≤ εᵢ + εⱼ:
        other label   εᵢ ← min(εᵢ, d/2 − 1e-5), εⱼ ← min(εⱼ, d/2); of one prompt, the later replaces: εᵢ ← −1
        same label    of the nearest alone, with `expand`: εᵢ ← max(εᵢ, d)
    The published code splits the nearest ball alone; here all that overlap are split, so that they are disjoint.
    """
    n = len(keys)
    radii = initial.clone()
    numbers = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    of = torch.tensor([numbers[label] for label in labels])
    for j in range(1, n):
        d = (keys[:j] - keys[j]).norm(dim=-1)  # (j,)
        alive = radii[:j] >= 0
        near = alive & (d <= radii[:j] + initial[j])
        other = near & (of[:j] != of[j])
        same_key = other & (d <= SAME * keys[j].norm())
        split = other & ~same_key
        if split.any():
            radii[:j] = torch.where(split, torch.minimum(radii[:j], d / 2 - MARGIN), radii[:j])
            radii[j] = torch.minimum(radii[j], d[split].min() / 2)
        radii[:j][same_key] = -1.0
        if expand and alive.any():
            i = int(torch.where(alive, d, torch.inf).argmin())
            if bool(near[i]) and of[i] == of[j]:
                radii[i] = torch.maximum(radii[i], d[i])
    return radii
