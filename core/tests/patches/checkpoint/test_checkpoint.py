"""Reading folders: layouts, what is refused, fingerprints that survive a new save."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from editcore.patches.change.ondisk import apply_on_disk
from editcore.patches.checkpoint.fingerprint import config_sha256, tokenizer_sha256
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore_hooks import EditcoreError, RefusedFileError, UsageError

Folder = Callable[..., Path]


@pytest.mark.parametrize("sharded", [False, True])
def test_every_tensor_reads_as_the_library_reads_it(saved: Folder, sharded: bool) -> None:
    root = saved("llama", torch.bfloat16, sharded)
    checkpoint = Checkpoint.open(root)
    files = sorted(root.glob("*.safetensors"))
    assert (len(files) > 1) == sharded
    tensors = {key: tensor for file in files for key, tensor in load_file(file).items()}
    assert set(checkpoint.entries) == set(tensors)
    for key, tensor in tensors.items():
        assert checkpoint.read(key) == tensor.view(torch.uint8).numpy().tobytes()
        assert checkpoint.entries[key].shape == tuple(tensor.shape)


def test_the_root_does_not_depend_on_sharding_and_does_on_one_bit(saved: Folder, folder: Folder) -> None:
    single = Checkpoint.open(saved("llama", torch.float32, False))
    assert single.weights_root() == Checkpoint.open(saved("llama", torch.float32, True)).weights_root()
    root = folder("llama")
    path = root / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert Checkpoint.open(root).weights_root() != single.weights_root()


def test_fingerprints_survive_loading_and_saving(saved: Folder, tmp_path: Path) -> None:
    for family in ("gpt2", "llama"):
        AutoModelForCausalLM.from_pretrained(saved(family), dtype="auto").save_pretrained(tmp_path / family)
        one, two = Checkpoint.open(saved(family)), Checkpoint.open(tmp_path / family)
        assert one.weights_root() == two.weights_root()
        assert one.config_sha256 == two.config_sha256


def test_the_structure_hash_sees_structure_alone(saved: Folder) -> None:
    config = AutoConfig.from_pretrained(saved("llama")).to_dict()
    before = config_sha256(config)
    for name in ("transformers_version", "dtype", "_name_or_path", "architectures", "use_cache", "eos_token_id"):
        assert config_sha256({**config, name: "other"}) == before, name
    for name, value in (("num_hidden_layers", 3), ("hidden_act", "gelu"), ("rms_norm_eps", 1e-5)):
        assert config_sha256({**config, name: value}) != before, name


def test_the_structure_hash_reads_both_spellings_of_rotary_settings() -> None:
    old = {"model_type": "llama", "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}
    new = {"model_type": "llama", "rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 2.0}}
    assert config_sha256(old) == config_sha256(new)
    plain = {"model_type": "llama", "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}
    assert config_sha256({"model_type": "llama", "rope_theta": 5e5, "rope_scaling": None}) == config_sha256(plain)
    assert config_sha256(old) != config_sha256(plain)


def tokenizer(lower: bool = False, word: str = "b") -> Tokenizer:
    vocabulary = {"<unk>": 0, "a": 1, word: 2, f"a{word}": 3}
    result = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", word)], unk_token="<unk>"))
    result.pre_tokenizer = pre_tokenizers.Whitespace()
    if lower:
        result.normalizer = normalizers.Lowercase()
    return result


def test_the_tokenizer_hash_is_of_content_and_not_of_files(tmp_path: Path) -> None:
    def saved_as(name: str, made: Tokenizer) -> Path:
        PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>").save_pretrained(tmp_path / name)
        return tmp_path / name

    one = saved_as("one", tokenizer())
    document = json.loads((one / "tokenizer.json").read_text())
    two = saved_as("two", tokenizer())
    # Other files of the same tokenizer: merges as text, another layout, truncation set by a caller.
    document["model"]["merges"] = [" ".join(rule) for rule in document["model"]["merges"]]
    document["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    (two / "tokenizer.json").write_text(json.dumps(document, indent=4))
    assert (one / "tokenizer.json").read_bytes() != (two / "tokenizer.json").read_bytes()
    assert tokenizer_sha256(one) == tokenizer_sha256(two)
    assert tokenizer_sha256(one) != tokenizer_sha256(saved_as("three", tokenizer(lower=True)))
    assert tokenizer_sha256(one) != tokenizer_sha256(saved_as("four", tokenizer(word="c")))


def test_older_tokenizer_files_are_hashed_and_none_is_none(tmp_path: Path) -> None:
    assert tokenizer_sha256(tmp_path) is None
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    words = tokenizer_sha256(tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1, "ab": 2}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    pairs = tokenizer_sha256(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.3\na b\n")
    assert tokenizer_sha256(tmp_path) == pairs
    (tmp_path / "merges.txt").write_text("#version: 0.2\nb a\n")
    assert len({words, pairs, tokenizer_sha256(tmp_path)}) == 3


def test_a_base_is_named_without_any_path(saved: Folder, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--owner--name" / "snapshots" / ("c" * 40)
    shutil.copytree(saved("gpt2"), snapshot)
    identity = base_identity(Checkpoint.open(snapshot))
    assert (identity["name"], identity["revision"]) == ("owner/name", "c" * 40)
    assert identity["architecture"] == "GPT2LMHeadModel"
    local = base_identity(Checkpoint.open(saved("gpt2")))
    assert (local["name"], local["revision"]) == ("model", None)
    for asked in (str(saved("gpt2")), f"./{saved('gpt2').name}", "~/models/model"):
        assert base_identity(Checkpoint.open(saved("gpt2")), asked)["name"] == "model"
    assert base_identity(Checkpoint.open(saved("gpt2")), "owner/name")["name"] == "owner/name"


def test_hashes_are_remembered_as_long_as_the_file_is_the_same(folder: Folder) -> None:
    root, key = folder("llama", torch.float32, True), "model.norm.weight"
    opened = Checkpoint.open(root)
    path, before = opened.file(key), opened.sha256(key)
    assert opened.hashes.get(path, key, lambda: "computed again") == before
    status = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert opened.hashes.known(path, key) is None
    assert opened.hashes.get(path, key, lambda: "computed again") == "computed again"


def test_no_hash_that_a_folder_brings_is_believed(folder: Folder, make_patch: Any) -> None:
    root, key = folder("llama"), "model.norm.weight"
    apply_on_disk(root, [make_patch(root, "model.layers.0.mlp.down_proj.weight")], strict=True)
    path, before = root / "model.safetensors", Checkpoint.open(root).sha256(key)
    entry, status = Checkpoint.open(root).entries[key], path.stat()
    data = bytearray(path.read_bytes())
    data[entry.start] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    record = {path.name: {"stamp": f"{status.st_size}:{status.st_mtime_ns}", "tensors": {key: before}}}
    (root / ".editcore" / "hashes.json").write_text(json.dumps(record))
    found = Checkpoint.open(root).sha256(key)
    assert found == hashlib.sha256(data[entry.start : entry.end]).hexdigest() != before


# Refusals


def refuse(root: Path, code: int, says: str, hint: str = "") -> None:
    with pytest.raises(EditcoreError, match=says) as caught:
        Checkpoint.open(root)
    assert caught.value.exit_code == code
    assert hint in str(caught.value.hint)
    assert caught.value.hint


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, folder: Folder) -> None:
    refuse(tmp_path / "missing", UsageError.exit_code, "there is no folder")
    refuse(tmp_path, 6, "holds no model.safetensors")
    refuse(folder("gpt2") / "model.safetensors", 6, "is a file", "give the folder")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    refuse(tmp_path, 6, "GGUF", "save_pretrained")
    refuse(tmp_path / "m.gguf", 6, "is a file", "save_pretrained")
    (tmp_path / "m.gguf").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    refuse(tmp_path, 6, "pickled", "if you trust its source")


def test_a_quantised_model_is_refused(folder: Folder) -> None:
    root = folder("gpt2")
    config = json.loads((root / "config.json").read_text())
    (root / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    refuse(root, 6, "quantised", "--to peft")


def test_a_folder_without_configuration_is_refused(folder: Folder) -> None:
    root = folder("gpt2")
    (root / "config.json").write_text("[]")
    refuse(root, 6, "is not a JSON object")
    (root / "config.json").unlink()
    refuse(root, 6, "no config.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update({"lm_head.weight": "../model-00001-of-00005.safetensors"}), "not a file of its folder"),
        (lambda m: m.update({"lm_head.weight": "/etc/passwd"}), "not a file of its folder"),
        (lambda m: m.update({"lm_head.weight": "pytorch_model.bin"}), "not a file of its folder"),
        (lambda m: m.update({"lm_head.weight": "gone.safetensors"}), "is missing"),
        (lambda m: m.update({"new.weight": next(iter(m.values()))}), "where it is not"),
        (lambda m: m.update({"model.norm.weight": m["model.embed_tokens.weight"]}), "where it is|elsewhere"),
        (lambda m: m.clear(), "no weight_map"),
    ],
)
def test_an_index_that_lies_is_refused(folder: Folder, change: Callable[[dict[str, str]], None], says: str) -> None:
    root = folder("llama", torch.float32, True)
    index = json.loads((root / "model.safetensors.index.json").read_text())
    assert index["weight_map"]["model.norm.weight"] != index["weight_map"]["model.embed_tokens.weight"]
    change(index["weight_map"])
    (root / "model.safetensors.index.json").write_text(json.dumps(index))
    refuse(root, 6, says)


def test_one_key_in_two_shards_is_refused(folder: Folder) -> None:
    root = folder("llama", torch.float32, True)
    first, second = sorted(root.glob("*.safetensors"))[:2]
    tensors = {**load_file(first), **load_file(second)}
    save_file(tensors, second, {"format": "pt"})
    refuse(root, 6, "in two shards")


def test_a_truncated_shard_is_refused(folder: Folder) -> None:
    root = folder("gpt2")
    data = (root / "model.safetensors").read_bytes()
    (root / "model.safetensors").write_bytes(data[:-1])
    with pytest.raises(RefusedFileError, match="truncated"):
        Checkpoint.open(root)
