"""Which tensor is meant, under whatever name; ties; the verdict on a base."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from editcore.models.anatomy.keys import aliases, tied_names
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.resolving import judge, require_base
from editcore.patches.file.patch import Patch
from editcore_hooks import ConflictError, RefusedFileError, WrongBaseError

Folder = Callable[..., Path]
Make = Callable[..., Patch]

HEADLESS, HEADED = "h.1.mlp.c_proj.weight", "transformer.h.1.mlp.c_proj.weight"


def rewrite(root: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    tensors = load_file(root / "model.safetensors")
    change(tensors)
    save_file(tensors, root / "model.safetensors", {"format": "pt"})
    return root


def test_the_table_of_prefixes_leads_from_each_name_to_the_others() -> None:
    assert HEADED in aliases(HEADLESS)
    assert HEADLESS in aliases(HEADED)
    nested = "model.language_model.layers.0.mlp.down_proj.weight"
    released = "language_model.model.layers.0.mlp.down_proj.weight"
    plain = "model.layers.0.mlp.down_proj.weight"
    for one in (nested, released, plain):
        assert {nested, released, plain} - {one} <= set(aliases(one))
    assert HEADED not in aliases(HEADED)


@pytest.mark.parametrize(
    ("made_on", "put_on", "key"), [("gpt2", "gpt2-headless", HEADED), ("gpt2-headless", "gpt2", HEADLESS)]
)
def test_gpt2_with_and_without_its_head_is_one_model(
    folder: Folder, make_patch: Make, made_on: str, put_on: str, key: str
) -> None:
    patch = make_patch(folder(made_on), key)
    root = folder(put_on)
    # The two are saved from one seed but initialised on their own: give them one set of weights.
    source = load_file(folder(made_on) / "model.safetensors")
    prefix = "transformer."
    renamed = {k.removeprefix(prefix) if put_on == "gpt2-headless" else prefix + k: v for k, v in source.items()}
    save_file(renamed, root / "model.safetensors", {"format": "pt"})
    other = HEADLESS if key == HEADED else HEADED
    verdict = judge(patch, Checkpoint.open(root))
    assert (verdict.kind, dict(verdict.keys)) == ("targets_match", {key: other})
    assert f"{key} is called {other}" in verdict.notices[0]
    before = Checkpoint.open(root).sha256(other)
    apply_on_disk(root, [patch])
    assert Checkpoint.open(root).sha256(other) != before
    revert_on_disk(root, [patch.patch_id])
    assert Checkpoint.open(root).sha256(other) == before


def test_an_alias_in_the_patch_is_followed(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    patch = make_patch(root, HEADED)
    rewrite(root, lambda tensors: tensors.update({"blocks.one.out": tensors.pop(HEADED)}))
    named = patch.with_about(aliases={HEADED: ["elsewhere", "blocks.one.out"]})
    assert judge(named, Checkpoint.open(root)).keys == {HEADED: "blocks.one.out"}


def test_a_tensor_under_a_name_nobody_knows_is_found_by_its_content(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    patch = make_patch(root, HEADED)
    rewrite(root, lambda tensors: tensors.update({"blocks.one.out": tensors.pop(HEADED)}))
    assert judge(patch, Checkpoint.open(root)).keys == {HEADED: "blocks.one.out"}


def test_two_equal_tensors_are_too_many_to_choose_from(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    patch = make_patch(root, HEADED)
    rewrite(root, lambda t: t.update({"x.out": t[HEADED].clone(), "y.out": t.pop(HEADED)}))
    with pytest.raises(ConflictError, match=r"could be x\.out or y\.out"):
        judge(patch, Checkpoint.open(root))


def test_the_name_decides_even_where_another_tensor_has_the_content(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    patch = make_patch(root, HEADED)
    other = HEADED.replace("1", "0")
    rewrite(root, lambda t: t.update({HEADED: t[other], other: t[HEADED]}))
    verdict = judge(patch, Checkpoint.open(root))
    assert verdict.kind == "wrong"
    assert HEADED in str(verdict.problem)


def test_a_model_without_the_tensor_is_the_wrong_base(folder: Folder, make_patch: Make) -> None:
    patch = make_patch(folder("gpt2"), HEADED)
    with pytest.raises(WrongBaseError, match=f"has no tensor {HEADED}"):
        require_base(patch, Checkpoint.open(folder("llama")))


def test_the_verdict_is_exact_only_when_every_tensor_agrees(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    patch = make_patch(root, HEADED)
    assert judge(patch, Checkpoint.open(root)).kind == "targets_match"
    assert judge(patch, Checkpoint.open(root), whole=True).kind == "exact"
    assert require_base(patch, Checkpoint.open(root), strict=True).kind == "exact"
    rewrite(root, lambda tensors: tensors["transformer.ln_f.bias"].add_(1))
    assert judge(patch, Checkpoint.open(root), whole=True).kind == "targets_match"
    assert require_base(patch, Checkpoint.open(root)).kind == "targets_match"
    with pytest.raises(WrongBaseError, match="expected weights root"):
        require_base(patch, Checkpoint.open(root), strict=True)


def test_another_structure_is_said(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    patch = make_patch(root, HEADED)
    config = json.loads((root / "config.json").read_text())
    (root / "config.json").write_text(json.dumps({**config, "activation_function": "relu"}))
    assert "the structure of" in judge(patch, Checkpoint.open(root)).notices[0]


def test_a_tied_tensor_is_named(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    wte = "transformer.wte.weight"
    assert "input embedding and output head at once" in judge(make_patch(root, wte), Checkpoint.open(root)).notices[0]
    assert judge(make_patch(root, "transformer.wpe.weight"), Checkpoint.open(root)).notices == ()
    untied = folder("llama")
    assert judge(make_patch(untied, "model.embed_tokens.weight"), Checkpoint.open(untied)).notices == ()


def test_a_tied_head_is_found_under_the_name_of_the_embedding(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    wte = "transformer.wte.weight"
    rewrite(root, lambda tensors: tensors.update({"lm_head.weight": tensors.pop(wte)}))
    patch = make_patch(root, "lm_head.weight")
    rewrite(root, lambda tensors: tensors.update({wte: tensors.pop("lm_head.weight")}))
    assert judge(patch, Checkpoint.open(root)).keys == {"lm_head.weight": wte}


def test_a_tied_tensor_stored_twice_is_refused(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    wte = "transformer.wte.weight"
    rewrite(root, lambda tensors: tensors.update({"lm_head.weight": tensors[wte].clone()}))
    with pytest.raises(ConflictError, match=r"lm_head\.weight is a stored copy of transformer\.wte\.weight"):
        judge(make_patch(root, wte), Checkpoint.open(root))


def test_ties_are_those_of_the_configuration() -> None:
    keys = ["model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"]
    tied = {"tie_word_embeddings": True}
    assert tied_names(keys[0], keys, tied) == ("lm_head.weight",)
    assert tied_names(keys[1], keys, tied) == ("model.embed_tokens.weight",)
    assert tied_names(keys[2], keys, tied) == ()
    assert tied_names(keys[0], keys, {"tie_word_embeddings": False}) == ()
    assert tied_names(keys[0], keys, {"text_config": {"tie_word_embeddings": False}}) == ()


def test_an_integer_tensor_is_refused(folder: Folder, make_patch: Make) -> None:
    root = folder("gpt2")
    patch = make_patch(root, HEADED)
    rewrite(root, lambda tensors: tensors.update({HEADED: tensors[HEADED].to(torch.int8)}))
    with pytest.raises(RefusedFileError, match="stored as I8"):
        judge(patch, Checkpoint.open(root))
