"""`inspect`, `verify`, `generate`, `apply` and `export` of units."""

import json
from pathlib import Path

import torch

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.file.sealing import seal
from editcore.patches.file.units import Units, units_payload
from editcore_hooks import Site


def test_units_are_shown_verified_refused_on_a_folder_and_folded(command, tiny, fact_patch, tmp_path):
    path, folded = tmp_path / "units.safetensors", tmp_path / "folded"
    units = Units(torch.ones(2, 32), torch.ones(2, 32), gate=torch.ones(2, 32))
    base = base_identity(Checkpoint.open(tiny), "tiny")
    seal({}, base, {"title": "two"}, kind="modules", payload=units_payload({Site("block", 1): units})).save(path)
    shown = command("inspect", str(path))
    assert shown.returncode == 0, shown.stderr
    lines = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    assert ["kind", "modules (ffn_units)"] in lines
    assert ["units", "2 in decoder.1"] in lines
    assert "decoder.1.gate    F32    2×32" in shown.stdout
    assert command("verify", str(path)).returncode == 0
    assert command("export", str(path), "--to", "card", "-o", str(tmp_path / "card.md")).returncode == 0
    card = (tmp_path / "card.md").read_text()
    assert "editcore export units.safetensors --to merged --model BASE" in card
    assert "editcore apply" not in card
    assert "\npip install editcore\n" in card
    assert "Neurons that are appended to the MLPs" in card
    refused = command("apply", str(path), "--model", str(tiny), "--in-place")
    assert refused.returncode == 4
    assert refused.stderr.endswith(f"fold it into one: editcore export {path} --to merged --model {tiny} -o OUT\n")
    both = [str(path), str(fact_patch(tiny, "fact"))]
    done = command("export", *both, "--to", "merged", "--model", str(tiny), "-o", str(folded), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mlp_width"] == {"before": 48, "after": 50}
    assert json.loads((folded / "config.json").read_text())["intermediate_size"] == 50
    said = command("generate", str(folded), "--prompt", "Ada lives in", "--max-new-tokens", "2", "--json")
    beside = command(
        "generate", str(tiny), *(f"--patch={name}" for name in both), "--prompt", "Ada lives in",
        "--max-new-tokens", "2", "--json",
    )  # fmt: skip
    assert said.returncode == beside.returncode == 0, beside.stderr
    assert json.loads(said.stdout)[0]["base"] == json.loads(beside.stdout)[0]["patched"]
    aside = command(
        "generate", str(tiny), "--beside", f"--patch={both[1]}", "--prompt", "Ada lives in", "--max-new-tokens", "2"
    )
    assert aside.returncode == 0, aside.stderr
    several = command("export", *both, "--to", "peft", "--model", str(tiny), "-o", str(tmp_path / "a"))
    assert several.returncode == 2
    assert "takes one patch" in several.stderr


def test_inspect_of_units_loads_no_torch(modules_after, tiny, tmp_path: Path):
    path = tmp_path / "units.safetensors"
    payload = units_payload({Site("block", 0): Units(torch.ones(1, 32), torch.ones(1, 32), gate=torch.ones(1, 32))})
    seal({}, base_identity(Checkpoint.open(tiny)), {}, kind="modules", payload=payload).save(path)
    assert not {"torch", "transformers", "numpy"} & modules_after("inspect", str(path))
