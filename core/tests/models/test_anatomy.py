"""Sites by structure alone are those of the families' tables."""

from typing import get_args

import pytest
import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2Model
from transformers.pytorch_utils import Conv1D

from editcore.models.anatomy.families import ARCHITECTURES
from editcore.models.anatomy.families.gpt import GPT2
from editcore.models.anatomy.model_map import Anatomy
from editcore.models.anatomy.stacks import AT_ROOT, IN_BLOCK
from editcore_hooks import PluginError, Site, UsageError
from editcore_hooks.values import Role

WIDTHS = {"gpt2": 128, "llama": 48, "qwen2": 48}
SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "pad_token_id": 0,
    "eos_token_id": 0,
}


def every_site(anatomy):
    for role in anatomy.roles:
        yield from [Site(role)] if role in AT_ROOT else [Site(role, layer) for layer in range(anatomy.n_layers)]


def test_structure_alone_finds_what_the_table_says(model):
    by_structure, by_table = Anatomy.of(model, ()), Anatomy.of(model, ARCHITECTURES)
    assert by_structure.roles == by_table.roles
    assert by_structure.blocks == by_table.blocks
    assert by_structure.prefixes == by_table.prefixes
    assert (by_structure.family, by_table.family) == (None, model.config.model_type)


def test_sizes_and_shapes(model):
    anatomy = Anatomy.of(model)
    d, f = 32, WIDTHS[model.config.model_type]
    V = model.config.vocab_size
    assert (anatomy.n_layers, anatomy.hidden_size, anatomy.mlp_width) == (3, d, f)
    shapes = {"mlp_in": (f, d), "mlp_gate": (f, d), "mlp_out": (d, f), "attn_out": (d, d)}
    shapes |= {"final_norm": (d,), "head": (V, d), "embed": (V, d)}
    for site in every_site(anatomy):
        assert tuple(anatomy.weight(site).shape) == shapes[site.role], site


def test_canonical_weights_are_views_of_the_model_s_own(model):
    anatomy = Anatomy.of(model)
    weight = anatomy.weight(Site("mlp_out", 1))
    _, parameter, transposed = anatomy.parameter(Site("mlp_out", 1))
    assert transposed is (model.config.model_type == "gpt2")
    assert weight.data_ptr() == parameter.data_ptr()
    x = torch.randn(5, weight.shape[1])  # (5, f)
    bias = getattr(anatomy.module(Site("mlp_out", 1)), "bias", None)
    expected = x @ weight.T if bias is None else x @ weight.T + bias
    torch.testing.assert_close(anatomy.module(Site("mlp_out", 1))(x), expected)


def test_site_of_a_parameter_is_the_site_that_names_it(model):
    anatomy = Anatomy.of(model)
    for site in every_site(anatomy):
        assert anatomy.site_of(anatomy.parameter(site)[0]) == site
    assert anatomy.site_of(f"{anatomy.blocks}.0.mlp.c_proj.bias") is None
    assert anatomy.site_of(f"{anatomy.blocks}.0.self_attn.q_proj.weight") is None


def test_square_weights_are_told_by_type_and_order():
    square = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4, n_inner=32))
    anatomy = Anatomy.of(square, ())
    assert anatomy.roles["mlp_out"] == "mlp.c_proj"
    assert anatomy.roles["mlp_in"] == "mlp.c_fc"
    _, parameter, transposed = anatomy.parameter(Site("mlp_out", 0))
    assert transposed
    assert parameter.shape == (32, 32)
    assert torch.equal(anatomy.weight(Site("mlp_out", 0)), parameter.T)

    block = square.transformer.h[0]
    block.mlp.c_proj = nn.Linear(32, 32)
    assert not Anatomy.of(square, ()).parameter(Site("mlp_out", 0))[2]
    assert isinstance(square.transformer.h[1].mlp.c_proj, Conv1D)
    assert Anatomy.of(square, ()).parameter(Site("mlp_out", 1))[2]


def phi3(head_dim):
    config = AutoConfig.for_model("phi3", **{**SMALL, "head_dim": head_dim})
    return AutoModelForCausalLM.from_config(config)


def test_a_fused_gate_has_no_mlp_in():
    anatomy = Anatomy.of(phi3(8), ())
    assert anatomy.roles["mlp_out"] == "mlp.down_proj"
    for role in ("mlp_in", "mlp_gate"):
        with pytest.raises(UsageError, match=rf"{role} has no weight of its own here: mlp.gate_up_proj"):
            anatomy.path(Site(role, 0))


def test_a_fused_attention_of_the_shape_of_a_fused_gate_is_told_by_the_table_alone():
    with pytest.raises(UsageError, match="no MLP was recognised"):
        Anatomy.of(phi3(16), ())
    anatomy = Anatomy.of(phi3(16))
    assert (anatomy.mlp_width, anatomy.stacks["decoder"].fused) == (48, "mlp.gate_up_proj")


