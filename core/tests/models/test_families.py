"""Every family that is named: its sites, their shapes, and the names its files give to them."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, OPTConfig

from editcore.models.anatomy.families import ARCHITECTURES
from editcore.models.anatomy.model_map import Anatomy
from editcore.models.anatomy.stacks import AT_ROOT
from editcore.models.loading.loader import load
from editcore.models.loading.old_versions import heeds_masks
from editcore.testing.configurations import WITH_STATE
from editcore.testing.tiny import FAMILIES, LINEAR_ATTENTION, tiny_model
from editcore_hooks import Site, UsageError

D, F = 32, 48
WIDE = ("gpt2", "gpt_neo", "gptj", "bloom")  # four times the hidden size
GATED = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "t5_gated",
    *LINEAR_ATTENTION,
)
TIED = ("gpt2", "gpt_neo", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gemma3_text", "falcon", "falcon_new",
        "opt", "bloom", "t5")  # fmt: skip
DOWN = {
    "gpt2": "transformer.h.1.mlp.c_proj",
    "gpt_neo": "transformer.h.1.mlp.c_proj",
    "gptj": "transformer.h.1.mlp.fc_out",
    "gpt_neox": "gpt_neox.layers.1.mlp.dense_4h_to_h",
    "gemma3": "model.language_model.layers.1.mlp.down_proj",
    "phi": "model.layers.1.mlp.fc2",
    "falcon": "transformer.h.1.mlp.dense_4h_to_h",
    "falcon_new": "transformer.h.1.mlp.dense_4h_to_h",
    "opt": "model.decoder.layers.1.fc2",
    "bloom": "transformer.h.1.mlp.dense_4h_to_h",
    "t5": "decoder.block.1.layer.2.DenseReluDense.wo",
    "t5_gated": "decoder.block.1.layer.2.DenseReluDense.wo",
}
RELEASED = {  # how files of the hub name what transformers names otherwise
    "gpt2": ("transformer.", ""),
    "bloom": ("transformer.", ""),
    "falcon": ("transformer.", ""),
    "opt": ("model.decoder.", "decoder."),
    "gpt_neox": ("lm_head.", "embed_out."),
    "gemma3": ("model.language_model.", "language_model.model."),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def anatomy(family, tiny):
    return Anatomy.of(tiny(family).model)


def every_site(anatomy):
    for stack, found in anatomy.stacks.items():
        for role in found.roles:
            layers = [None] if role in AT_ROOT else range(found.n_layers)
            yield from (Site(role, layer, stack) for layer in layers)


def test_the_table_confirms_what_structure_finds(family, tiny):
    model = tiny(family).model
    by_structure, by_table = Anatomy.of(model, ()), Anatomy.of(model)
    assert by_structure.stacks == by_table.stacks
    assert (by_structure.family, by_table.family) == (None, model.config.model_type)


def test_every_table_is_of_a_family_that_is_tested(tiny):
    tested = {tiny(family).model.config.model_type for family in FAMILIES}
    # the oldest transformers that we support does not know the newest families, or reads them wrongly
    refused = set() if heeds_masks() else set(WITH_STATE)
    assert {table.name for table in ARCHITECTURES if table.name in CONFIG_MAPPING} - refused == tested


def test_the_sites_are_there(family, anatomy):
    roles = {"mlp_out", "final_norm", "head", "embed"}
    roles |= {"attn_out"} if family not in LINEAR_ATTENTION else set()
    roles |= {"mlp_in"} if family != "phi3" else set()
    roles |= {"mlp_gate"} if family in GATED else set()
    assert set(anatomy.roles) == roles
    assert anatomy.path(Site("mlp_out", 1)) == DOWN.get(family, "model.layers.1.mlp.down_proj")
    assert (anatomy.n_layers, anatomy.hidden_size) == (3, D)
    assert set(anatomy.stacks) == ({"decoder", "encoder"} if family.startswith("t5") else {"decoder"})


def test_shapes_are_canonical(family, anatomy):
    f = 4 * D if family in WIDE else F
    V = anatomy.model.get_input_embeddings().weight.shape[0]
    shapes = {"mlp_in": (f, D), "mlp_gate": (f, D), "mlp_out": (D, f), "final_norm": (D,)}
    shapes |= {"head": (V, D), "embed": (V, D)}
    for site in every_site(anatomy):
        shape = tuple(anatomy.weight(site).shape)
        assert shape[0] == D if site.role == "attn_out" else shape == shapes[site.role], site


def test_a_parameter_is_of_the_site_that_names_it(anatomy):
    for site in every_site(anatomy):
        assert anatomy.site_of(anatomy.parameter(site)[0]) == site
    assert anatomy.site_of(f"{anatomy.blocks}.0.ln.bias") is None


def stored_in(loaded):
    return load_file(loaded.folder / "model.safetensors")


def test_keys_are_those_that_were_saved(family, tiny, anatomy):
    stored = stored_in(tiny(family))
    for name, parameter in anatomy.model.named_parameters(remove_duplicate=False):
        assert torch.equal(stored[anatomy.key_of(name, stored)], parameter), name
    for key, tensor in stored.items():
        if family == "qwen3_5" and ".visual." in key:
            continue  # transformers opens the text model alone
        assert torch.equal(anatomy.model.get_parameter(anatomy.parameter_of(key)), tensor), key


def test_tied_heads_are_known(family, tiny, anatomy):
    stored = stored_in(tiny(family))
    head, embedding = (anatomy.parameter(Site(role)) for role in ("head", "embed"))
    # transformers 5.0 leaves out the head of T5 1.1 when it saves
    expected = family in TIED or (family == "t5_gated" and "lm_head.weight" not in stored)
    assert (head[1] is embedding[1]) is expected
    tied = any({head[0], embedding[0]} <= set(group) for group in anatomy.tied)
    assert tied is expected
    assert (anatomy.key_of(head[0], stored) == anatomy.key_of(embedding[0], stored)) is tied


def test_t5_reads_one_embedding_twice(tiny):
    anatomy = Anatomy.of(tiny("t5_gated").model)
    ours, theirs = (anatomy.parameter(Site("embed", stack=stack)) for stack in ("decoder", "encoder"))
    assert (ours[0], theirs[0]) == ("decoder.embed_tokens.weight", "encoder.embed_tokens.weight")
    assert ours[1] is theirs[1]
    assert anatomy.key_of(theirs[0], {"shared.weight"}) == "shared.weight"
    assert anatomy.site_of("shared.weight") == Site("embed")


def test_t5_stacks_have_their_own_sizes(tiny):
    anatomy = Anatomy.of(tiny("t5").model)
    assert anatomy.stacks["encoder"].n_layers == 4
    assert anatomy.path(Site("block", 3, "encoder")) == "encoder.block.3"
    assert anatomy.path(Site("mlp_out", 3, "encoder")) == "encoder.block.3.layer.1.DenseReluDense.wo"
    assert anatomy.path(Site("attn_out", 2)) == "decoder.block.2.layer.0.SelfAttention.o"
    for site, message in (
        (Site("mlp_out", 3), "there is no layer 3"),
        (Site("mlp_out", 4, "encoder"), "there is no layer 4"),
        (Site("head", stack="encoder"), "no head is known"),
    ):
        with pytest.raises(UsageError, match=message):
            anatomy.path(site)


@pytest.mark.parametrize("family", RELEASED)
def test_the_names_of_released_files_are_understood(family, tmp_path, tiny):
    memory, files = RELEASED[family]
    loaded = tiny(family)
    folder = tiny_model(family, tmp_path)
    anatomy = Anatomy.of(loaded.model)
    tensors = {anatomy.parameter_of(key).replace(memory, files, 1): tensor for key, tensor in stored_in(loaded).items()}
    assert any(key.startswith(files) for key in tensors)
    assert not any(key.startswith(memory) for key in tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    again = load(folder).model
    for name, parameter in again.named_parameters(remove_duplicate=False):
        assert torch.equal(parameter, loaded.model.get_parameter(name)), name
        assert torch.equal(tensors[anatomy.key_of(name, tensors)], parameter), name
    for key, tensor in tensors.items():
        assert torch.equal(again.get_parameter(anatomy.parameter_of(key)), tensor), key


def test_a_gemma_whose_files_keep_the_names_of_the_modules_opens(tmp_path, tiny):
    loaded = tiny("gemma3")
    folder, anatomy = tiny_model("gemma3", tmp_path), Anatomy.of(loaded.model)
    tensors = {anatomy.parameter_of(key): tensor for key, tensor in stored_in(loaded).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    weight = Anatomy.of(load(folder).model).weight(Site("mlp_out", 1))
    assert torch.equal(weight, anatomy.weight(Site("mlp_out", 1)))


def test_an_opt_that_norms_after_each_layer_has_no_norm_at_the_end():
    config = OPTConfig(
        vocab_size=60, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=16,
        do_layer_norm_before=False, pad_token_id=0, bos_token_id=1, eos_token_id=1,
    )  # fmt: skip
    anatomy = Anatomy.of(AutoModelForCausalLM.from_config(config))
    assert anatomy.family == "opt"
    assert set(anatomy.roles) == {"mlp_in", "mlp_out", "attn_out", "head", "embed"}
    assert tuple(anatomy.weight(Site("head")).shape) == (60, 16)
