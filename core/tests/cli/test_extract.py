"""`editcore extract`, on a checkpoint of one tensor."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file


def checkpoint(folder: Path, weight: torch.Tensor) -> str:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    save_file({"w": weight}, folder / "model.safetensors")
    return str(folder)


def test_from_two_folders_to_a_patch_and_back(command, tmp_path):
    weight = torch.arange(64.0).reshape(8, 8)
    base, edited = (
        checkpoint(tmp_path / "a", weight),
        checkpoint(tmp_path / "b", weight + torch.outer(weight[0], weight[1])),
    )
    path = str(tmp_path / "p.safetensors")
    done = command("extract", base, edited, "-o", path, "--exact", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["exact"] == ["w"]
    applied = command("apply", path, "--model", base, "-o", str(tmp_path / "c"))
    assert applied.returncode == 0, applied.stderr
    assert (tmp_path / "c" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    same = command("extract", base, base, "-o", path, "--overwrite")
    assert same.returncode == 2
    assert same.stderr.endswith("there is nothing to extract\n")
