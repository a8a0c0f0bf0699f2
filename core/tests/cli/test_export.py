"""`editcore export`."""

import json
from pathlib import Path

import pytest
import torch

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import StoredUpdate
from editcore.testing.tiny import tiny_model

KEY = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture
def made(tmp_path: Path) -> tuple[str, str]:
    root = tiny_model("llama", tmp_path / "base")
    checkpoint = Checkpoint.open(root)
    entry = checkpoint.entries[KEY]
    parts = {"left": torch.ones(entry.shape[0], 1), "right": torch.ones(1, entry.shape[1]) / 8}
    target = Target(StoredUpdate("low_rank", parts), entry.dtype, entry.shape, checkpoint.sha256(KEY))
    request = {"id": "a", "prompt": "{} speaks", "subject": "Ada Marlow", "target_new": "Dutch"}
    metric = {"metric": "pref.es@1", "value": 1.0, "n": 1}
    about = {"requests": [request], "metrics": [metric], "hparams": {"layer": 1}}
    seal({KEY: target}, base_identity(checkpoint), about).save(tmp_path / "p.safetensors")
    return str(root), str(tmp_path / "p.safetensors")


def test_adapter_checkpoint_and_card(command, made, tmp_path):
    root, patch = made
    adapter, merged, page = (str(tmp_path / name) for name in ("adapter", "merged", "card"))
    done = command("export", patch, "--to", "peft", "--model", root, "-o", adapter, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["ranks"] == {KEY.removesuffix(".weight"): 1}
    assert sorted(path.name for path in Path(adapter).iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    done = command("export", patch, "--to", "merged", "--model", root, "-o", merged)
    assert done.returncode == 0, done.stderr
    assert Checkpoint.open(merged).sha256(KEY) != Checkpoint.open(root).sha256(KEY)
    done = command("export", patch, "--to", "card", "-o", page)
    assert done.returncode == 0, done.stderr
    text = (Path(page) / "README.md").read_text()
    for said in ("Ada Marlow speaks", "pref.es@1", '"layer": 1', "editcore apply p.safetensors"):
        assert said in text
    names = {path.name for path in Path(merged).iterdir()}
    assert names == {path.name for path in Path(root).iterdir()}  # no history
    again = command("export", patch, "--to", "card", "-o", page)
    assert again.returncode == 2


def test_a_local_base_is_asked_for(command, made, tmp_path):
    done = command("export", made[1], "--to", "peft", "-o", str(tmp_path / "adapter"))
    assert done.returncode == 2
    assert done.stderr.endswith("name it with --model DIR\n")


def test_merged_keeps_the_history_where_it_is_asked_for(command, made, tmp_path):
    root, patch = made
    plain, kept = tmp_path / "plain", tmp_path / "kept"
    for folder, more in ((plain, ()), (kept, ("--keep-history",))):
        done = command("export", patch, "--to", "merged", "--model", root, "-o", str(folder), *more)
        assert done.returncode == 0, done.stderr
    assert len(Checkpoint.open(kept).patch_ids) == 1
    assert Checkpoint.open(plain).patch_ids == ()
    assert (plain / "model.safetensors").read_bytes() == (kept / "model.safetensors").read_bytes()
    done = command("export", patch, "--to", "merged", "--model", root, "-o", str(tmp_path / "x.safetensors"))
    assert done.returncode == 2
    assert "the output is a folder\nhint: pass -o " in done.stderr


def test_the_adapter_of_a_local_base_names_its_folder_and_what_to_pass(command, made, tmp_path):
    root, patch = made
    done = command("export", patch, "--to", "peft", "--model", root, "-o", str(tmp_path / "adapter"))
    assert "--base-name OWNER/NAME" in done.stderr
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == (root, None)
    more = ("--base-name", "some/model")
    command("export", patch, "--to", "peft", "--model", root, "-o", str(tmp_path / "named"), *more)
    config = json.loads((tmp_path / "named" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "some/model"


def test_the_adapter_of_a_hub_base_names_it_and_how_to_load_it_offline(command, made, tmp_path):
    root, patch = made
    hub = Patch.load(patch)
    base = {**hub.annotation("base"), "name": "some/model", "revision": "abc"}
    hub.with_about(base=base).save(tmp_path / "hub.safetensors")
    done = command(
        "export", str(tmp_path / "hub.safetensors"), "--to", "peft", "--model", root, "-o", str(tmp_path / "a")
    )
    assert f"its base is some/model; offline: PeftModel.from_pretrained(model of {root}" in done.stderr
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("some/model", "abc")


def test_a_dense_delta_that_no_adapter_holds_is_refused_before_the_base_is_looked_for(command, made, tmp_path):
    patch = Patch.load(made[1])
    shape = patch.targets[KEY].shape
    delta = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    target = Target(StoredUpdate("dense", {"delta": delta}), "F32", shape, "0" * 64)
    seal({KEY: target}, patch.annotation("base"), {}).save(tmp_path / "dense.safetensors")
    words = ("--to", "peft", "--model", str(tmp_path / "nowhere"), "-o", str(tmp_path / "a"), "--max-rank", "2")
    done = command("export", str(tmp_path / "dense.safetensors"), *words)
    assert f"error: 2 factors miss {KEY} by 0." in done.stderr
    assert "--to merged" in done.stderr
    done = command("export", made[1], *words)
    assert "nowhere is not a folder" in done.stderr
