"""Facts of two patches that a prompt could get both of: they are similar, and their targets differ."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from editcore.authoring.records import records_of


def rivals(a: Mapping[str, Tensor], b: Mapping[str, Tensor], floor: float) -> dict[str, tuple[Any, Any]]:
    """By the prompt of a fact of a: its target, and the most similar fact of b that says something else."""
    if a["payload/centre"].shape != b["payload/centre"].shape:
        return {}
    one, two = (side["payload/vectors"] - side["payload/centre"] for side in (a, b))
    similar = torch.cosine_similarity(one[:, None], two[None], dim=-1)  # (N, M)
    found: dict[str, tuple[Any, Any]] = {}
    theirs = records_of(b)
    for i, (prompt, target, _) in enumerate(records_of(a)):
        others = [j for j in range(len(theirs)) if theirs[j][1].strip() != target.strip() and similar[i, j] >= floor]
        if others:
            other = theirs[max(others, key=lambda j: float(similar[i, j]))]
            found[f"conflict.{prompt}"] = (target.strip(), f"{other[0]} {other[1].strip()}")
    return found
