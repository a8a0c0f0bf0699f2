"""What `edit` says of a model that it cannot edit: what was found there, and what to do instead."""

from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from editcore.testing.tiny import tiny_model

METHOD = """
    from editcore_hooks import EditMethod, hookimpl


    class Toy(EditMethod):
        name = "toy"

        def locate(self, session, requests, state): ...

        def compute_update(self, session, requests, location, state): ...


    @hookimpl
    def editcore_register_methods():
        return [Toy]
"""
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}


@pytest.fixture
def experts(tmp_path: Path) -> Path:
    """A folder of a model with experts, with a tokenizer that fits it."""
    folder = tiny_model("qwen3", tmp_path / "model", n_layers=2)
    values = AutoConfig.from_pretrained(folder).to_dict()
    ids = {name: values[name] for name in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}
    more = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "intermediate_size": 48}
    config = AutoConfig.for_model("qwen3_moe", **ids, **SIZES, **more, head_dim=8, max_position_embeddings=128)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def test_a_model_with_experts_is_refused_with_where_they_are_and_what_to_do_instead(editcore, site, experts):
    site.put("toy", METHOD)
    out = experts.parent / "patch.safetensors"
    words = ("--prompt", "{} works as a", "--subject", "Ada Marlow", "--target", "pilot")
    done = editcore("edit", str(experts), "--method", "toy", *words, "-o", str(out))
    assert done.returncode == 2, done.stderr
    error, hint = done.stderr.splitlines()[-2:]
    assert "error: block 0 keeps experts at model.layers.0.mlp" in error
    assert error.endswith("cannot be edited yet")
    assert hint == "hint: choose a dense model of the family"
    assert not out.exists()
