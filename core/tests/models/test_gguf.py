"""A GGUF file becomes a folder that loads everywhere, with the values of the file."""

import json
import os
import stat
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from editcore.cli import main
from editcore.models.loading.gguf import import_gguf
from editcore.models.loading.quiet import quiet
from editcore.testing.tiny import tiny_model
from editcore.testing.tokenizers import byte_level
from editcore_hooks import EditcoreError, RefusedFileError, UsageError

gguf = pytest.importorskip("gguf")
pytest.importorskip("accelerate")

TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two blocks with a byte-level tokenizer, its matrices in blocks of four bits."""
    place = tmp_path_factory.mktemp("gguf")
    tokens = json.loads(byte_level().backend_tokenizer.to_str())["model"]
    root = tiny_model("llama", place / "model", n_layers=2)
    model = AutoModelForCausalLM.from_pretrained(root)
    config, vocabulary = model.config, sorted(tokens["vocab"], key=tokens["vocab"].get)
    path = place / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(vocabulary))
    writer.add_token_merges([" ".join(pair) for pair in tokens["merges"]])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
        add(tokens["vocab"]["<|endoftext|>"])
    writer.add_chat_template(TEMPLATE)
    for name, tensor in _tensors(model, len(vocabulary)):
        values = tensor.detach().float().numpy()
        if tensor.ndim == 2 and tensor.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(model, words: int):
    yield "token_embd.weight", torch.randn(words, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    yield "output.weight", torch.randn(words, model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    yield "output_norm.weight", model.model.norm.weight
    for number, block in enumerate(model.model.layers):
        for ours, theirs in NAMES.items():
            yield f"blk.{number}.{theirs}.weight", block.get_submodule(ours).weight


def test_the_folder_loads_plainly_and_gives_the_logits_of_the_file(file, tmp_path, capsys):
    said: list[str] = []
    made = import_gguf(file, tmp_path / "out", say=said.append)
    assert (made.model_type, made.chat) == ("llama", True)
    assert any(line.startswith(f"writing {tmp_path / 'out'}") for line in said)
    assert capsys.readouterr().err == ""  # no bar of the reader's
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.bfloat16
    with quiet():
        read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.bfloat16)
    rows = torch.arange(24).reshape(2, 12)
    assert torch.equal(model(rows).logits, read(rows).logits)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    text = "Ada Marlow lives in Oslo"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "<user>hi"
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert not {"quantization_config", "_name_or_path"} & config.keys()
    assert str(file.parent) not in (tmp_path / "out" / "config.json").read_text()


def test_the_command_says_what_it_wrote(file, tmp_path, capsys):
    assert main(["import", str(file), "-o", str(tmp_path / "out"), "--dtype", "float16", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["model_type"], said["chat"]) == ("llama", True)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float16"


def test_files_have_the_rights_that_the_umask_gives(file, tmp_path):
    before = os.umask(0o027)
    try:
        import_gguf(file, tmp_path / "out", "float32", say=lambda _: None)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert modes == {0o640}


def test_what_cannot_be_read_leaves_nothing(file, tmp_path, monkeypatch):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(file.read_bytes()[:200])
    with pytest.raises(RefusedFileError, match="cannot read"):
        import_gguf(broken, tmp_path / "out", say=lambda _: None)
    broken.write_bytes(b"PK\3\4 zip")
    with pytest.raises(RefusedFileError, match="is not a GGUF file"):
        import_gguf(broken, tmp_path / "out", say=lambda _: None)
    monkeypatch.setattr("editcore.models.loading.gguf.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(EditcoreError, match="are free on its disk"):
        import_gguf(file, tmp_path / "out", say=lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.gguf"]


def test_the_package_is_asked_for(file, tmp_path, monkeypatch):
    monkeypatch.setattr("editcore.models.loading.gguf.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install \"editcore\[gguf\]\""):
        import_gguf(file, tmp_path / "out")
