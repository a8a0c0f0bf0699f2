"""The prompt's key and the mean key get the value together, however far they are from each other."""

import pytest
import torch

from editcore_keyvalue.cholesky import factor
from editcore_rome.rank_one import SOFTNESS, both_keys, rank_one

GENERATOR = torch.Generator().manual_seed(0)
ORDINARY = torch.randn(300, 24, dtype=torch.float64, generator=GENERATOR)
C = ORDINARY.T @ ORDINARY / 300
OTHERS = torch.randn(4, 24, dtype=torch.float64, generator=GENERATOR)
DELTA, WEIGHT = torch.ones(8, dtype=torch.float64), torch.zeros(8, 24)


def keys(distance: float) -> torch.Tensor:
    """Six contexts' keys near each other, and the prompt's at `distance` from them, (7, f)."""
    generator = torch.Generator().manual_seed(1)
    subject, start = torch.randn(2, 24, dtype=torch.float64, generator=generator)
    around = subject + 0.1 * torch.randn(6, 24, dtype=torch.float64, generator=generator)
    return torch.cat([(subject + distance * start)[None], around])


@pytest.mark.parametrize("distance", [0.0, 0.1, 10.0])
def test_it_is_the_least_squares_of_both(distance: float) -> None:
    """u minimises uᵀ C u + |Kᵀ u − 1|² / ε, from its normal equations."""
    k = torch.stack([keys(distance)[0], keys(distance).mean(0)], 1)
    epsilon = SOFTNESS * (k.T @ torch.linalg.inv(C) @ k).diagonal().mean()
    u = torch.linalg.solve(C + k @ k.T / epsilon, k.sum(1) / epsilon)
    update = both_keys(keys(distance), DELTA, factor(C, 0.0))
    torch.testing.assert_close(torch.outer(update.lam, update.u), torch.outer(DELTA, u))


@pytest.mark.parametrize("others", [None, OTHERS], ids=["alone", "beside others"])
def test_a_prompt_unlike_its_contexts_gets_the_value_too(others: torch.Tensor | None) -> None:
    far = keys(10.0)
    reached = {}
    for mode in ("both", "r-rome"):
        update = rank_one(far, DELTA, WEIGHT, factor(C, 0.0), mode, others)
        reached[mode] = float((update.lam[0] * update.u) @ far[1:].mean(0))
    update = rank_one(far, DELTA, WEIGHT, factor(C, 0.0), "both", others)
    assert far[0] @ update.u * update.lam[0] == pytest.approx(1, abs=0.1)
    assert abs(reached["both"] - 1) < abs(reached["r-rome"] - 1)


def test_of_keys_alike_it_is_the_published_update() -> None:
    near = keys(0.0)
    both, published = (rank_one(near, DELTA, WEIGHT, factor(C, 0.0), mode) for mode in ("both", "r-rome"))
    assert torch.nn.functional.cosine_similarity(both.u, published.u, dim=0) > 0.99
