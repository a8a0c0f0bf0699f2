"""Extract: from two checkpoints to a patch, and from the first with the patch to the second."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from editcore.patches.arithmetic.rebuilding import rebuild
from editcore.patches.change.copying import apply_to_copy
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.compare.verification import verify_folder
from editcore.patches.exchange.extraction import extract
from editcore.patches.exchange.peft_export import write_adapter
from editcore.patches.exchange.squashing import squash
from editcore.patches.file.core import Core
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import Delta, StoredUpdate
from editcore.storage.tensors import blob_of
from editcore_hooks import ConflictError, EditcoreError, RefusedFileError, UsageError, WrongBaseError

KEY = "transformer.h.0.mlp.c_proj.weight"
BIAS = "transformer.h.1.mlp.c_fc.bias"
EMBEDDING = "transformer.wte.weight"
ELSEWHERE = "transformer.h.1.mlp.c_proj.weight"

Folder, Make = Callable[..., Path], Callable[..., Patch]


def edited(root: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    other = Path(shutil.copytree(root, root.parent / f"{root.name}-edited"))
    tensors = load_file(other / "model.safetensors")
    change(tensors)
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    return other


def stored(root: Path) -> dict[str, bytes]:
    checkpoint = Checkpoint.open(root)
    return {key: checkpoint.read(key) for key in checkpoint.entries}


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_exact_patch_leads_to_the_bits_of_the_edited_model(
    folder: Folder, make_patch: Make, tmp_path: Path, dtype: torch.dtype, sharded: bool
) -> None:
    root = folder("gpt2", dtype, sharded)
    apply_to_copy(root, tmp_path / "edited", [make_patch(root, KEY), make_patch(root, EMBEDDING, form="rows")])
    found = extract(Checkpoint.open(root), Checkpoint.open(tmp_path / "edited"), exact=True)
    assert found.residuals == {}
    assert set(found.exact) == {KEY, EMBEDDING} == set(found.patch.targets)
    found.patch.save(tmp_path / "p.safetensors")
    _, applied = apply_to_copy(root, tmp_path / "again", [Patch.load(tmp_path / "p.safetensors")])
    assert stored(tmp_path / "again") == stored(tmp_path / "edited")
    assert applied is not None
    assert not any("other bits" in notice for notice in applied.notices)


def test_a_low_rank_edit_is_found_within_the_tolerance(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    root = folder("gpt2")
    apply_to_copy(root, tmp_path / "edited", [make_patch(root, KEY)])
    found = extract(Checkpoint.open(root), Checkpoint.open(tmp_path / "edited"))
    target = found.patch.targets[KEY]
    assert (target.form.name, target.rank) == ("low_rank", 2)
    assert all(residual < 1e-5 for residual in found.residuals.values())
    assert found.patch.about["extract"]["residuals"] == found.residuals
    assert (
        extract(Checkpoint.open(root), Checkpoint.open(tmp_path / "edited"), max_rank=1).patch.targets[KEY].form.name
        == "dense"
    )


def test_vectors_single_places_and_rows_take_their_smallest_form(folder: Folder) -> None:
    root = folder("gpt2")

    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[BIAS] += 0.5
        tensors[KEY][3, 4] = 2.0
        tensors[EMBEDDING][[1, 30, 7]] *= -2.0

    other = edited(root, change)
    found = extract(Checkpoint.open(root), Checkpoint.open(other))
    forms = {key: target.form.name for key, target in found.patch.targets.items()}
    assert forms == {BIAS: "dense", KEY: "sparse", EMBEDDING: "rows"}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]), st.integers(0, 99))
def test_xor_gives_any_bits_and_twice_gives_the_first(dtype: torch.dtype, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    one, other = (torch.randn(3, 5, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    one[0, 0] = -0.0
    width = {2: torch.int16, 4: torch.int32, 8: torch.int64}[one.element_size()]
    unsigned = {2: torch.uint16, 4: torch.uint32, 8: torch.uint64}[one.element_size()]
    delta = Delta("xor", {"bits": (one.view(width) ^ other.view(width)).view(unsigned)})
    assert blob_of(rebuild(one, [delta])).data == blob_of(other).data
    assert blob_of(rebuild(other, [delta])).data == blob_of(one).data
    with pytest.raises(ConflictError, match="excludes"):
        rebuild(one, [delta, delta])


def xor_patch(root: Path, key: str, seed: int = 0) -> Patch:
    checkpoint = Checkpoint.open(root)
    entry = checkpoint.entries[key]
    bits = torch.randint(0, 2**8, entry.shape, generator=torch.Generator().manual_seed(seed)).to(torch.int32)
    target = Target(StoredUpdate("xor", {"bits": bits.view(torch.uint32)}), "F32", entry.shape, checkpoint.sha256(key))
    return seal({key: target}, {"name": "tiny", "weights_root": checkpoint.weights_root()}, {})


def test_an_xor_target_excludes_others_on_its_tensor_and_only_there(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    before = stored(root)
    bits, added, elsewhere = xor_patch(root, KEY), make_patch(root, KEY), make_patch(root, EMBEDDING)
    for pair in ([bits, added], [bits, xor_patch(root, KEY, 1)]):
        with pytest.raises(ConflictError, match=f"replaces the bits of {KEY}"):
            apply_on_disk(root, pair)
    with pytest.raises(ConflictError, match="excludes"):
        squash([bits, added])
    apply_on_disk(root, [bits])
    with pytest.raises(ConflictError, match=f"replaces the bits of {KEY}"):
        apply_on_disk(root, [added])
    apply_on_disk(root, [elsewhere])
    squashed = squash([bits, elsewhere]).patch
    revert_on_disk(root, [bits.patch_id, elsewhere.patch_id])
    assert stored(root) == before
    apply_on_disk(root, [squashed])
    assert bits.delta_norms() == {}


def test_bits_of_another_width_and_a_scale_on_bits_are_refused(folder: Folder) -> None:
    core = xor_patch(folder("gpt2"), KEY).core
    with pytest.raises(RefusedFileError, match="no scale"):
        Core.read({**core, "apply": {**core["apply"], "scale": 0.5}}, "it")
    with pytest.raises(RefusedFileError, match="another width"):
        Core.read({**core, "targets": {KEY: {**core["targets"][KEY], "base_dtype": "BF16"}}}, "it")


def test_what_no_delta_gives_is_xor_when_bits_are_asked_for(folder: Folder) -> None:
    root = folder("gpt2")
    # Neither float32 nor a sum in float64 holds 2^-140 beside 1.
    other = edited(root, lambda tensors: tensors[KEY].copy_(torch.randn(tensors[KEY].shape) * 2.0**-140))
    found = extract(Checkpoint.open(root), Checkpoint.open(other), exact=True)
    assert found.patch.targets[KEY].form.name == "xor"
    assert found.exact == (KEY,)
    loose = extract(Checkpoint.open(root), Checkpoint.open(other))
    assert loose.patch.targets[KEY].form.name == "dense"
    assert 0 < loose.residuals[KEY] < 1e-6


def test_other_models_are_refused_by_name(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    base = Checkpoint.open(root)
    with pytest.raises(WrongBaseError, match=r"lacks transformer\."):
        extract(base, Checkpoint.open(folder("llama")))
    with pytest.raises(WrongBaseError, match=r"is F32 .* and BF16"):
        extract(base, Checkpoint.open(folder("gpt2", torch.bfloat16)))
    with pytest.raises(UsageError, match="nothing to extract"):
        extract(base, Checkpoint.open(folder("gpt2")))
    other = edited(root, lambda tensors: tensors[KEY].fill_(torch.nan))
    with pytest.raises(RefusedFileError, match=f"{KEY} of .* not finite"):
        extract(base, Checkpoint.open(other))
    apply_on_disk(root, [make_patch(root, KEY)])
    with pytest.raises(UsageError, match="carries patches"):
        extract(Checkpoint.open(root), base)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]), st.integers(0, 99))
def test_replace_gives_the_stored_bits_whatever_was_there(dtype: torch.dtype, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    one, other = (torch.randn(3, 5, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    other[0, 0] = -0.0
    delta = Delta("replace", {"stored": other})
    result = rebuild(one, [delta])
    assert blob_of(result).data == blob_of(other).data
    result.zero_()
    assert other.any(), "the result is a copy"
    with pytest.raises(ConflictError, match="excludes"):
        rebuild(one, [delta, delta])
    with pytest.raises(ConflictError, match="replace is not a delta"):
        delta.block(0, 3, 5)


@pytest.mark.parametrize("form", ["xor", "replace"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_form_asked_for_takes_every_tensor_that_differs_and_gives_its_bits(
    folder: Folder, make_patch: Make, tmp_path: Path, form: Any, dtype: torch.dtype
) -> None:
    root = folder("gpt2", dtype)
    before = stored(root)
    apply_to_copy(root, tmp_path / "edited", [make_patch(root, KEY), make_patch(root, EMBEDDING, form="rows")])
    found = extract(Checkpoint.open(root), Checkpoint.open(tmp_path / "edited"), form=form)
    assert {target.form.name for target in found.patch.targets.values()} == {form}
    assert set(found.exact) == {KEY, EMBEDDING}
    found.patch.save(tmp_path / "p.safetensors")
    patch = Patch.load(tmp_path / "p.safetensors")
    apply_on_disk(root, [patch])
    assert stored(root) == stored(tmp_path / "edited")
    assert verify_folder(root).problems == ()
    with pytest.raises(ConflictError, match=f"replaces the bits of {KEY}"):
        apply_on_disk(root, [make_patch(root, KEY)])
    with pytest.raises(ConflictError, match="excludes"):
        squash([patch, make_patch(root, KEY)])
    squashed = squash([patch, make_patch(root, ELSEWHERE)]).patch
    assert squashed.targets[KEY].form.name == form
    assert patch.redact().patch_id == patch.patch_id
    with pytest.raises(UsageError, match=f"{EMBEDDING}|{KEY} is {form}"):
        write_adapter(patch, Checkpoint.open(root), tmp_path / "adapter")
    revert_on_disk(root, [patch.patch_id])
    assert stored(root) == before


def test_a_replacement_of_another_dtype_shape_or_scale_or_without_numbers_is_refused(folder: Folder) -> None:
    checkpoint = Checkpoint.open(folder("gpt2"))
    entry = checkpoint.entries[KEY]

    def target(stored: torch.Tensor) -> dict[str, Target]:
        update = StoredUpdate("replace", {"stored": stored})
        return {KEY: Target(update, entry.dtype, entry.shape, checkpoint.sha256(KEY))}

    good = target(torch.ones(entry.shape))
    seal(good, {}, {})
    for parts, message in (
        (torch.ones(entry.shape, dtype=torch.bfloat16), "replaced by BF16, and its base is F32"),
        (torch.ones(entry.shape[::-1]), "has a replacement"),
        (torch.full(entry.shape, torch.nan), "not finite"),
    ):
        with pytest.raises(EditcoreError, match=message):
            seal(target(parts), {}, {})
    with pytest.raises(EditcoreError, match="no scale"):
        seal(good, {}, {}, scale=0.5)
