"""The arithmetic: one rule, exact and independent of order, and what it says about rounding."""

import hashlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from editcore.patches.arithmetic import rebuilding
from editcore.patches.arithmetic.rebuilding import rebuild, rebuild_bytes, result_sha256
from editcore.patches.forms.deltas import Delta, to_stored
from editcore.storage.tensors import blob_of
from editcore_hooks import Dense, LowRank, PluginError, RefusedFileError, Rows, Sparse

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dense(delta: torch.Tensor, scale: float = 1.0) -> Delta:
    return Delta("dense", {"delta": delta}, scale)


@pytest.mark.parametrize("dtype", DTYPES[:3])
def test_the_rule_is_that_of_the_format_page(dtype: torch.dtype) -> None:
    base, left, right, delta = random(5, 7).to(dtype), random(5, 2, seed=1), random(2, 7, seed=2), random(5, 7, seed=3)
    got = rebuild(base, [Delta("low_rank", {"left": left, "right": right}, 0.5), dense(delta, -2.0)])
    total = base.double() + 0.5 * (left.double() @ right.double()) + -2.0 * delta.double()
    assert got.dtype == dtype
    assert torch.equal(got, total.float().to(dtype))


@pytest.mark.parametrize(("dtype", "half_step"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_rounding_goes_by_way_of_float32(dtype: torch.dtype, half_step: float) -> None:
    # Just above half a step: rounded at once it is one step more, by way of float32 it is a tie, and stays even.
    delta = dense(torch.full((1, 1), half_step + 2**-30, dtype=torch.float64))
    assert rebuild(torch.ones(1, 1, dtype=dtype), [delta]).item() == 1.0


def test_a_float64_base_keeps_its_own_bits() -> None:
    base = random(3, 3).double() + 2**-40
    assert torch.equal(rebuild(base, [dense(torch.zeros(3, 3))]), base)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_deltas_give_the_base_bits_also_of_nan_and_negative_zero(dtype: torch.dtype) -> None:
    base = torch.tensor([[1.0, -0.0, math.nan, -math.inf]], dtype=dtype)
    assert blob_of(rebuild(base, [])).data == blob_of(base).data


def test_the_base_is_not_touched() -> None:
    base = random(4, 4)
    before = base.clone()
    rebuild(base, [dense(torch.ones(4, 4))])
    assert torch.equal(base, before)


@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 4)])
def test_dense_deltas_fit_tensors_of_any_dimension(shape: tuple[int, ...]) -> None:
    base, delta = random(*shape), random(*shape, seed=1)
    assert torch.equal(rebuild(base, [dense(delta)]), (base.double() + delta.double()).float())


def test_sparse_and_rows_add_where_they_say() -> None:
    index = torch.tensor([[0, 2, 2], [1, 0, 3]])
    sparse = Delta("sparse", {"index": index, "values": torch.tensor([1.0, 2.0, 3.0])})
    rows = Delta("rows", {"index": torch.tensor([1]), "values": torch.full((1, 4), 5.0)})
    expected = torch.tensor([[0.0, 1, 0, 0], [5, 5, 5, 5], [2, 0, 0, 3]])
    assert torch.equal(rebuild(torch.zeros(3, 4), [sparse, rows]), expected)


@pytest.mark.parametrize("form", ["low_rank", "dense", "sparse", "rows"])
def test_blocks_do_not_show_where_the_sum_is_exact(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    parts = {
        "low_rank": {"left": random(9, 1), "right": random(1, 5, seed=1)},
        "dense": {"delta": random(9, 5)},
        "sparse": {"index": torch.tensor([[0, 3, 4, 8], [1, 1, 0, 4]]), "values": random(4)},
        "rows": {"index": torch.tensor([0, 4, 8]), "values": random(3, 5)},
    }[form]
    base = random(9, 5, seed=2)
    whole = rebuild(base, [Delta(form, parts)])
    monkeypatch.setattr(rebuilding, "BLOCK_ELEMENTS", 10)
    assert torch.equal(rebuild(base, [Delta(form, parts)]), whole)


def test_a_result_that_overflows_is_refused() -> None:
    with pytest.raises(RefusedFileError, match=r"w overflows F16"):
        rebuild(torch.ones(2, 2).half(), [dense(torch.full((2, 2), 1e5))], "w")
    with pytest.raises(RefusedFileError, match=r"overflows F32"):
        rebuild(torch.ones(1, 2), [dense(torch.full((1, 2), 3e38)), dense(torch.full((1, 2), 3e38))])


def test_bytes_and_tensors_give_the_same_result() -> None:
    base, deltas = random(3, 5).bfloat16(), [dense(random(3, 5, seed=1))]
    result = rebuild(base, deltas)
    stored = rebuild_bytes(blob_of(base).data, "BF16", (3, 5), deltas)
    assert hashlib.sha256(stored).hexdigest() == result_sha256(result)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 4), st.sampled_from(DTYPES))