def test_the_bare_model_of_a_family_has_no_head():
    bare = GPT2Model(GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4))
    anatomy = Anatomy.of(bare, ())
    assert anatomy.blocks == "h"
    assert "head" not in anatomy.roles


def test_experts_are_refused():
    for model_type, extra in (("mixtral", {"num_local_experts": 4}), ("qwen3_moe", {"num_experts": 4})):
        config = AutoConfig.for_model(model_type, **SMALL, **extra)
        with pytest.raises(UsageError, match="keeps experts"):
            Anatomy.of(AutoModelForCausalLM.from_config(config), ())


@pytest.mark.parametrize(
    ("model_type", "extra", "reads"),
    [
        ("gemma3n_text", {"altup_num_inputs": 2, "laurel_rank": 4, "num_kv_shared_layers": 0}, "2 hidden states"),
        ("gemma4_text", {"global_head_dim": 8}, "an input of their own layer beside the hidden state"),
    ],
)
def test_blocks_that_read_more_than_the_hidden_state_are_refused(model_type, extra, reads):
    if model_type not in CONFIG_MAPPING:
        pytest.skip("this transformers does not know the family")
    more = {"head_dim": 8, "hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 60}
    more |= {"layer_types": ["sliding_attention", "full_attention"], "activation_sparsity_pattern": None}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **SMALL, **more, **extra))
    with pytest.raises(UsageError, match=rf"the blocks of {model_type} read {reads}") as caught:
        Anatomy.of(model)
    assert "Gemma 3" in caught.value.hint


def test_a_model_without_an_mlp_is_refused_with_what_was_found():
    config = AutoConfig.for_model("mamba", vocab_size=60, hidden_size=32, num_hidden_layers=2)
    with pytest.raises(UsageError, match=r"no MLP was recognised .* mixer.in_proj 32→128") as caught:
        Anatomy.of(AutoModelForCausalLM.from_config(config))
    assert "backbone.layers (2 × MambaBlock: " in caught.value.message
    assert "--architecture FILE" in caught.value.hint


def test_a_table_that_contradicts_the_structure_is_an_error(models):
    class WrongPart(GPT2):
        parts = {**GPT2.parts, "mlp_out": "attn.c_proj"}  # noqa: RUF012

    class WrongBlocks(GPT2):
        blocks = "transformer.layers"

    class MissingPart(GPT2):
        parts = {**GPT2.parts, "mlp_gate": "mlp.c_gate"}  # noqa: RUF012

    for table, message in (
        (WrongPart, "has mlp_out at attn.c_proj, the model's structure at mlp.c_proj"),
        (WrongBlocks, "has its blocks at transformer.layers"),
        (MissingPart, "where this model has nothing"),
    ):
        with pytest.raises(PluginError, match=message):
            Anatomy.of(models["gpt2"], [table])


def test_a_table_helps_where_structure_is_not_clear(models):
    class TwoMLPs(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.attn, self.mlp = block.attn, block.mlp
            self.adapter = nn.Sequential(nn.Linear(32, 8), nn.Linear(8, 32))

    unclear = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4))
    unclear.transformer.h = nn.ModuleList(TwoMLPs(block) for block in unclear.transformer.h)
    with pytest.raises(UsageError, match="no MLP was recognised"):
        Anatomy.of(unclear, ())
    assert Anatomy.of(unclear, [GPT2]).mlp_width == 128


@pytest.mark.parametrize(
    ("site", "message"),
    [
        (Site("mlp_out", 3), "no layer 3"),
        (Site("mlp_out"), "no layer None"),
        (Site("head", 0), "occurs once"),
        (Site("mlp_out", 0, "encoder"), "one stack"),
        (Site("mlp_out", 0, expert=1), "no experts"),
        (Site("mlp_gate", 0), "no mlp_gate is known"),
    ],
)
def test_a_site_that_is_not_there_is_refused(models, site, message):
    with pytest.raises(UsageError, match=message):
        Anatomy.of(models["gpt2"]).module(site)


def test_a_block_has_a_path_and_no_single_weight(model):
    anatomy = Anatomy.of(model)
    assert anatomy.path(Site("block", 2)) == f"{anatomy.blocks}.2"
    assert anatomy.module(Site("block", 2)) is model.get_submodule(anatomy.blocks)[2]
    with pytest.raises(UsageError, match="whole block"):
        anatomy.parameter(Site("block", 2))


def test_offloaded_weights_are_refused(models):
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(models["llama"].config)
    with pytest.raises(UsageError, match="offloaded"):
        Anatomy.of(empty).weight(Site("mlp_out", 0))


def test_every_role_of_the_contract_is_either_in_a_block_or_at_the_root():
    assert sorted([*IN_BLOCK, *AT_ROOT, "block"]) == sorted(get_args(Role))
