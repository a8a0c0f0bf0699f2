"""The one system: its short way, its long way, and the identities that tie the methods of the family together."""

import pytest
import torch
from attrs import frozen
from torch import Tensor

from editcore_hooks import EditcoreError
from editcore_keyvalue.cholesky import factor
from editcore_keyvalue.history import all_keys, increment
from editcore_keyvalue.spreading import linear, root
from editcore_keyvalue.system import Preserved, right_factor

F, D, N = 12, 7, 4


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def c() -> Tensor:
    a = random(F, 3 * F, seed=1)
    return a @ a.T / (3 * F)


@frozen(eq=False)
class Onto:
    """The projector onto the complement of the columns of `u`."""

    u: Tensor

    def apply(self, columns: Tensor) -> Tensor:
        return columns - self.u @ (self.u.T @ columns)

    def matrix(self) -> Tensor:
        return torch.eye(F, dtype=torch.float64) - self.u @ self.u.T


@pytest.fixture
def onto() -> Onto:
    return Onto(torch.linalg.qr(random(F, 3, seed=5)).Q)


def plain(k: Tensor, m: Tensor) -> Tensor:
    """(M + KKᵀ)⁻¹ K by LU."""
    return torch.linalg.solve(m + k @ k.T, k)


@pytest.mark.parametrize("n", [1, N, F, 3 * F])
@pytest.mark.parametrize("m", [0, 3, 2 * F])
@pytest.mark.parametrize("weight", [0.3, 1000.0])
def test_the_short_way_is_the_direct_solution(c: Tensor, n: int, m: int, weight: float) -> None:
    k, h = random(F, n, seed=2), random(F, m, seed=3)
    found = right_factor(k, Preserved(weight, factor(c, 0.0), history=h))
    torch.testing.assert_close(found, plain(k, weight * c + h @ h.T), rtol=1e-8, atol=1e-10)


def test_without_a_second_moment_every_direction_counts_alike() -> None:
    k = random(F, N)
    found = right_factor(k, Preserved(2.0))
    torch.testing.assert_close(found, plain(k, 2.0 * torch.eye(F, dtype=torch.float64)), rtol=1e-10, atol=1e-12)


def test_weight_nought_gives_each_key_its_value_exactly(c: Tensor) -> None:
    """ΔK = R: batched ROME."""
    k, r = random(F, N), random(D, N, seed=4)
    delta = r @ right_factor(k, Preserved(0.0, factor(c, 0.0))).T
    torch.testing.assert_close(delta @ k, r, rtol=1e-8, atol=1e-8)


def test_weight_nought_leaves_earlier_keys_what_they_have(c: Tensor) -> None:
    k, r, h = random(F, N), random(D, N, seed=4), random(F, 3, seed=7)
    delta = r @ right_factor(k, Preserved(0.0, factor(c, 0.0), history=h)).T
    torch.testing.assert_close(delta @ k, r, rtol=1e-8, atol=1e-8)
    assert (delta @ h).norm() < 1e-8 * r.norm()


def test_a_vanishing_weight_tends_to_it_and_a_huge_one_to_no_change(c: Tensor) -> None:
    k, lower = random(F, N), factor(c, 0.0)
    exact = right_factor(k, Preserved(0.0, lower))
    torch.testing.assert_close(right_factor(k, Preserved(1e-9, lower)), exact, rtol=1e-5, atol=1e-7)
    assert right_factor(k, Preserved(1e12, lower)).norm() < 1e-9 * exact.norm()


def test_the_right_factor_minimises_what_the_objective_sums(c: Tensor) -> None:
    """Δ = R Aᵀ is the least of ‖ΔK − R‖² + λ tr ΔCΔᵀ: every step away from it costs."""
    k, r, weight = random(F, N), random(D, N, seed=4), 0.7

    def objective(delta: Tensor) -> float:
        return float((delta @ k - r).square().sum() + weight * (delta @ c @ delta.T).trace())

    delta = r @ right_factor(k, Preserved(weight, factor(c, 0.0))).T
    best = objective(delta)
    for seed in range(5):
        step = 1e-3 * random(D, F, seed=10 + seed)
        assert objective(delta + step) > best
        assert objective(delta - step) > best


def test_edits_with_one_key_need_a_weight(c: Tensor) -> None:
    k = random(F, 1).repeat(1, 2)
    with pytest.raises(EditcoreError, match="depend on each other") as caught:
        right_factor(k, Preserved(0.0, factor(c, 0.0)))
    assert caught.value.hint
    one, other = right_factor(k, Preserved(1.0, factor(c, 0.0))).T
    torch.testing.assert_close(one, other)


def test_a_projected_update_leaves_the_spared_directions_alone(onto: Onto) -> None:
    k, h, p = random(F, N), random(F, 3, seed=6), onto.matrix()
    a = right_factor(k, Preserved(1.5, history=h, projector=onto))
    assert (a.T @ (torch.eye(F, dtype=torch.float64) - p)).norm() < 1e-12
    # the published form is not symmetric: R Kᵀ P (H Hᵀ P + K Kᵀ P + L₂ I)⁻¹
    published = k.T @ p @ torch.linalg.inv((h @ h.T + k @ k.T) @ p + 1.5 * torch.eye(F, dtype=torch.float64))
    torch.testing.assert_close(a.T, published, rtol=1e-9, atol=1e-11)


def test_keys_of_earlier_edits_are_moved_less_than_without_them(c: Tensor) -> None:
    earlier, k, r = random(F, 3, seed=7), random(F, N), random(D, N, seed=4)
    lower = factor(c, 0.0)
    moved = [
        (r @ right_factor(k, Preserved(0.1, lower, history=h)).T @ earlier).norm() for h in (None, 100.0 * earlier)
    ]
    assert moved[1] < 0.05 * moved[0]


def test_equal_keys_in_the_history_do_not_stop_exact_values(c: Tensor) -> None:
    """Edits of one subject in three patches leave its key three times; without weight only one of them can count."""
    k, h = random(F, 2, seed=2), random(F, 2, seed=3)
    spared, again = Preserved(0.0, factor(c, 0.0), history=torch.cat([h, 1.01 * h, h], 1)).writing(k)
    assert not again.any()
    assert spared.history is not None
    assert spared.history.shape[1] == 2
    a = right_factor(k, spared)
    torch.testing.assert_close(a.T @ torch.cat([k, h], 1), torch.eye(2, 4, dtype=torch.float64), rtol=0, atol=1e-8)


def test_increments_are_put_side_by_side_in_their_order() -> None:
    first, second = ({3: random(F, n, seed=n), 5: random(F, n, seed=9)} for n in (1, 2))
    folded = all_keys([increment(first), increment(second)])
    assert folded.keys() == {3, 5}
    torch.testing.assert_close(folded[3], torch.cat([first[3], second[3]], 1).float())
    assert all_keys([]) == {}


def test_shares_end_with_all_that_is_left() -> None:
    assert [linear(left) for left in (4, 2, 1)] == [0.25, 0.5, 1.0]
    assert [root(left) for left in (4, 1)] == [0.5, 1.0]
