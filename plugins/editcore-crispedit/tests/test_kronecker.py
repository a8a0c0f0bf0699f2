"""The mask against all products sorted, the projection's promises, and AlphaEdit's projector as a case of it."""

import pytest
import torch
from torch import Tensor

from editcore_crispedit.kronecker import Flat, cleaned, flat, threshold
from editcore_crispedit.own import Own, fewer, folded, increment, merged
from editcore_keyvalue.nullspace import Eigenbasis

D, F = 5, 9


def moment(n: int, rank: int, seed: int) -> Tensor:
    """A second moment (n, n) with eigenvalues of very different sizes, n - rank of them zero."""
    generator = torch.Generator().manual_seed(seed)
    columns = torch.randn(n, rank, generator=generator, dtype=torch.float64)
    return (columns * torch.logspace(0, -3, rank, dtype=torch.float64)) @ columns.T


A, B = moment(F, 6, 0), moment(D, D, 1)


def found(energy: float, b: Tensor = B, a: Tensor = A) -> Flat:
    return flat(torch.linalg.eigh(b), torch.linalg.eigh(a), energy)


def sorted_mask(beta: Tensor, alpha: Tensor, energy: float) -> Tensor:
    """Every product in a list, the largest first, until their sum is the share."""
    products = sorted(((float(b * a), i, j) for i, b in enumerate(beta) for j, a in enumerate(alpha)), reverse=True)
    total, sum_, mask = sum(p for p, *_ in products), 0.0, torch.ones(len(beta), len(alpha))
    for product, i, j in products:
        if sum_ >= energy * total or product == 0:
            break
        mask[i, j] = 0
        sum_ += product
    return mask


@pytest.mark.parametrize("energy", [1e-9, 0.3, 0.8, 0.9, 0.99, 0.9999, 1.0])
def test_the_mask_is_that_of_all_products_sorted(energy: float) -> None:
    beta, alpha = (cleaned(torch.linalg.eigvalsh(each)) for each in (B, A))
    mask = (beta[:, None] * alpha < threshold(beta, alpha, energy)).float()
    assert torch.equal(mask, sorted_mask(beta, alpha, energy))


def test_equal_products_are_steep_or_flat_together() -> None:
    beta, alpha = torch.ones(3), torch.tensor([4.0, 1.0, 1.0])
    assert (beta[:, None] * alpha < threshold(beta, alpha, 0.5)).sum() == 6
    assert (beta[:, None] * alpha < threshold(beta, alpha, 0.7)).sum() == 0


def test_the_ends_of_the_scale() -> None:
    assert found(0.0).share == 1
    assert found(1e-9).mask.sum() == D * F - 1
    flat_ones = found(1.0)
    assert flat_ones.share == pytest.approx(3 / F)  # those of the null space of A, whatever B says
    assert (flat_ones.project(torch.randn(D, F)).double() @ A).norm() < 1e-5


def test_the_projection_is_one() -> None:
    p, x, y = found(0.9), torch.randn(D, F), torch.randn(D, F)
    assert 0 < p.share < 1
    torch.testing.assert_close(p.project(p.project(x)), p.project(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close((p.project(x) * y).sum(), (x * p.project(y)).sum(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(p.outwards(p.inwards(x)), p.project(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("energy", [0.5, 0.99, 1.0])
def test_what_no_ordinary_key_reads_may_change_freely(energy: float) -> None:
    v = torch.linalg.eigh(A).eigenvectors[:, 0]  # A v = 0
    change = torch.outer(torch.randn(D), v.float())
    torch.testing.assert_close(found(energy).project(change), change, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("energy", [0.5, 0.9, 0.99])
def test_alphaedit_is_the_case_of_outputs_that_all_curve_alike(energy: float) -> None:
    """With B = cI the mask depends on the key's direction alone: P(G) = G P_A, P_A of small eigenvalues of A."""
    c = 0.3
    alike = found(energy, b=c * torch.eye(D, dtype=torch.float64))
    values, vectors = torch.linalg.eigh(A)
    tau = threshold(torch.full((D,), c, dtype=torch.float64), cleaned(values), energy)
    alphaedit = Eigenbasis(values, vectors).below(tau / c)
    change = torch.randn(D, F)
    torch.testing.assert_close(alike.project(change), alphaedit.apply(change.T).T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("energy", [0.5, 0.9, 0.99])
def test_directions_that_alphaedit_leaves_free_are_free_and_there_are_more(energy: float) -> None:
    """Whatever B: an eigenvalue of A below τ / max β gives products below τ."""
    values, vectors = torch.linalg.eigh(A)
    beta = cleaned(torch.linalg.eigvalsh(B))
    alphaedit = Eigenbasis(values, vectors).below(threshold(beta, cleaned(values), energy) / float(beta.max()))
    change = alphaedit.apply(torch.randn(D, F).T).T
    p = found(energy)
    torch.testing.assert_close(p.project(change), change, rtol=1e-4, atol=1e-5)
    assert p.mask.sum() > D * alphaedit.free


def test_merged_moments_are_those_of_all_texts_together() -> None:
    one, two, three = (torch.randn(F, m, dtype=torch.float64) for m in (40, 3, 30))
    union = torch.cat([one, two, three], 1)
    patches = [increment({2: Own(fewer(k).float(), fewer(k).float(), k.shape[1])}) for k in (two, three)]
    own = folded(patches)[2]
    assert own.count == 33
    assert own.keys.shape[1] == 3 + F  # no more than there are directions
    found = merged(one @ one.T / 40, 40, own.keys, own.count, 1.0)
    torch.testing.assert_close(found, union @ union.T / 73, rtol=1e-4, atol=1e-5)


def test_layers_that_only_one_of_two_patches_edits_are_its_own() -> None:
    x = torch.randn(F, 2)
    state = folded([increment({1: Own(x, x, 2)}), increment({1: Own(x, x, 2), 4: Own(x, x, 5)})])
    assert {layer: (own.count, own.keys.shape[1]) for layer, own in state.items()} == {1: (4, 4), 4: (5, 2)}
    assert folded([]) == {}
