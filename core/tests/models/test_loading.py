"""A folder is opened in a named dtype without a network, or refused with what to do."""

import copy
import json
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils import logging

from editcore.models.loading import attention
from editcore.models.loading.loader import load
from editcore.models.loading.weight_files import weight_files
from editcore.models.running.generation import generate
from editcore.models.tokens.spans import encode_prompt
from editcore.testing.tiny import LINEAR_ATTENTION, tiny_model
from editcore_hooks import EditcoreError, RefusedFileError, UsageError


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def rewrite(path: Path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2"])
@pytest.mark.parametrize("options", [{}, {"max_shard_size": "20KB"}])
def test_a_folder_loads_what_was_saved(folder, models, family, options):
    where = folder(family, **options)
    loaded = load(where)
    assert (loaded.name, loaded.revision, loaded.folder) == ("model", None, where)
    for name, parameter in models[family].named_parameters():
        assert torch.equal(loaded.model.get_parameter(name), parameter)
    assert loaded.tokenizer.decode(loaded.tokenizer("Paris is")["input_ids"]) == "Paris is"
    assert loaded.tokenizer.is_fast


def test_a_model_opens_in_eval_mode_without_gradients(folder):
    model = load(folder()).model
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("stored", ["float32", "bfloat16", "float16"])
def test_a_cpu_runs_in_float32_whatever_is_stored(folder, models, stored):
    narrow = type(models["llama"])(models["llama"].config).to(getattr(torch, stored))
    loaded = load(folder(narrow))
    assert (loaded.stored_dtype, loaded.dtype) == (stored, "float32")
    for name, parameter in narrow.named_parameters():
        assert torch.equal(loaded.model.get_parameter(name), parameter.float())


def test_a_dtype_that_is_named_is_used(folder):
    where = folder()
    loaded = load(where, dtype="bfloat16")
    assert (loaded.stored_dtype, loaded.dtype, loaded.model.dtype) == ("float32", "bfloat16", torch.bfloat16)
    with pytest.raises(UsageError, match="'int8' is not a supported dtype"):
        load(where, dtype="int8")


@pytest.mark.parametrize("refuses", [False, True])
def test_where_the_fused_attention_refuses_a_dtype_the_plain_one_reads(folder, refuses, monkeypatch):
    def fused(query, key, value, is_causal):
        if refuses:
            raise RuntimeError("packing is only supported with other instructions")
        return value

    attention._runs.cache_clear()
    monkeypatch.setattr(attention, "scaled_dot_product_attention", fused)
    chosen = load(folder(), dtype="bfloat16").model.config._attn_implementation
    attention._runs.cache_clear()
    assert chosen == ("eager" if refuses else "sdpa")


def test_float64_is_not_narrowed(folder, models):
    wide = type(models["llama"])(models["llama"].config).double()
    assert load(folder(wide)).dtype == "float64"


def test_nothing_is_said_and_no_setting_stays_changed(folder, capfd):
    where = folder()
    capfd.readouterr()
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(where)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_settings_come_back_after_a_failure(folder):
    where = folder()
    (where / "tokenizer.json").write_text("{")
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with pytest.raises(RefusedFileError, match="the tokenizer of model did not load"):
        load(where)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_the_vocabulary_gains_no_padding_token(folder, gpt2_tokenizer):
    tokenizer = load(folder()).tokenizer
    assert len(tokenizer) == len(gpt2_tokenizer)
    assert tokenizer.pad_token is None


def test_a_tied_head_is_not_missing(folder):
    loaded = load(folder("qwen2"))
    assert "lm_head.weight" not in load_file(loaded.folder / "model.safetensors")
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight


def test_a_model_saved_without_its_tied_head_loads(folder, models):
    model = load(folder(models["gpt2"].transformer)).model
    assert torch.equal(model.lm_head.weight, models["gpt2"].lm_head.weight)


def test_the_single_file_counts_beside_an_index_as_it_does_for_transformers(folder, models):
    where = folder("llama", max_shard_size="20KB")
    other = {name: parameter + 1 for name, parameter in models["llama"].named_parameters()}
    save_file(other, where / "model.safetensors", metadata={"format": "pt"})
    assert weight_files(where) == (where / "model.safetensors",)
    assert torch.equal(load(where).model.lm_head.weight, models["llama"].lm_head.weight + 1)


def test_a_missing_shard_is_refused(folder):
    where = folder("llama", max_shard_size="20KB")
    lost = sorted(where.glob("model-*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(RefusedFileError, match=f"lacks the shard {lost.name}"):
        load(where)


def test_missing_weights_are_refused_and_not_drawn_at_random(folder):
    where = folder("llama")
    tensors = load_file(where / "model.safetensors")
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, where / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RefusedFileError, match=r"has no weights for model.layers.1.mlp.down_proj.weight"):
        load(where)


def test_a_head_that_is_not_tied_must_be_there(folder, models):
    with pytest.raises(RefusedFileError, match=r"has no weights for lm_head.weight"):
        load(folder(models["llama"].model))


def test_weights_of_another_family_are_refused(folder, models):
    where = folder("gpt2")
    models["llama"].config.save_pretrained(where)
    with pytest.raises(RefusedFileError, match=r"has no weights for lm_head.weight, .* and 2[0-9] more"):
        load(where)


def test_weights_of_another_shape_are_refused(folder):
    where = folder("llama")
    rewrite(where / "config.json", lambda config: config.update(intermediate_size=40))
    with pytest.raises(RefusedFileError, match=r"did not load|another shape"):
        load(where)


def test_pickled_weights_are_refused_with_how_to_convert_them(folder):
    where = folder()
    (where / "model.safetensors").unlink()
    torch.save({}, where / "pytorch_model.bin")
    with pytest.raises(RefusedFileError, match=r"\.bin") as caught:
        load(where)
    assert "save_pretrained" in caught.value.hint


def test_a_folder_without_weights_is_refused(folder):
    where = folder()
    (where / "model.safetensors").unlink()
    with pytest.raises(RefusedFileError, match=r"holds no model.safetensors"):
        load(where)


def test_a_folder_without_a_config_is_no_model(tmp_path):
    with pytest.raises(UsageError, match=r"holds no config.json"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"model_type": "gpt2", "model_type": "llama"}'])
def test_a_config_that_is_no_json_object_is_refused(folder, text):
    where = folder()
    (where / "config.json").write_text(text)
    with pytest.raises(RefusedFileError, match=r"config.json is (not|nested too deep)"):
        load(where)


@pytest.mark.parametrize("content", [b"", b"not a header at all", b"\xff" * 64])
def test_a_broken_weight_file_is_refused(folder, content):
    where = folder()
    (where / "model.safetensors").write_bytes(content)
    with pytest.raises(RefusedFileError, match="is not a safetensors file"):
        load(where)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/hosts", "..", 3])
def test_an_index_that_names_other_places_is_refused(folder, name):
    where = folder("llama", max_shard_size="20KB")
    rewrite(where / "model.safetensors.index.json", lambda index: index["weight_map"].update({"lm_head.weight": name}))
    with pytest.raises(RefusedFileError, match="is not a file name"):
        load(where)


@pytest.mark.parametrize("nested", [False, True])
def test_a_quantised_model_is_refused(folder, nested):
    where = folder()
    quantised = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    rewrite(where / "config.json", lambda config: config.update({"text_config": quantised} if nested else quantised))
    with pytest.raises(RefusedFileError, match="is quantised"):
        load(where)


def test_integer_weights_are_refused(folder):
    where = folder()
    tensors = {"transformer.wte.weight": torch.zeros(4, 4, dtype=torch.int8)}
    save_file(tensors, where / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RefusedFileError, match="stored as I8"):
        load(where)


@pytest.mark.skipif(not LINEAR_ATTENTION, reason="this transformers has none")
def test_an_old_transformers_does_not_read_a_state_in_place_of_keys(tmp_path, monkeypatch):
    folder = tiny_model(LINEAR_ATTENTION[0], tmp_path / "model")
    monkeypatch.setattr("editcore.models.loading.old_versions.version", lambda library: "5.14.1")
    with pytest.raises(RefusedFileError, match="reads padding as text") as caught:
        load(folder)
    assert "transformers>=5.15" in str(caught.value.hint)
    load(tiny_model("llama", tmp_path / "llama"))


def test_a_family_that_transformers_does_not_know_is_refused(folder):
    where = folder()
    rewrite(where / "config.json", lambda config: config.update(model_type="unheard-of"))
    with pytest.raises(RefusedFileError, match="did not load"):
        load(where)


def test_a_device_that_is_not_there_is_named(folder):
    where = folder()
    for device in ("abacus", "cuda:99"):
        with pytest.raises(UsageError, match=f"no device {device}"):
            load(where, device=device)


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for source in (tmp_path / "absent", file, str(file), "./absent", "a/b/c"):
        with pytest.raises(UsageError, match="is not a folder"):
            load(source)


def test_the_folder_one_stands_in_has_a_name(folder, monkeypatch):
    monkeypatch.chdir(folder())
    assert load(".").name == "model"


def test_a_local_folder_has_no_revision(folder):
    with pytest.raises(UsageError, match="has no revisions"):
        load(folder(), revision="main")


@pytest.fixture
def offline_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_repository_that_cannot_be_reached_says_how_to_go_on(offline_cache):
    with pytest.raises(
        EditcoreError, match=r"no folder somebody/some-model, and no model of that name could be fetched"
    ) as caught:
        load("somebody/some-model")
    assert "pass the folder" in caught.value.hint


def test_a_cached_repository_opens_offline_under_its_name_and_commit(offline_cache, folder):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = offline_cache / "models--somebody--some-model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    folder().rename(repository / "snapshots" / commit)
    loaded = load("somebody/some-model")
    assert (loaded.name, loaded.revision) == ("somebody/some-model", commit)


def test_a_tokenizer_with_more_words_than_the_embedding_has_rows_is_refused(folder, models):
    where = folder("llama")
    model = type(models["llama"])(copy.deepcopy(models["llama"].config))
    model.resize_token_embeddings(300)
    model.save_pretrained(where)
    with pytest.raises(RefusedFileError, match=r"a token '.+' with id 300, and the embedding has 300 rows") as caught:
        load(where)
    assert "tokenizer" in caught.value.hint


def test_an_added_token_without_a_row_is_refused_where_a_text_holds_it(folder):
    where = folder("llama")
    tokenizer = load(where).tokenizer
    tokenizer.add_tokens(["<image>"])
    tokenizer.save_pretrained(where)
    loaded = load(where)  # as Gemma 3, whose text models have a tokenizer with one token more
    assert loaded.model.get_input_embeddings().num_embeddings < len(loaded.tokenizer)
    generate(loaded.model, loaded.tokenizer, ["Paris is"], 1)
    for ask in (
        lambda text: generate(loaded.model, loaded.tokenizer, [text], 1),
        lambda text: encode_prompt(loaded.tokenizer, text, "Paris"),
        lambda text: encode_prompt(loaded.tokenizer, "Paris is", text),
    ):
        with pytest.raises(UsageError, match=r"the token '<image>' has id \d+, and the embedding has \d+ rows"):
            ask("of <image> is")
