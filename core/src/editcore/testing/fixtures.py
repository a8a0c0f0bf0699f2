"""Pytest fixtures: folders of taught models. In a conftest, `from editcore.testing.fixtures import llama_folder`."""

from pathlib import Path

import pytest

from editcore.testing.taught import taught_model


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2-shaped, float32, one file, byte-level BPE, tied head."""
    return taught_model("gpt2", tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama-shaped, float32, one file, sentencepiece-like with BOS, untied head."""
    return taught_model("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def sharded_folder(llama_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as bfloat16 in several shards."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("sharded")
    model = AutoModelForCausalLM.from_pretrained(llama_folder, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="150KB")
    AutoTokenizer.from_pretrained(llama_folder).save_pretrained(folder)
    assert (folder / "model.safetensors.index.json").is_file()
    return folder
