"""Tiny models are real ones: they open as any folder does, and every part of them shows."""

import hashlib
import subprocess
import sys

import pytest
import torch

from editcore.models.loading.loader import load
from editcore.testing.tiny import FAMILIES, tiny_model
from editcore_hooks import UsageError

TEXTS = ["Ada Marlow works as a", "The capital of France is Paris, and it's Zürich 1913!"]


def digest(folder):
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".json"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def logits(loaded, text):
    ids = torch.tensor([loaded.tokenizer(text)["input_ids"]])
    more = {"decoder_input_ids": torch.tensor([[0, 5, 6]])} if loaded.model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return loaded.model(input_ids=ids, **more).logits[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_model_opens_and_tells_texts_apart(tmp_path, family):
    before = torch.random.get_rng_state()
    folder = tiny_model(family, tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)
    loaded = load(folder)
    assert loaded.stored_dtype == "float32"
    assert loaded.model.get_input_embeddings().weight.shape[0] == len(loaded.tokenizer)
    first, second = (logits(loaded, text) for text in TEXTS)
    assert (first[-1] - second[-1]).abs().max() > 0.1
    assert first.isfinite().all()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 500_000


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_the_seed_decides_every_byte(tmp_path, family):
    first, again, other = (
        digest(tiny_model(family, tmp_path / name, seed=seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {"model.safetensors"}


@pytest.mark.parametrize("family", ["gpt2", "gpt_neo", "gemma3", "t5"])
def test_the_number_of_layers_can_be_chosen(tmp_path, family):
    config = load(tiny_model(family, tmp_path, n_layers=1)).model.config
    assert (config.num_decoder_layers if family == "t5" else config.get_text_config().num_hidden_layers) == 1


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
@pytest.mark.parametrize("text", TEXTS)
def test_tokenizers_keep_a_text(tmp_path, family, text):
    tokenizer = load(tiny_model(family, tmp_path)).tokenizer
    ids = tokenizer(text)["input_ids"]
    assert (ids[0] == tokenizer.bos_token_id) is (family == "llama")
    assert (ids[-1] == tokenizer.eos_token_id) is (family == "t5")
    decoded = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert decoded == (text.replace("ü", "") if family == "t5" else text)


def test_an_unknown_family_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(UsageError, match="no tiny model of 'gpt5'") as caught:
        tiny_model("gpt5", tmp_path)
    assert "t5_gated" in caught.value.hint


def test_naming_the_families_needs_no_torch():
    code = "import sys, editcore.testing.tiny; sys.exit('torch' in sys.modules or 'pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
