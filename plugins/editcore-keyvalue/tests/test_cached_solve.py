"""A sequence solves for each key once, and finds what it would find from the start."""

import pytest
import torch
from torch import Tensor

from editcore_keyvalue.cached_solve import CachedSolve
from editcore_keyvalue.cholesky import factor
from editcore_keyvalue.system import Preserved, right_factor

F = 24


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("editcore_keyvalue.cached_solve.BLOCK", 2)


@pytest.fixture
def lower() -> Tensor:
    a = torch.randn(F, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return factor(a @ a.T / 60, 1e-6)


def keys(n: int, seed: int) -> Tensor:
    return torch.randn(F, n, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many columns C was solved for, call by call."""
    found: list[int] = []
    solve = torch.cholesky_solve

    def counting(columns: Tensor, factor_: Tensor, *rest: bool) -> Tensor:
        if len(factor_) == F:
            found.append(columns.shape[1])
        return solve(columns, factor_, *rest)

    monkeypatch.setattr(torch, "cholesky_solve", counting)
    return found


def test_each_edit_of_a_sequence_solves_for_its_own_keys_alone(lower: Tensor, widths: list[int]) -> None:
    every, solved = [keys(2, seed) for seed in range(5)], CachedSolve(lower)
    for i, own in enumerate(every):
        history = torch.cat(every[:i], 1) if i else None
        widths.clear()
        found = right_factor(own, Preserved(3.0, lower, history=history, solved=solved))
        assert widths == [2]
        torch.testing.assert_close(found, right_factor(own, Preserved(3.0, lower, history=history)))


def test_an_edit_has_the_same_bits_whatever_was_solved_before(lower: Tensor) -> None:
    every, solved = [keys(3, seed) for seed in range(5)], CachedSolve(lower)
    for i, own in enumerate(every):
        history = torch.cat(every[:i], 1) if i else None
        found, anew = (
            right_factor(own, Preserved(3.0, lower, history=history, solved=s)) for s in (solved, CachedSolve(lower))
        )
        assert torch.equal(found, anew)


def test_an_edit_taken_out_of_the_middle_leaves_no_trace(lower: Tensor, widths: list[int]) -> None:
    solved, own = CachedSolve(lower), keys(2, 9)
    right_factor(own, Preserved(3.0, lower, history=torch.cat([keys(2, 1), keys(2, 2), keys(2, 3)], 1), solved=solved))
    history = torch.cat([keys(2, 1), keys(2, 3)], 1)
    widths.clear()
    found = right_factor(own, Preserved(3.0, lower, history=history, solved=solved))
    assert widths == [2, 2]
    torch.testing.assert_close(found, right_factor(own, Preserved(3.0, lower, history=history)))


def test_what_contexts_do_to_a_key_is_not_taken_for_history(lower: Tensor) -> None:
    solved = CachedSolve(lower)
    for seed in range(3):
        history, apart, own = keys(4, 100), keys(3, seed), keys(1, 10 + seed)
        preserved = Preserved(3.0, lower, history=history, solved=solved).sparing(apart)
        plain = Preserved(3.0, lower, history=history).sparing(apart)
        torch.testing.assert_close(right_factor(own, preserved), right_factor(own, plain))
