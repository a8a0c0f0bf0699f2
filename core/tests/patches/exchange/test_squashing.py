"""Squash: one patch with the bits of all its sources, or with a stated residual."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from editcore.patches.arithmetic.factoring import EXACT, factorise, product_norm, truncate
from editcore.patches.arithmetic.rebuilding import rebuild
from editcore.patches.change.copying import apply_to_copy
from editcore.patches.exchange.squashing import squash
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import StoredUpdate
from editcore_hooks import ConflictError, EditcoreError, Payload, RefusedFileError, UsageError, WrongBaseError

KEYS = ("transformer.h.0.mlp.c_proj.weight", "transformer.h.1.mlp.c_fc.weight")
PEFT = importlib.util.find_spec("peft") is not None
needs_peft = pytest.mark.skipif(not PEFT, reason="peft, an optional extra, is not installed")

Folder, Make = Callable[..., Path], Callable[..., Patch]


def tensors(root: Path) -> dict[str, bytes]:
    from editcore.patches.checkpoint.folder import Checkpoint

    checkpoint = Checkpoint.open(root)
    return {key: checkpoint.read(key) for key in checkpoint.entries}


def random_low_rank(seed: int, rank: int, scale: float = 1.0, shape: tuple[int, int] = (12, 9), **about: Any) -> Patch:
    generator = torch.Generator().manual_seed(seed)
    parts = {
        "left": torch.randn(shape[0], rank, generator=generator),
        "right": torch.randn(rank, shape[1], generator=generator),
    }
    target = Target(StoredUpdate("low_rank", parts), "F32", shape, "0" * 64)
    return seal({"w": target}, {"name": "tiny", "weights_root": "1" * 64}, about, scale=scale)


def random_dense(seed: int) -> Patch:
    delta = torch.randn(12, 9, generator=torch.Generator().manual_seed(seed))
    target = Target(StoredUpdate("dense", {"delta": delta}), "F32", (12, 9), "0" * 64)
    return seal({"w": target}, {"name": "tiny", "weights_root": "1" * 64}, {})


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_squashed_patch_gives_the_bits_of_all(
    folder: Folder, make_patch: Make, tmp_path: Path, dtype: torch.dtype, sharded: bool
) -> None:
    root = folder("gpt2", dtype, sharded)
    patches = [make_patch(root, *KEYS, seed=1), make_patch(root, KEYS[0], seed=2), make_patch(root, KEYS[1], seed=3)]
    squashed = squash(patches)
    assert squashed.residuals == {}
    assert set(squashed.exact) == set(KEYS)
    squashed.patch.save(tmp_path / "s.safetensors")
    apply_to_copy(root, tmp_path / "all", patches)
    apply_to_copy(root, tmp_path / "one", [Patch.load(tmp_path / "s.safetensors")])
    assert tensors(tmp_path / "one") == tensors(tmp_path / "all")
    groups = squashed.patch.targets[KEYS[0]].groups
    assert [group.patch_id for group in groups] == sorted(patch.patch_id for patch in patches[:2])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from([1.0, 0.3, -0.7])), min_size=2, max_size=4),
    st.integers(0, 1000),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64]),
    st.randoms(use_true_random=False),
)
def test_low_rank_patches_squash_exactly_in_any_order(
    sources: list[tuple[int, float]], seed: int, dtype: torch.dtype, order: Any
) -> None:
    patches = [random_low_rank(seed + i, rank, scale) for i, (rank, scale) in enumerate(sources)]
    if sum(rank for rank, _ in sources) > 9:
        return
    base = torch.randn(12, 9, generator=torch.Generator().manual_seed(seed)).to(dtype)
    ordered = sorted(patches, key=lambda patch: patch.patch_id)
    expected = rebuild(base, [delta for patch in ordered for delta in patch.deltas("w")])
    whole = squash(patches).patch
    order.shuffle(patches)
    assert squash(patches).patch.patch_id == whole.patch_id
    assert torch.equal(rebuild(base, whole.deltas("w")), expected)


def test_a_squash_of_squashes_keeps_the_first_sources() -> None:
    a, b, c = (random_low_rank(seed, 1, scale=0.5) for seed in range(3))
    inner = squash([a, b]).patch
    outer = squash([inner, c]).patch
    assert {group.patch_id for group in outer.targets["w"].groups} == {a.patch_id, b.patch_id, c.patch_id}
    base = torch.randn(12, 9, generator=torch.Generator().manual_seed(9))
    steps = sorted([inner, c], key=lambda patch: patch.patch_id)
    expected = rebuild(base, [delta for patch in steps for delta in patch.deltas("w")])
    assert torch.equal(rebuild(base, outer.deltas("w")), expected)
    dense = random_dense(4)
    nested = squash([squash([dense, random_dense(5)]).patch, random_dense(6)]).patch
    with pytest.raises(ConflictError, match="twice"):  # no groups here: known by the sources of a source
        squash([nested, dense])
    with pytest.raises(ConflictError, match="twice"):
        squash([inner, a])
    with pytest.raises(ConflictError, match="twice"):
        squash([c, c])


@pytest.mark.parametrize("forms", [("dense", "low_rank"), ("sparse", "sparse"), ("rows", "rows"), ("rows", "sparse")])
def test_other_forms_are_added(folder: Folder, make_patch: Make, tmp_path: Path, forms: tuple[str, str]) -> None:
    root = folder("gpt2", torch.bfloat16)
    patches = [make_patch(root, KEYS[0], seed=seed, form=form) for seed, form in enumerate(forms)]
    squashed = squash(patches)
    assert squashed.exact == ()
    assert squashed.residuals[KEYS[0]] < 1e-15
    form = squashed.patch.targets[KEYS[0]].form.name
    assert form == ("dense" if "dense" in forms else "rows" if "rows" in forms else "sparse")  # the smallest
    apply_to_copy(root, tmp_path / "all", patches)
    apply_to_copy(root, tmp_path / "one", [squashed.patch])
    assert tensors(tmp_path / "one") == tensors(tmp_path / "all")


@pytest.mark.parametrize("form", ["dense", "sparse", "rows"])
def test_a_target_of_one_source_is_kept(folder: Folder, make_patch: Make, form: str) -> None:
    root = folder("gpt2")
    one, other = make_patch(root, KEYS[0], form=form), make_patch(root, KEYS[1], scale=0.25)
    squashed = squash([one, other])
    assert set(squashed.exact) == set(KEYS)
    assert squashed.patch.targets[KEYS[0]] == one.targets[KEYS[0]]
    assert squashed.patch.targets[KEYS[1]].groups[0].scale == 0.25


def test_more_factors_than_dimensions_become_dense() -> None:
    patches = [random_low_rank(seed, 5) for seed in range(2)]
    squashed = squash(patches)
    assert squashed.patch.targets["w"].form.name == "dense"
    assert squashed.residuals["w"] < 1e-15


def test_fewer_factors_say_what_they_lose() -> None:
    patches = [random_low_rank(seed, 2, shape=(30, 20)) for seed in range(3)]
    squashed = squash(patches, max_rank=3)
    target = squashed.patch.targets["w"]
    assert target.parts["left"].shape == (30, 3)
    total = sum(p.tensors["w/left"].double() @ p.tensors["w/right"].double() for p in patches)
    (delta,) = squashed.patch.deltas("w")
    found = float((total - delta.block(0, 30, 20)).norm() / total.norm())
    assert squashed.residuals["w"] == pytest.approx(found, rel=1e-9)
    singular = torch.linalg.svdvals(total)
    assert found == pytest.approx(float(singular[3:].norm() / singular.norm()), rel=1e-5)
    assert squashed.patch.about["squash"]["residuals"]["w"] == squashed.residuals["w"]
    assert squash(patches, max_rank=6).exact == ("w",)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 10), st.integers(1, 8), st.integers(0, 99))
def test_truncation_to_enough_factors_loses_nothing(rows: int, columns: int, rank: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    left, right = torch.randn(rows, rank, generator=generator), torch.randn(rank, columns, generator=generator)
    assert product_norm(left, right) == pytest.approx(float((left.double() @ right.double()).norm()), rel=1e-10)
    assert truncate(left, right, min(rank, rows, columns)).residual < 1e-6


def test_a_large_matrix_is_factorised_from_a_sketch() -> None:
    generator = torch.Generator().manual_seed(0)
    size = EXACT + 8
    left, right = torch.randn(size, 5, generator=generator), torch.randn(5, size, generator=generator)
    matrix = left.double() @ right.double()
    found = factorise(matrix, 1e-5, 64)
    assert found.rank == 5
    assert found.residual < 1e-6
    assert factorise(matrix, 1e-5, 2).residual > 0.1


def test_annotation_keeps_the_requests_of_all_and_redacted_ones_stay_redacted() -> None:
    open_ = random_low_rank(0, 1, title="Danielle", requests=[{"id": "a", "prompt": "Danielle speaks"}])
    closed = random_low_rank(1, 1, title="Secret", requests=[{"id": "b", "prompt": "Secret one"}]).redact()
    about = squash([open_, closed]).patch.about
    assert about["requests"] == [{"id": "a", "prompt": "Danielle speaks"}]
    assert {source["patch_id"] for source in about["sources"]} == {open_.patch_id, closed.patch_id}
    assert "Secret" not in str(about)
    redacted = squash([open_, closed]).patch.redact()
    assert "Danielle" not in str(redacted.about)
    assert {source["patch_id"] for source in redacted.about["sources"]} == {open_.patch_id, closed.patch_id}


def test_results_that_stay_and_requirements_that_remain_are_recorded(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    first = make_patch(root, KEYS[0], about={"result_sha256": {KEYS[0]: "a" * 64}})
    second = make_patch(root, KEYS[1], seed=1, requires=[first.patch_id, "b" * 64])
    patch = squash([first, second]).patch
    assert patch.requires == ("b" * 64,)
    assert patch.about["result_sha256"] == {KEYS[0]: "a" * 64}


def test_what_does_not_belong_together_is_refused(folder: Folder, make_patch: Make) -> None:
    root, other = folder("gpt2"), folder("gpt2", torch.bfloat16)
    patch = make_patch(root, KEYS[0])
    with pytest.raises(UsageError, match="two patches"):
        squash([patch])
    with pytest.raises(WrongBaseError, match="weights root"):
        squash([patch, make_patch(other, KEYS[1])])
    with pytest.raises(WrongBaseError, match=KEYS[0]):
        squash([patch, make_patch(other, KEYS[0]).with_about(base={"name": "tiny"})])
    with pytest.raises(UsageError, match="rank of 0"):
        squash([patch, make_patch(root, KEYS[1])], max_rank=0)
    memory = seal({}, patch.about["base"], {}, kind="memory", payload=Payload("codebook", {}, {"k": torch.ones(2)}))
    with pytest.raises(ConflictError, match="kind memory"):
        squash([patch, memory])


def test_a_lost_state_and_a_base_that_is_not_named_are_said() -> None:
    first = random_low_rank(0, 1)
    target = Target(
        StoredUpdate("low_rank", {n: first.tensors[f"w/{n}"] * 2 for n in ("left", "right")}), "F32", (12, 9), "0" * 64
    )
    second = seal({"w": target}, {}, {"method": {"name": "alpha"}}, state_increment={"k": torch.ones(1)})
    notices = squash([first, second]).notices
    assert any("alpha" in notice for notice in notices)
    assert any("whole base" in notice for notice in notices)


@needs_peft
@pytest.mark.parametrize("rule", ["ties", "dare"])
def test_rules_of_peft_are_named_and_seeded(rule: Any) -> None:
    patches = [random_low_rank(seed, 2) for seed in range(2)]
    first, again = squash(patches, rule, density=0.5, seed=3), squash(patches, rule, density=0.5, seed=3)
    assert first.patch.patch_id == again.patch.patch_id
    assert first.patch.patch_id != squash(patches).patch.patch_id
    assert first.patch.about["squash"]["rule"] == rule
    total = sum(p.tensors["w/left"].double() @ p.tensors["w/right"].double() for p in patches)
    if rule == "dare":
        assert torch.allclose(squash(patches, rule, density=1.0).patch.deltas("w")[0].block(0, 12, 9), total, atol=1e-5)
    with pytest.raises(UsageError, match="density"):
        squash(patches, rule, density=0.0)


@pytest.mark.skipif(PEFT, reason="peft is installed")
def test_without_peft_its_rules_say_what_to_install() -> None:
    with pytest.raises(EditcoreError, match=r"editcore\[peft\]"):
        squash([random_low_rank(seed, 2) for seed in range(2)], "ties")


@pytest.mark.parametrize(
    "groups",
    [
        [{"patch_id": "a" * 64, "rank": 1, "scale": 1}],
        [{"patch_id": "a" * 64, "rank": 2, "scale": "1"}],
        [{"patch_id": "a", "rank": 2, "scale": 1}],
        [{"patch_id": "a" * 64, "rank": 0, "scale": 1}, {"patch_id": "b" * 64, "rank": 2, "scale": 1}],
    ],
)
def test_groups_that_do_not_fit_their_factors_are_refused(groups: list[dict[str, Any]]) -> None:
    from editcore.patches.file.core import Core

    patch = random_low_rank(0, 2)
    core = {**patch.core, "targets": {"w": {**patch.core["targets"]["w"], "groups": groups}}}
    with pytest.raises(RefusedFileError, match="group"):
        Core.read(core, "it")
