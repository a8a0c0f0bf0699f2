"""Angles and products of deltas from their factors are those of the matrices multiplied out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from editcore.patches.arithmetic import geometry
from editcore.patches.arithmetic.geometry import compacted, cosine, inner, overlap, principal_angles, spectrum
from editcore.patches.forms.deltas import Delta, norm
from editcore.patches.forms.moved import MOVED

ROWS, COLUMNS = 9, 7
FORMS = ["low_rank", "dense", "sparse", "rows"]


def drawn(form: str, seed: int, rank: int = 2, scale: float = 1.0) -> Delta:
    g = torch.Generator().manual_seed(seed)
    places = torch.randperm(ROWS * COLUMNS, generator=g)[:11].sort().values
    parts = {
        "low_rank": lambda: {
            "left": torch.randn(ROWS, rank, generator=g),
            "right": torch.randn(rank, COLUMNS, generator=g),
        },
        "dense": lambda: {"delta": torch.randn(ROWS, COLUMNS, generator=g)},
        "sparse": lambda: {
            "index": torch.stack([places // COLUMNS, places % COLUMNS]),
            "values": torch.randn(11, generator=g),
        },
        "rows": lambda: {"index": torch.tensor([1, 4, 8]), "values": torch.randn(3, COLUMNS, generator=g)},
    }
    return Delta(form, parts[form](), scale)


def multiplied(delta: Delta) -> torch.Tensor:
    return delta.scale * delta.block(0, ROWS, COLUMNS)


def dense_angles(one: torch.Tensor, two: torch.Tensor) -> list[float]:
    """Angles between column spaces, from projectors: the eigenvalues of PQP are the squared cosines."""

    def projector(matrix: torch.Tensor) -> torch.Tensor:
        return matrix @ torch.linalg.pinv(matrix, rtol=1e-6)

    p, q = projector(one), projector(two)
    least = min(int(torch.linalg.matrix_rank(one, rtol=1e-6)), int(torch.linalg.matrix_rank(two, rtol=1e-6)))
    squares = torch.linalg.eigvalsh(p @ q @ p).flip(0)[:least].clamp(0, 1)
    return [math.degrees(math.acos(math.sqrt(float(value)))) for value in squares]


cases = given(
    st.sampled_from(FORMS),
    st.sampled_from(FORMS),
    st.integers(0, 99),
    st.integers(1, 3),
    st.sampled_from([1.0, -0.5, 2.0]),
)


@settings(max_examples=60, deadline=None)
@cases
def test_inner_product_and_cosine_are_those_of_the_matrices(a: str, b: str, seed: int, rank: int, scale: float) -> None:
    one, two = drawn(a, seed, rank), drawn(b, seed + 1, rank, scale)
    x, y = multiplied(one), multiplied(two)
    assert inner(one, two, (ROWS, COLUMNS)) == pytest.approx(float((x * y).sum()), abs=1e-9)
    assert inner(two, one, (ROWS, COLUMNS)) == pytest.approx(float((x * y).sum()), abs=1e-9)
    expected = float(torch.nn.functional.cosine_similarity(x.flatten(), y.flatten(), dim=0))
    assert cosine(one, two, (ROWS, COLUMNS)) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@cases
def test_directions_multiply_back_and_angles_are_those_of_the_matrices(
    a: str, b: str, seed: int, rank: int, scale: float
) -> None:
    one, two = drawn(a, seed, rank), drawn(b, seed + 1, rank, scale)
    found = [spectrum(delta, (ROWS, COLUMNS)) for delta in (one, two)]
    for delta, got in zip((one, two), found, strict=True):
        assert torch.allclose(got.left * got.values @ got.right, multiplied(delta), atol=1e-5)
        assert got.total == pytest.approx(norm(delta) ** 2)
    angles = principal_angles(found[0].left, found[1].left)
    expected = dense_angles(multiplied(one), multiplied(two))
    assert angles.tolist() == pytest.approx(expected, abs=1e-4)
    share = sum(math.cos(math.radians(angle)) ** 2 for angle in expected) / max(1, len(expected))
    assert overlap(found[0].left, found[1].left) == pytest.approx(share, abs=1e-5)


def test_a_span_meets_itself_at_angle_zero_and_its_complement_at_ninety() -> None:
    basis = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    assert float(principal_angles(basis[:, :2], basis[:, :3]).max()) < 1e-6
    assert float(principal_angles(basis[:, :2], basis[:, 2:]).min()) == pytest.approx(90)
    assert principal_angles(basis[:, :0], basis).tolist() == []


def test_effective_rank_does_not_count_rounding() -> None:
    delta = drawn("low_rank", 1, rank=2)
    noisy = multiplied(delta) + 1e-4 * torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(2))
    assert spectrum(Delta("dense", {"delta": noisy}), (ROWS, COLUMNS)).effective_rank == 2
    assert spectrum(Delta("dense", {"delta": torch.zeros(3, 4)}), (3, 4)).effective_rank == 0


@pytest.mark.parametrize(("limit", "value"), [("_SIDE", 10), ("_ELEMENTS", 90 * 80 - 1)])
def test_a_sketch_finds_what_the_whole_decomposition_finds(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = torch.Generator().manual_seed(3)
    matrix = torch.randn(90, 3, generator=g) @ torch.randn(3, 80, generator=g)
    delta = Delta(MOVED, {"after": matrix, "before": torch.zeros(90, 80)})
    whole = spectrum(delta, (90, 80))
    monkeypatch.setattr(geometry, limit, value)
    monkeypatch.setattr(geometry, "PIECE", 7 * 80)  # which leaves a last block of six rows
    sketch = spectrum(delta, (90, 80))
    assert sketch.partial
    assert sketch.effective_rank == whole.effective_rank
    assert torch.allclose(sketch.values[:3], whole.values[:3], rtol=1e-4)
    noise = spectrum(Delta("dense", {"delta": torch.randn(90, 80, generator=g)}), (90, 80))
    assert noise.effective_rank is None


def test_a_vector_and_a_stack_of_matrices_have_directions_too() -> None:
    for shape in ((5,), (2, 3, 4)):
        delta = Delta("dense", {"delta": torch.ones(shape)})
        assert spectrum(delta, shape).effective_rank == 1
        assert cosine(delta, delta, shape) == pytest.approx(1)


def test_a_sparse_delta_of_many_places_is_sketched_without_its_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(5)
    places = torch.randperm(90 * 80, generator=g)[:60].sort().values
    delta = Delta(
        "sparse", {"index": torch.stack([places // 80, places % 80]), "values": torch.randn(60, generator=g)}, 2.0
    )
    whole = spectrum(delta, (90, 80))
    monkeypatch.setattr(geometry, "_SIDE", 5)
    monkeypatch.setattr(geometry, "PIECE", 640)  # ten places at a time
    sketch = spectrum(delta, (90, 80))
    assert sketch.partial
    assert torch.allclose(sketch.values[:3], whole.values[:3], rtol=1e-4)
    assert sketch.left.shape[0] == 90
    assert sketch.right.shape[1] == 80


def test_what_no_delta_touches_changes_no_figure() -> None:
    sparse, rows = drawn("sparse", 1), drawn("rows", 2)
    for pair in ((sparse, sparse), (sparse, rows), (sparse, None)):
        (one, other), shape = compacted(pair, (ROWS, COLUMNS))
        assert one is not None
        assert norm(one) == norm(sparse)
        assert torch.allclose(spectrum(one, shape).values, spectrum(sparse, (ROWS, COLUMNS)).values)
        if other is not None and pair[1] is not None:
            assert inner(one, other, shape) == pytest.approx(inner(pair[0], pair[1], (ROWS, COLUMNS)))
