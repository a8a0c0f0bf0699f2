"""Entries of two patches that would split each other: their balls overlap, and their targets differ."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from editcore.authoring.records import records_of


def overlaps(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> dict[str, tuple[Any, Any]]:
    """By the prompt of an entry of a: its target, and the nearest entry of b that it conflicts with."""
    if a["payload/keys"].shape[1] != b["payload/keys"].shape[1]:
        return {}
    d = torch.cdist(a["payload/keys"], b["payload/keys"], compute_mode="donot_use_mm_for_euclid_dist")  # (N, M)
    near = d <= a["payload/radii"][:, None] + b["payload/radii"]
    found: dict[str, tuple[Any, Any]] = {}
    theirs = records_of(b)
    for i, (prompt, target) in enumerate(records_of(a)):
        rivals = [j for j in near[i].nonzero()[:, 0].tolist() if theirs[j][1].strip() != target.strip()]
        if rivals:
            other = theirs[min(rivals, key=lambda j: float(d[i, j]))]
            found[f"conflict.{prompt}"] = (target.strip(), f"{other[0]} {other[1].strip()}")
    return found
