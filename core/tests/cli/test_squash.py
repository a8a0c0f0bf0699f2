"""`editcore squash`."""

import json
from pathlib import Path

import pytest
import torch

from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import StoredUpdate


@pytest.fixture
def patches(tmp_path: Path) -> list[str]:
    paths = []
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        parts = {"left": torch.randn(6, 2, generator=generator), "right": torch.randn(2, 8, generator=generator)}
        target = Target(StoredUpdate("low_rank", parts), "F32", (6, 8), "0" * 64)
        request = {"id": str(seed), "prompt": "{} speaks", "subject": f"Person {seed}", "target_new": "Dutch"}
        patch = seal({"w": target}, {"name": "tiny", "weights_root": "1" * 64}, {"requests": [request]})
        paths.append(str(tmp_path / f"{seed}.safetensors"))
        patch.save(paths[-1])
    return paths


def test_two_patches_become_one(command, patches, tmp_path):
    path = str(tmp_path / "s.safetensors")
    done = command("squash", *patches, "-o", path, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["exact"] == ["w"]
    assert said["residuals"] == {}
    shown = command("inspect", path).stdout
    assert said["id"] in shown
    assert "Person 0 speaks" in shown
    assert "Person 1 speaks" in shown
    again = command("squash", *patches, "-o", path)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr


def test_a_residual_is_printed_and_requests_can_stay_out(command, patches, tmp_path):
    path = tmp_path / "s.safetensors"
    done = command("squash", *patches, "-o", str(path), "--max-rank", "1", "--redact")
    assert done.returncode == 0, done.stderr
    assert "w: low_rank, relative residual 0." in done.stderr
    assert b"Person" not in path.read_bytes()


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ((), 2, "two patches or more"),
        (("--density", "0.5"), 2, "--rule ties"),
        (("-o", "s.bin"), 2, "does not end in .safetensors"),
    ],
)
def test_what_cannot_be_meant_is_an_error_with_a_hint(command, patches, tmp_path, more, code, said):
    done = command("squash", patches[0], "-o", str(tmp_path / "s.safetensors"), *more)
    assert done.returncode == code
    assert said in done.stderr
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["error:", "hint:"]
