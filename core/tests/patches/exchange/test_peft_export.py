"""The adapter that peft loads says what the patched model says."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from editcore.patches.change.copying import apply_to_copy
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.exchange.peft_export import write_adapter
from editcore.patches.exchange.squashing import squash
from editcore.patches.file.patch import Patch
from editcore_hooks import EditcoreError, UsageError

needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft, an optional extra, is absent")
KEYS = {
    "gpt2": ("transformer.h.0.mlp.c_proj.weight", "transformer.h.1.mlp.c_fc.weight"),
    "gpt2-headless": ("h.0.mlp.c_proj.weight", "h.1.mlp.c_fc.weight"),
    "llama": ("model.layers.0.mlp.down_proj.weight", "model.layers.1.self_attn.o_proj.weight"),
}

Folder, Make = Callable[..., Path], Callable[..., Patch]


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.tensor([[2, 3, 5, 7]])).logits


@needs_peft
@pytest.mark.parametrize("family", KEYS)
def test_peft_loads_it_and_gives_the_logits_of_the_patched_model(
    folder: Folder, make_patch: Make, tmp_path: Path, family: str
) -> None:
    from peft import PeftModel

    root = folder(family)
    first, second = KEYS[family]
    patch = squash([make_patch(root, first, second, scale=0.5), make_patch(root, first, seed=1, scale=-1.0)]).patch
    adapter = write_adapter(patch, Checkpoint.open(root), tmp_path / "adapter")
    assert sorted(adapter.ranks.values()) == [2, 4]
    apply_to_copy(root, tmp_path / "patched", [patch])
    # The headless one has no lm_head to load; its embedding is tied to it.
    expected = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "patched"))
    base = AutoModelForCausalLM.from_pretrained(root)
    plain = logits(base)
    found = logits(PeftModel.from_pretrained(base, str(tmp_path / "adapter")))
    assert (found - expected).abs().max() < 1e-5 < (plain - expected).abs().max()


@needs_peft
def test_peft_finds_a_local_base_by_the_adapter_alone(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    root = folder("llama")
    write_adapter(make_patch(root, KEYS["llama"][0]), Checkpoint.open(root), tmp_path / "adapter")
    loaded = AutoPeftModelForCausalLM.from_pretrained(str(tmp_path / "adapter"))
    assert (logits(loaded) - logits(AutoModelForCausalLM.from_pretrained(root))).abs().max() > 1e-5


@pytest.mark.parametrize("form", ["dense", "sparse", "rows"])
def test_other_forms_are_factorised_or_refused(folder: Folder, make_patch: Make, tmp_path: Path, form: str) -> None:
    root = folder("llama")
    patch = make_patch(root, KEYS["llama"][0], form=form)
    adapter = write_adapter(patch, Checkpoint.open(root), tmp_path / "a")
    assert max(adapter.residuals.values()) <= 1e-2
    with pytest.raises(EditcoreError, match="1 factors miss"):
        write_adapter(patch, Checkpoint.open(root), tmp_path / "b", max_rank=1)
    assert not (tmp_path / "b").exists()
    assert json.loads((tmp_path / "a" / "adapter_config.json").read_text())["lora_alpha"] == max(adapter.ranks.values())


@pytest.mark.parametrize("form", ["dense", "sparse", "rows", "low_rank"])
def test_a_change_beyond_32_bit_floats_is_refused(folder: Folder, make_patch: Make, tmp_path: Path, form: str) -> None:
    root = folder("llama")
    with pytest.raises(EditcoreError, match="overflows F32"):
        write_adapter(make_patch(root, KEYS["llama"][0], form=form, scale=1e200), Checkpoint.open(root), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_what_no_adapter_holds_is_refused(folder: Folder, make_patch: Make, tmp_path: Path) -> None:
    root = folder("gpt2")
    with pytest.raises(UsageError, match="weight of Embedding"):
        write_adapter(make_patch(root, "transformer.wte.weight", form="rows"), Checkpoint.open(root), tmp_path / "a")
