"""`editcore export`."""

import json
from pathlib import Path

import pytest
import torch

from editcore.patches import Checkpoint, StoredUpdate, Target, base_identity, seal
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
    again = command("export", patch, "--to", "card", "-o", page)
    assert again.returncode == 2


def test_a_local_base_is_asked_for(command, made, tmp_path):
    done = command("export", made[1], "--to", "peft", "-o", str(tmp_path / "adapter"))
    assert done.returncode == 2
    assert done.stderr.endswith("name it with --model DIR\n")
