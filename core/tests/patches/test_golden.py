"""Files written by version 1.0, kept as they are: they must load for ever, with these ids, and give these bits."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from editcore.patches.arithmetic.rebuilding import rebuild_bytes
from editcore.patches.file.patch import Patch
from editcore.patches.forms.table import FORMS

GOLDEN = Path(__file__).parent / "golden"
EXPECTED: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text())


def base_bytes(dtype: str, count: int) -> bytes:
    """Element i is ((i * 37) % 101 - 50) / 64, written here without torch."""
    numbers = [((i * 37) % 101 - 50) / 64 for i in range(count)]
    match dtype:
        case "F32":
            return struct.pack(f"<{count}f", *numbers)
        case "F16":
            return struct.pack(f"<{count}e", *numbers)
    # bfloat16 is the upper half of float32; these values need no more.
    halves = [struct.pack("<f", number) for number in numbers]
    assert all(half[:2] == b"\0\0" for half in halves)
    return b"".join(half[2:] for half in halves)


def test_the_golden_folder_is_complete() -> None:
    assert {path.name for path in GOLDEN.glob("*.safetensors")} == set(EXPECTED)
    forms = {Patch.read_header(GOLDEN / name).targets["block.w"].form.name for name in EXPECTED}
    assert forms == set(FORMS)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_golden_file_keeps_its_id_its_bytes_and_its_result(name: str, tmp_path: Path) -> None:
    expected = EXPECTED[name]
    assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() == expected["file_sha256"]
    patch = Patch.load(GOLDEN / name)
    assert patch.patch_id == expected["patch_id"]
    target = patch.targets["block.w"]
    shape = target.shape
    stored = base_bytes(target.base_dtype, torch.Size(shape).numel())
    assert hashlib.sha256(stored).hexdigest() == target.base_sha256
    result = rebuild_bytes(stored, target.base_dtype, shape, patch.deltas("block.w"))
    assert hashlib.sha256(result).hexdigest() == expected["result_sha256"]
    assert result != stored
    patch.save(tmp_path / name)
    assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()
