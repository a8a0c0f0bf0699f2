"""One tensor, two names: parameters in memory and keys in files find each other."""

import json

import pytest
import torch
from safetensors.torch import load_file

from editcore.models.anatomy.model_map import Anatomy
from editcore.models.anatomy.parameter_keys import counterpart
from editcore_hooks import RefusedFileError, Site


def tensors_of(folder):
    files = sorted(folder.glob("*.safetensors"))
    return {key: value for file in files for key, value in load_file(file).items()}


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("with_head", [True, False])
def test_every_parameter_is_found_under_the_key_that_holds_its_numbers(model, tmp_path, sharded, with_head):
    saved = model if with_head else model.base_model
    saved.save_pretrained(tmp_path, **({"max_shard_size": "20KB"} if sharded else {}))
    assert len(list(tmp_path.glob("*.safetensors"))) > 1 or not sharded
    stored, anatomy = tensors_of(tmp_path), Anatomy.of(model)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name == "lm_head.weight" and not with_head and not anatomy.tied:
            continue
        key = anatomy.key_of(name, stored)
        assert torch.equal(stored[key], parameter), (name, key)
    for key in stored:
        assert torch.equal(model.get_parameter(anatomy.parameter_of(key)), stored[key])


def test_a_bare_model_finds_the_keys_of_a_whole_one(models, tmp_path):
    models["gpt2"].save_pretrained(tmp_path)
    stored = tensors_of(tmp_path)
    anatomy = Anatomy.of(models["gpt2"].transformer, ())
    assert anatomy.key_of("h.0.mlp.c_proj.weight", stored) == "transformer.h.0.mlp.c_proj.weight"
    assert anatomy.parameter_of("transformer.h.0.mlp.c_proj.weight") == "h.0.mlp.c_proj.weight"


def test_a_tied_head_is_the_embedding_in_the_files(models, tmp_path):
    for family, embedding in (("gpt2", "transformer.wte.weight"), ("qwen2", "model.embed_tokens.weight")):
        anatomy = Anatomy.of(models[family])
        models[family].save_pretrained(tmp_path / family)
        stored = tensors_of(tmp_path / family)
        assert anatomy.tied == ((embedding, "lm_head.weight"),)
        assert anatomy.key_of("lm_head.weight", stored) == embedding
    assert Anatomy.of(models["llama"]).tied == ()


def test_a_head_that_is_not_tied_and_not_there_is_an_error(models):
    anatomy = Anatomy.of(models["llama"])
    with pytest.raises(RefusedFileError, match=r"no tensor here corresponds to lm_head.weight"):
        anatomy.key_of("lm_head.weight", {"model.embed_tokens.weight"})


def test_two_keys_for_one_parameter_are_an_error():
    with pytest.raises(RefusedFileError, match=r"twice: a.h.0, h.0"):
        counterpart("b.h.0", {"h.0", "a.h.0"}, ("a.", "b."))


def test_the_exact_name_wins_over_aliases():
    assert counterpart("h.0", {"h.0", "a.h.0"}, ("a.",)) == "h.0"


def test_prefixes_are_exchanged_both_ways():
    file, memory = (
        "language_model.model.layers.0.mlp.down_proj.weight",
        "model.language_model.layers.0.mlp.down_proj.weight",
    )
    prefixes = ("language_model.model.", "model.language_model.")
    assert counterpart(memory, {file}, prefixes) == file
    assert counterpart(file, {memory}, prefixes) == memory


def test_keys_of_the_index_are_enough(models, tmp_path):
    models["llama"].save_pretrained(tmp_path, max_shard_size="20KB")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    anatomy = Anatomy.of(models["llama"])
    name = anatomy.parameter(Site("mlp_out", 2))[0]
    assert anatomy.key_of(name, index["weight_map"].keys()) == "model.layers.2.mlp.down_proj.weight"
