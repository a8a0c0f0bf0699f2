"""The entries of the side matrix that a shard may change: each with probability ρ, the same for all edits of the shard.

Wang et al. 2024 (arXiv:2405.14768), section 2.3.1: random masks make the changes of two shards overlap in ρ² of the
entries alone, so that they can be merged.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def mask_of(shape: Sequence[int], ratio: float, seed: int) -> Tensor:
    """M ~ Bernoulli(ρ), (d_out, d_in) bool; the same on every machine."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(tuple(shape), generator=generator) < ratio


def mask_seed(session_seed: int, earlier_edits: int, first: str) -> int:
    """The seed of the mask of a shard that begins with an edit of the text `first`, after so many other edits."""
    digest = hashlib.sha256(f"{session_seed}\0{earlier_edits}\0{first}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