def test_memory_layout_does_not_show(seed: int, rank: int, dtype: torch.dtype) -> None:
    base, left, right = (
        random(6, 5, seed=seed).to(dtype),
        random(6, rank, seed=seed + 1),
        random(rank, 5, seed=seed + 2),
    )
    turned = [tensor.T.contiguous().T for tensor in (base, left, right)]
    plain = rebuild(base, [Delta("low_rank", {"left": left, "right": right})])
    assert torch.equal(rebuild(turned[0], [Delta("low_rank", {"left": turned[1], "right": turned[2]})]), plain)


UPDATES = {
    "low_rank": LowRank(random(3, 2), random(2, 5, seed=1)),
    "dense": Dense(random(3, 5)),
    "sparse": Sparse(torch.tensor([[2, 0, 2], [1, 4, 0]]), random(3)),
    "rows": Rows(torch.tensor([2, 0]), random(2, 5)),
}


@pytest.mark.parametrize("name", UPDATES)
def test_stored_orientation_is_the_transpose_for_conv1d(name: str) -> None:
    plain, turned = to_stored(UPDATES[name], False), to_stored(UPDATES[name], True)
    assert plain.fault((3, 5)) is None
    assert turned.fault((5, 3)) is None
    as_linear = rebuild(torch.zeros(3, 5).double(), [Delta(plain.form, plain.parts)])
    as_conv1d = rebuild(torch.zeros(5, 3).double(), [Delta(turned.form, turned.parts)])
    assert as_linear.count_nonzero() > 0
    assert torch.allclose(as_linear, as_conv1d.T, rtol=0, atol=1e-15)


def test_rows_of_a_transposed_matrix_are_stored_as_sparse() -> None:
    assert to_stored(UPDATES["rows"], True).form.name == "sparse"
    assert to_stored(UPDATES["rows"], False).form.name == "rows"


def test_more_factors_than_dimensions_are_stored_as_their_product() -> None:
    update = LowRank(random(3, 8), random(8, 5, seed=1))
    stored = to_stored(update, False)
    assert stored.form.name == "dense"
    assert torch.equal(stored.parts["delta"], (update.out.double() @ update.in_.double()).float())


def test_an_update_of_another_kind_is_the_fault_of_the_method() -> None:
    with pytest.raises(PluginError, match="is Tensor, not LowRank"):
        to_stored(torch.ones(2, 2), False)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_weights_whose_sum_overflows_are_not_refused(dtype: torch.dtype) -> None:
    base = torch.full((3, 4), torch.finfo(dtype).max, dtype=dtype)
    base[0, 0] = 0
    result = rebuild(base, [Delta("sparse", {"index": torch.tensor([[0], [0]]), "values": torch.tensor([1.0])})])
    assert result[0, 0] == 1
    assert torch.equal(result[1:], base[1:])


def test_weights_that_were_infinite_stay_so() -> None:
    base = torch.tensor([[float("inf"), 1.0], [float("nan"), 2.0]])
    result = rebuild(base, [Delta("dense", {"delta": torch.ones(2, 2)})])
    assert torch.equal(result.nan_to_num(nan=7.0), torch.tensor([[float("inf"), 2.0], [7.0, 3.0]]).nan_to_num(nan=7.0))
