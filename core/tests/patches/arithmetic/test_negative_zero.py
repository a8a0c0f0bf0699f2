"""RFC 8785 writes -0.0 as 0, so a hash cannot tell them apart, and a scale of -0.0 gives other bits than 0."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from editcore.patches.arithmetic.combining import Step, combine
from editcore.patches.arithmetic.rebuilding import rebuild
from editcore.patches.file.manifest import METADATA_KEY, write_manifest
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import Delta, StoredUpdate
from editcore.storage.safetensors_writer import write_safetensors
from editcore.storage.tensors import blob_of
from editcore_hooks import Payload, RefusedFileError

PARTS = {"left": torch.ones(4, 1), "right": torch.ones(1, 6)}
GROUP = {"patch_id": "a" * 64, "rank": 1}


def sealed(scale: float = 0.0, group: float = 1.0) -> Patch:
    target = Target(StoredUpdate("low_rank", PARTS), "F32", (4, 6), "b" * 64, ({**GROUP, "scale": group},))
    return seal({"w": target}, {"name": "tiny"}, {"title": "t"}, scale=scale)


def written(path: Path, patch: Patch, core: dict[str, Any]) -> Path:
    """The file that another writer makes of `patch`: ids that fit, and `core` in its own spelling."""
    document = {**json.loads(write_manifest(patch.core, patch.about)), "core": core}
    blobs = {name: blob_of(tensor) for name, tensor in patch.tensors.items()}
    write_safetensors(path, blobs, {METADATA_KEY: json.dumps(document)})
    return path


def test_a_scale_of_negative_zero_is_refused(tmp_path: Path) -> None:
    patch = sealed()
    core = {**patch.core, "apply": {**patch.core["apply"], "scale": -0.0}}
    with pytest.raises(RefusedFileError, match="negative zero"):
        Patch.load(written(tmp_path / "p.safetensors", patch, core))


def test_a_group_with_a_scale_of_negative_zero_is_refused(tmp_path: Path) -> None:
    patch = sealed(group=0.0)
    target = {**patch.core["targets"]["w"], "groups": [{**GROUP, "scale": -0.0}]}
    with pytest.raises(RefusedFileError, match="negative zero"):
        Patch.read_header(written(tmp_path / "p.safetensors", patch, {**patch.core, "targets": {"w": target}}))


def test_a_payload_with_a_negative_zero_in_its_data_is_refused(tmp_path: Path) -> None:
    patch = seal({}, {}, {}, "memory", Payload("store", {"radius": [0.0]}, {"keys": torch.ones(2)}))
    core = {**patch.core, "payload": {**patch.core["payload"], "data": {"radius": [-0.0]}}}
    with pytest.raises(RefusedFileError, match="negative zero"):
        Patch.load(written(tmp_path / "p.safetensors", patch, core))


def test_zero_itself_is_read(tmp_path: Path) -> None:
    patch = sealed()
    assert Patch.load(written(tmp_path / "p.safetensors", patch, dict(patch.core))).patch_id == patch.patch_id


def test_sealing_writes_zero_and_gives_its_bits() -> None:
    patch = sealed(scale=-0.0, group=-0.0)
    assert str(patch.scale) == "0.0"
    assert str(float(patch.targets["w"].groups[0].scale)) == "0.0"
    assert patch.patch_id == sealed(scale=0.0, group=0.0).patch_id
    base = torch.full((4, 6), -0.0)
    rebuilt = rebuild(base, patch.deltas("w"))
    assert torch.equal(torch.signbit(rebuilt), torch.zeros(4, 6, dtype=torch.bool))


def test_factors_whose_scale_becomes_negative_zero_are_not_called_exact() -> None:
    steps = [Step("a" * 64, Delta("low_rank", PARTS, scale)) for scale in (1.0, -1.0 * 0.0)]
    assert not combine(steps, (4, 6)).exact
    assert combine(steps[:1], (4, 6)).exact
