"""Extract between checkpoints of one model that different tools saved: other names, masks, the head stored twice."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from editcore.patches.change.copying import apply_to_copy
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.pairing import pair
from editcore.patches.exchange.extraction import extract
from editcore.patches.file.patch import Patch
from editcore_hooks import RefusedFileError, WrongBaseError

KEY = "transformer.h.0.mlp.c_proj.weight"
EMBEDDING = "transformer.wte.weight"
Tensors = dict[str, torch.Tensor]
Folder, Make = Callable[..., Path], Callable[..., Patch]


def saved_otherwise(root: Path, name: str, change: Callable[[Tensors], Tensors], **config: bool) -> Path:
    other = Path(shutil.copytree(root, root.parent / name, ignore=shutil.ignore_patterns("*editcore*")))
    tensors = change(load_file(other / "model.safetensors"))
    save_file({key: tensor.clone() for key, tensor in tensors.items()}, other / "model.safetensors", {"format": "pt"})
    values = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**values, **config}))
    return other


def older(tensors: Tensors) -> Tensors:
    """As releases before 4.0 saved GPT-2: no prefix, masks beside the weights, the head a second time."""
    named = {key.removeprefix("transformer."): tensor for key, tensor in tensors.items()}
    masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 16, 16, dtype=torch.uint8).tril() for i in range(2)}
    scalars = {f"h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(2)}
    return {**named, **masks, **scalars, "lm_head.weight": named["wte.weight"]}


@pytest.mark.parametrize("key", [KEY, EMBEDDING])
@pytest.mark.parametrize("tied", [{}, {"tie_word_embeddings": True}])
def test_another_tool_s_names_buffers_and_second_head_are_paired(
    folder: Folder, make_patch: Make, tmp_path: Path, key: str, tied: dict[str, bool]
) -> None:
    root = folder("gpt2")
    apply_to_copy(root, tmp_path / "new", [make_patch(root, key)])
    edited = saved_otherwise(tmp_path / "new", "old", older, **tied)
    found = extract(Checkpoint.open(root), Checkpoint.open(edited), exact=True)
    assert list(found.patch.targets) == [key]
    assert found.exact == (key,)
    assert any("other names: " in notice and "h.0.attn" in notice for notice in found.notices)
    assert any(notice.startswith("4 buffers") for notice in found.notices)
    apply_to_copy(root, tmp_path / "again", [found.patch])
    assert Checkpoint.open(tmp_path / "again").read(key) == Checkpoint.open(tmp_path / "new").read(key)


def test_an_older_save_is_a_base_too(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    root = folder("gpt2")
    apply_to_copy(root, tmp_path / "edited", [make_patch(root, KEY)])
    base = saved_otherwise(root, "older", older)
    found = extract(Checkpoint.open(base), Checkpoint.open(tmp_path / "edited"))
    assert list(found.patch.targets) == [KEY.removeprefix("transformer.")]
    both = saved_otherwise(tmp_path / "edited", "both", older)
    assert extract(Checkpoint.open(base), Checkpoint.open(both)).patch.patch_id == found.patch.patch_id


def test_a_head_that_was_changed_apart_from_its_embedding_is_not_missed(folder: Folder) -> None:
    root = folder("gpt2")

    def change(tensors: Tensors) -> Tensors:
        return {**tensors, "lm_head.weight": tensors[EMBEDDING] + 1}

    edited = saved_otherwise(root, "edited", change, tie_word_embeddings=True)
    with pytest.raises(RefusedFileError, match=f"lm_head.weight differs from {EMBEDDING}"):
        extract(Checkpoint.open(root), Checkpoint.open(edited))
    untied = saved_otherwise(root, "untied", change, tie_word_embeddings=False)
    with pytest.raises(WrongBaseError, match=r"lacks lm_head\.weight"):
        extract(Checkpoint.open(root), Checkpoint.open(untied))
    before = saved_otherwise(root, "before", lambda t: {**t, "lm_head.weight": t[EMBEDDING]}, tie_word_embeddings=False)
    assert list(extract(Checkpoint.open(before), Checkpoint.open(untied)).patch.targets) == ["lm_head.weight"]


def test_a_weight_that_is_missing_or_of_another_shape_is_named(folder: Folder) -> None:
    root = folder("gpt2")
    less = saved_otherwise(root, "less", lambda t: {key: value for key, value in t.items() if key != KEY})
    other = saved_otherwise(root, "other", lambda t: {**t, KEY: t[KEY][:, :3]})
    for edited, message in ((less, f"lacks {KEY}"), (other, f"{KEY} is F32")):
        with pytest.raises(WrongBaseError, match=message):
            pair(Checkpoint.open(root), Checkpoint.open(edited))
