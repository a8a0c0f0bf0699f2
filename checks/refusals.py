"""Refusals of what a person can get wrong, through the command line: error, hint, exit code, no change on disk.

Files that lie are in `attacks`.
"""

import json
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from checks import models
from checks.attacks import shown
from checks.commands import call, error_lines, tree


def run() -> list[str]:
    rows = ["| case | exit code | error | hint |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for case, expected, arguments in _cases(place):
            before = tree(place)
            code, said = call(arguments)
            assert code == expected, f"{case}: exit code {code}, not {expected}: {said}"
            error_lines("".join(line for line in said.splitlines(keepends=True) if not line.startswith("warning: ")))
            assert tree(place) == before, f"{case} changed something on disk"
            rows.append(f"| {case} | {code} | {shown(said, place)} |")
    return rows


def _cases(place: Path) -> Iterator[tuple[str, int, list[str]]]:
    model = models.single(place / "model")
    shards = models.sharded(place / "sharded")
    first, second = models.patches(model, 2)
    good = place / "good.safetensors"
    first.save(good)
    key = next(iter(first.targets))

    yield "a wrong base", 3, ["apply", str(good), "--model", str(shards), "--in-place"]
    yield "no such model", 2, ["apply", str(good), "--model", str(place / "nowhere"), "--in-place"]
    yield "nowhere to write", 2, ["apply", str(good), "--model", str(model)]

    patched = place / "patched"
    assert call(["apply", str(good), "--model", str(model), "-o", str(patched)])[0] == 0
    yield "applied already", 4, ["apply", str(good), "--model", str(patched), "--in-place"]
    yield "revert of what is not there", 2, ["revert", second.patch_id, "--model", str(patched)]
    changed = place / "changed"
    shutil.copytree(patched, changed)
    weights = bytearray((changed / "model.safetensors").read_bytes())
    header = 8 + struct.unpack("<Q", weights[:8])[0]
    entry = json.loads(weights[8:header])[key]
    weights[header + entry["data_offsets"][0]] ^= 1
    (changed / "model.safetensors").write_bytes(weights)
    yield "a file changed after it was patched", 6, ["revert", first.patch_id, "--model", str(changed)]
    yield "the same, asked of verify", 6, ["verify", str(changed)]

    pickled = place / "pickled"
    shutil.copytree(model, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    yield "a .bin checkpoint", 6, ["apply", str(good), "--model", str(pickled), "--in-place"]
    quantised = place / "quantised"
    shutil.copytree(model, quantised)
    config = json.loads((quantised / "config.json").read_text())
    (quantised / "config.json").write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
    yield "a quantised base", 6, ["apply", str(good), "--model", str(quantised), "--in-place"]
    cache = place / "models--demo--gpt2" / "snapshots" / "abc"
    shutil.copytree(model, cache)
    yield "a hub cache in place", 6, ["apply", str(good), "--model", str(cache), "--in-place"]
    broken = place / "broken"
    shutil.copytree(shards, broken)
    next(broken.glob("model-00002*")).unlink()
    yield "a shard that is missing", 6, ["verify", str(broken)]

    yield "a figure not reached", 5, [
        "edit", str(model), "--prompt", "{} works as a", "--subject", "Nobody Known", "--target", "pilot",
        "--target-true", "baker", "-o", str(place / "never.safetensors"), "--require", "pref.es@1>=2",
        "--set", "v_steps=2", "--set", "context_count=1", "--set", "mom2_tokens=2000",
    ]  # fmt: skip
    yield "a misspelt setting", 2, ["edit", str(model), "--prompt", "{} is", "--subject", "A", "--target", "b",
                                    "-o", str(place / "x.safetensors"), "--set", "layr=2"]  # fmt: skip
    yield "an unknown method", 4, ["edit", str(model), "--prompt", "{} is", "--subject", "A", "--target", "b",
                                   "-o", str(place / "x.safetensors"), "--method", "rom"]  # fmt: skip
