"""Differences of patches and folders: every field, and figures equal to those of the matrices."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import torch
from safetensors.torch import load_file, save_file

from editcore.patches.change.ondisk import apply_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.compare.diff import diff
from editcore.patches.compare.diff_pairs import _touching
from editcore.patches.exchange.extraction import extract
from editcore.patches.file.patch import Patch
from editcore_hooks import ConflictError, UsageError, WrongBaseError

Folder = Callable[..., Path]
Make = Callable[..., Patch]
KEYS = ["model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"]


def product(patch: Patch, key: str) -> torch.Tensor:
    return patch.scale * patch.tensors[f"{key}/left"].double() @ patch.tensors[f"{key}/right"].double()


def test_a_patch_does_not_differ_from_itself_and_annotation_is_a_difference_of_its_own(
    saved: Folder, make_patch: Make, tmp_path: Path
) -> None:
    patch = make_patch(saved("llama"), KEYS[0])
    one, two = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    patch.save(one)
    patch.with_about(title="another").save(two)
    assert not diff(one, one)
    found = diff(one, two)
    assert [(row.field, row.a, row.b) for row in found.manifest] == [("about.title", "patch 0", "another")]
    assert found
    assert found.tensors == ()


def test_figures_of_two_patches_are_those_of_the_matrices(saved: Folder, make_patch: Make, tmp_path: Path) -> None:
    root = saved("llama")
    a, b = make_patch(root, KEYS[0], seed=1), make_patch(root, *KEYS, seed=2, scale=0.5)
    for patch, name in ((a, "a"), (b, "b")):
        patch.save(tmp_path / f"{name}.safetensors")
    found = {row.tensor: row for row in diff(tmp_path / "a.safetensors", tmp_path / "b.safetensors", root).tensors}
    row, one, two = found[KEYS[0]], product(a, KEYS[0]), product(b, KEYS[0])
    assert row.a is not None
    assert row.b is not None
    assert (row.a.norm, row.b.norm) == pytest.approx((float(one.norm()), float(two.norm())))
    assert row.distance == pytest.approx(float((one - two).norm()))
    assert row.cosine == pytest.approx(float((one * two).sum() / one.norm() / two.norm()))
    assert row.a.effective_rank in (1, 2)
    assert row.a.relative_norm is not None
    bases = [torch.linalg.svd(matrix)[0][:, :2] for matrix in (one, two)]
    cosines = torch.linalg.svdvals(bases[0].T @ bases[1])
    assert row.left_angles == pytest.approx([math.degrees(math.acos(min(1.0, float(c)))) for c in cosines], abs=1e-3)
    assert (found[KEYS[1]].status, found[KEYS[1]].a) == ("only in b", None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_folders_are_compared_against_the_base_that_both_carry(
    folder: Folder, make_patch: Make, dtype: torch.dtype
) -> None:
    plain, one, two = (folder("llama", dtype) for _ in range(3))
    assert not diff(plain, one)
    patches = [make_patch(plain, KEYS[0], seed=1), make_patch(plain, *KEYS, seed=2)]
    apply_on_disk(one, patches[:1])
    apply_on_disk(two, patches[1:])
    found = diff(one, two)
    assert {"patches"} <= {row.field for row in found.manifest}
    rows = {row.tensor: row for row in found.tensors}
    assert list(rows) == KEYS
    assert rows[KEYS[1]].a is None
    row = rows[KEYS[0]]
    assert row.base == "base"
    assert row.a is not None
    assert row.a.norm == pytest.approx(float(product(patches[0], KEYS[0]).norm()), rel=0.02)
    assert row.a.effective_rank in (1, 2)
    from_plain = diff(plain, two)
    assert [each.a for each in from_plain.tensors] == [None, None]


def test_folders_of_other_models_are_compared_with_each_other(folder: Folder) -> None:
    one, two = folder("llama"), folder("llama", torch.bfloat16)
    assert {row.status for row in diff(one, two).tensors} == {"other shape or dtype"}
    gpt2 = diff(one, folder("gpt2"))
    assert {row.status for row in gpt2.tensors} == {"only in a", "only in b"}
    assert "config.model_type" in {row.field for row in gpt2.manifest}


def test_a_patch_and_a_folder(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    root = folder("llama")
    patch = make_patch(root, KEYS[0])
    path = tmp_path / "p.safetensors"
    patch.save(path)
    (before,) = diff(path, root).tensors
    assert (before.status, before.b) == ("only in a", None)
    assert before.a is not None
    assert before.a.relative_norm is not None
    apply_on_disk(root, [patch])
    (after,) = diff(root, path).tensors
    assert after.cosine == pytest.approx(1, abs=1e-5)
    assert max(after.left_angles) < 0.1
    with pytest.raises(WrongBaseError):
        diff(path, folder("gpt2"))
    with pytest.raises(UsageError, match="is not a folder"):
        diff(path, tmp_path / "nowhere")


def test_a_difference_is_json(saved: Folder, make_patch: Make, tmp_path: Path) -> None:
    root = saved("llama")
    for seed, name in enumerate("ab"):
        make_patch(root, KEYS[0], seed=seed, form="rows").save(tmp_path / f"{name}.safetensors")
    found = diff(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert json.loads(json.dumps(attrs.asdict(found), allow_nan=False))["tensors"][0]["tensor"] == KEYS[0]


@pytest.mark.parametrize("form", ["xor", "replace"])
def test_where_bits_are_set_the_share_of_elements_is_told_and_with_the_base_all_figures(
    folder: Folder, make_patch: Make, tmp_path: Path, form: Any
) -> None:
    base, one, two = (folder("llama") for _ in range(3))
    for root, rows in ((one, [0, 1]), (two, [1, 2, 3])):
        path = root / "model.safetensors"
        tensors = load_file(path)
        tensors[KEYS[0]][rows] += 1.0 + len(rows)
        save_file(tensors, path, {"format": "pt"})
        extract(Checkpoint.open(base), Checkpoint.open(root), form=form).patch.save(
            tmp_path / f"{len(rows)}.safetensors"
        )
    a, b = tmp_path / "2.safetensors", tmp_path / "3.safetensors"
    n = Checkpoint.open(base).entries[KEYS[0]].shape[0]
    (row,) = diff(a, b).tensors
    assert row.bits is not None
    assert row.bits.between == pytest.approx(4 / n)
    assert (row.bits.a, row.bits.b) == ((2 / n, 3 / n) if form == "xor" else (None, None))
    assert (row.a, row.b, row.distance) == (None, None, None)
    (row,) = diff(a, b, base).tensors
    assert row.bits is not None
    assert (row.bits.a, row.bits.b, row.bits.between) == pytest.approx((2 / n, 3 / n, 4 / n))
    columns = Checkpoint.open(base).entries[KEYS[0]].shape[1]
    assert row.a is not None
    assert row.a.norm == pytest.approx(math.sqrt(2 * columns) * 3, rel=1e-5)
    assert row.a.relative_norm is not None
    carrying = folder("llama")
    apply_on_disk(carrying, [Patch.load(b)])
    (row,) = diff(carrying, a).tensors
    assert row.bits is not None
    assert (row.bits.a, row.bits.b, row.bits.between) == pytest.approx((3 / n, 2 / n, 4 / n))
    added = make_patch(base, KEYS[0])
    added.save(tmp_path / "added.safetensors")
    (row,) = diff(a, tmp_path / "added.safetensors").tensors
    assert row.bits is not None
    assert row.bits.between is None
    assert (row.a is None, row.b is None) == (True, False)
    assert json.loads(json.dumps(attrs.asdict(row), allow_nan=False))["bits"]["b"] is None


def header(patch_id: str, **shapes: tuple[int, ...]) -> Any:
    targets = {name.replace("__", "."): SimpleNamespace(shape=shape) for name, shape in shapes.items()}
    return SimpleNamespace(patch_id=patch_id, targets=targets)


def test_one_tensor_by_two_names_is_one_between_patches_and_two_within_a_patch() -> None:
    own, other = "wte__weight", "transformer__wte__weight"
    between = _touching([header("a", **{own: (4, 2)}), header("b", **{other: (4, 2)})])
    assert {key: len(named) for key, named in between.items()} == {"wte.weight": 2}
    within = _touching([header("a", **{own: (4, 2), other: (4,)})])
    assert {key: len(named) for key, named in within.items()} == {"wte.weight": 1, "transformer.wte.weight": 1}
    with pytest.raises(ConflictError, match="different shapes"):
        _touching([header("a", **{own: (4, 2)}), header("b", **{own: (4,)})])
