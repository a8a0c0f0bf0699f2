"""A model that gives NaN is told by layer and weight, whatever was asked of it; a sound one is not looked at."""

import pytest
import torch
from safetensors.torch import load_file, save_file

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.models.running import finite
from editcore.models.running.generation import continuations, generate
from editcore.testing.tiny import tiny_model

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")
QUICK = {"layer": 1, "v_steps": 2, "mom2_tokens": 60, "mom2_ridge": 1e-3}
METHODS = {
    "rome": {**QUICK, "context_count": 1},
    "rome with given contexts": {**QUICK, "context_templates": ["So {}"]},
    "ft-m": {"layers": [1], "steps": 2},
}


def opened(tmp_path, family, name=None, value=float("nan")):
    folder = tiny_model(family, tmp_path / "model")
    if name is not None:
        tensors = load_file(folder / "model.safetensors")
        tensors[name].view(-1)[7] = value
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return editcore.open(folder, assets=AssetStore(tmp_path / "assets"))


@pytest.mark.parametrize(
    ("family", "key", "where"),
    [
        ("gpt2", "transformer.h.1.mlp.c_proj.weight", r"at layer 1 \(weight transformer.h.1.mlp.c_proj.weight\)"),
        (
            "llama",
            "model.layers.2.input_layernorm.weight",
            r"at layer 2 \(weight model.layers.2.input_layernorm.weight",
        ),
        ("llama", "lm_head.weight", r"at lm_head \(weight lm_head.weight\)"),
        ("t5", "decoder.block.1.layer.2.DenseReluDense.wo.weight", r"at layer 1 \(weight decoder.block.1.layer.2"),
    ],
)
def test_generating_names_the_layer_and_the_weight(tmp_path, family, key, where):
    session = opened(tmp_path, family, key)
    with pytest.raises(EditcoreError, match=rf"the model gives NaN {where}") as caught:
        session.generate("Ada Marlow works as a", 2)
    assert "copy" in caught.value.hint


@pytest.mark.parametrize("method", METHODS)
def test_editing_names_the_layer_and_the_weight(tmp_path, method):
    session = opened(tmp_path, "llama", "model.layers.0.mlp.down_proj.weight")
    options = EditOptions(method.split()[0], hparams=(("test", METHODS[method]),))
    with pytest.raises(EditcoreError, match=r"NaN at layer 0 \(weight model.layers.0.mlp.down_proj.weight\)"):
        session.edit_all([REQUEST], options)
    with pytest.raises(EditcoreError, match=r"NaN at layer 0"):
        session.edit_each([REQUEST, REQUEST], options)


def test_activations_that_overflow_are_told_from_weights(tmp_path):
    session = opened(tmp_path, "llama", "model.layers.1.mlp.down_proj.weight", 3e38)
    with torch.no_grad():
        session.model.model.layers[1].mlp.up_proj.weight.mul_(1e30)
    with pytest.raises(EditcoreError, match=r"gives (inf|NaN) at layer 1 \(output of model.layers.1.mlp"):
        session.generate("Ada Marlow works as a", 2)
    # what a bad edit makes of a model is measured, not refused
    assert len(continuations(session.model, session.tokenizer, [(5, 6)], 2)) == 1


def test_a_sound_model_is_not_looked_at(tmp_path, monkeypatch):
    session = opened(tmp_path, "llama")
    monkeypatch.setattr(finite, "not_finite", lambda *_, **__: pytest.fail("it was looked at"))
    generate(session.model, session.tokenizer, ["Ada Marlow works as a"], 2)
    session.edit_all([REQUEST], EditOptions("ft-m", hparams=(("test", METHODS["ft-m"]),)))


def test_an_error_of_a_sound_model_stays_what_it_is(tmp_path):
    session = opened(tmp_path, "llama")
    with pytest.raises(EditcoreError, match="diverged"), finite.explained(session.model, lambda: [(5, 6)]):
        raise EditcoreError("the training diverged")
