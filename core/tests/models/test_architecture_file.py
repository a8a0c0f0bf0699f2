"""A person's map of a model that no table knows: read strictly, and it wins over what structure says."""

import pytest
import torch
from click.testing import CliRunner
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config

import editcore
from editcore import EditOptions, EditRequest
from editcore.cli.generate import generate
from editcore.models.anatomy.architecture_file import read_architecture
from editcore.models.anatomy.model_map import Anatomy
from editcore.models.running.batch import pad
from editcore.models.running.tracing import Tap, Trace
from editcore.plugins.registry import Registry
from editcore.testing.tokenizers import byte_level
from editcore_hooks import Site, UsageError

MAMBA = "blocks: backbone.layers\nparts:\n  mlp_out: mixer.out_proj\n"


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "map.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="module")
def mamba(tmp_path_factory):
    """A family that has no MLP, and so no table."""
    folder, tokenizer = tmp_path_factory.mktemp("mamba"), byte_level()
    config = AutoConfig.for_model(
        "mamba", vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=3, bos_token_id=0, eos_token_id=0,
        pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_an_unknown_model_is_refused_with_what_was_found_and_what_to_do(mamba):
    with pytest.raises(UsageError) as caught:
        editcore.open(mamba)
    assert "backbone.layers (3 × MambaBlock: mixer.in_proj 32→128, " in caught.value.message
    assert "mixer.out_proj 64→32" in caught.value.message
    assert "--architecture FILE" in caught.value.hint


def test_a_map_by_file_makes_it_editable_and_is_said_in_the_patch(mamba, written, pushing):
    session = editcore.open(mamba, architecture=written(MAMBA), registry_=Registry.of(pushing(Site("mlp_out", 1))))
    anatomy = session.anatomy
    assert (anatomy.blocks, anatomy.n_layers, anatomy.mlp_width, anatomy.family) == ("backbone.layers", 3, 64, None)
    assert anatomy.path(Site("final_norm")) == "backbone.norm_f"
    patch = session.edit_all([EditRequest("{} is", "Ada", "here", id="1")], EditOptions("pushing"))
    assert patch.about["base"]["architecture_map"] == {
        "blocks": "backbone.layers",
        "parts": {"mlp_out": "mixer.out_proj"},
    }
    assert list(patch.targets) == ["backbone.layers.1.mixer.out_proj.weight"]


def test_a_map_by_file_is_traced_like_any_other(mamba, written):
    session = editcore.open(mamba, architecture=written(MAMBA))
    site = Site("mlp_out", 1)
    with Trace(session.anatomy, {site: Tap(input=True)}, stop=True) as trace:
        session.model(pad([[5, 6, 7]]).ids)
    assert trace.input(site).shape == (1, 3, 64)


def test_a_map_by_file_wins_over_structure_and_table(tiny, written):
    given = read_architecture(written("blocks: model.layers\nparts: {mlp_out: self_attn.o_proj}\nprefixes: [model.]"))
    anatomy = Anatomy.of(tiny("llama").model, given=given)
    assert anatomy.path(Site("mlp_out", 0)) == "model.layers.0.self_attn.o_proj"
    assert anatomy.path(Site("mlp_in", 0)) == "model.layers.0.mlp.up_proj"
    assert (anatomy.mlp_width, anatomy.prefixes, anatomy.family) == (32, ("model.",), None)


class Wide(nn.Module):
    """A block of another type, with the same names of what is edited."""

    def __init__(self, block):
        super().__init__()
        self.attn, self.mlp = block.attn, block.mlp
        self.adapter = nn.Sequential(nn.Linear(32, 8), nn.Linear(8, 32))


def test_a_list_of_unlike_blocks_is_shown_and_can_be_mapped(written):
    config = GPT2Config(vocab_size=60, n_embd=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0)
    mixed = AutoModelForCausalLM.from_config(config)
    mixed.transformer.h[1] = Wide(mixed.transformer.h[1])
    with pytest.raises(UsageError) as caught:
        Anatomy.of(mixed, ())
    assert "transformer.h (3 × GPT2Block: attn.c_attn 32→96, " in caught.value.message
    assert " or Wide: attn.c_attn 32→96, " in caught.value.message
    given = read_architecture(written("blocks: transformer.h\nparts: {mlp_out: mlp.c_proj, attn_out: attn.c_proj}"))
    anatomy = Anatomy.of(mixed, given=given)
    assert anatomy.path(Site("mlp_out", 1)) == "transformer.h.1.mlp.c_proj"
    with pytest.raises(UsageError, match=r"blocks at transformer.layers, the model at no place that is clear"):
        Anatomy.of(mixed, given=read_architecture(written("blocks: transformer.layers")))


def test_a_map_of_both_stacks(tiny, written):
    text = "blocks: decoder.block\nencoder_blocks: encoder.block\nencoder_parts: {mlp_out: layer.0.SelfAttention.o}"
    anatomy = Anatomy.of(tiny("t5").model, given=read_architecture(written(text)))
    assert anatomy.path(Site("mlp_out", 0, "encoder")) == "encoder.block.0.layer.0.SelfAttention.o"
    assert anatomy.path(Site("mlp_out", 0)) == "decoder.block.0.layer.2.DenseReluDense.wo"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "blocks: model.layer",
            r"has its blocks at model.layer, the model at model.layers; there is model.layers \(3",
        ),
        ("blocks: model.layers\nparts: {mlp_out: mlp.down}", r"has mlp_out at mlp.down, where this model has nothing"),
        ("blocks: model.layers\nparts: {mlp_out: mlp.up_proj}", r"is not a projection to the hidden size 32"),
    ],
)
def test_a_map_that_does_not_fit_is_refused_with_what_there_is(tiny, written, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        Anatomy.of(tiny("llama").model, given=read_architecture(written(text)))
    assert "mlp.down_proj 48→32" in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parts: {}", "does not say where the blocks are"),
        ("block: h", "unknown key 'block' (did you mean 'blocks'"),
        ("blocks: h\nparts: {mlp_ou: x}", "parts: unknown key 'mlp_ou' (did you mean 'mlp_out'"),
        ("blocks: h\nencoder_parts: {block: x}", "unknown key 'block'"),
        ("blocks: h\nparts: [x]", "parts is not a mapping"),
        ("blocks: h\nprefixes: model.", "prefixes is not a list"),
        ("blocks: 3", "blocks must be a path, not 3"),
        ("blocks: h\nparts: {mlp_out: null}", "mlp_out must be a path, not None"),
        ("- h", "holds no mapping"),
        ("blocks: [", "is not YAML"),
    ],
)
def test_a_file_is_read_strictly(written, text, message):
    with pytest.raises(UsageError) as caught:
        read_architecture(written(text))
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"absent.yaml' cannot be read"):
        read_architecture(tmp_path / "absent.yaml")


def test_the_command_line_passes_the_file_on(mamba, written):
    file = written("block: backbone.layers")
    result = CliRunner().invoke(generate, [str(mamba), "--prompt", "Ada", "--architecture", str(file)])
    assert isinstance(result.exception, UsageError)
    assert "map.yaml: unknown key 'block'" in str(result.exception)
