"""How the golden files were made. Not run by any test: what is committed must be readable for ever.

    python core/tests/patches/golden/make.py FOLDER

Base bytes are not stored: element i of a tensor is ((i * 37) % 101 - 50) / 64, exact in every dtype.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch

from editcore.patches.arithmetic.rebuilding import rebuild, result_sha256
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.file.units import Units, units_payload
from editcore.patches.forms.deltas import StoredUpdate
from editcore.patches.forms.table import EXCLUSIVE
from editcore.storage.tensors import DTYPE_NAMES, blob_of
from editcore_hooks import Site

SHAPE = (6, 5)


def base(dtype: torch.dtype, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    count = torch.arange(torch.Size(shape).numel())
    return (((count * 37) % 101 - 50) / 64).reshape(shape).to(dtype)


def values(*shape: int, step: int) -> torch.Tensor:
    """Multiples of 1/4096: products and sums of a few are exact, so every machine gives the same bits."""
    count = torch.arange(torch.Size(shape).numel())
    return (((count * step) % 211 - 105) / 4096).float().reshape(shape)


UPDATES = {
    "low_rank": StoredUpdate("low_rank", {"left": values(6, 2, step=17), "right": values(2, 5, step=29)}),
    "dense": StoredUpdate("dense", {"delta": values(6, 5, step=31)}),
    "dense_vector": StoredUpdate("dense", {"delta": values(6, step=41)}),
    "sparse": StoredUpdate("sparse", {"index": torch.tensor([[0, 2, 5], [4, 1, 0]]), "values": values(3, step=53)}),
    "rows": StoredUpdate("rows", {"index": torch.tensor([1, 4]), "values": values(2, 5, step=59)}),
}
BITS = {torch.float32: torch.uint32, torch.float16: torch.uint16, torch.bfloat16: torch.uint16}
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def exclusive(name: str, dtype: torch.dtype) -> StoredUpdate:
    """Parts in the dtype, or as wide as the dtype, of the base."""
    if name == "replace":
        return StoredUpdate("replace", {"stored": values(*SHAPE, step=61).to(dtype)})
    places = torch.arange(30).reshape(SHAPE)
    return StoredUpdate("xor", {"bits": ((places * 43) % 8).to(BITS[dtype])})


def make(name: str, dtype: torch.dtype, scale: float) -> tuple[Patch, str]:
    shape = (6,) if name == "dense_vector" else SHAPE
    stored = base(dtype, shape)
    update = exclusive(name, dtype) if name in EXCLUSIVE else UPDATES[name]
    target = Target(update, DTYPE_NAMES[dtype], shape, hashlib.sha256(blob_of(stored).data).hexdigest())
    patch = seal({"block.w": target}, {"name": "formula"}, {"title": f"{name} on {target.base_dtype}"}, scale=scale)
    return patch, result_sha256(rebuild(stored, patch.deltas("block.w")))


def make_units() -> Patch:
    """Units of a plain and of a gated MLP; they have no result without a model."""
    plain = Units(values(2, 4, step=67), values(2, 4, step=71), biases=values(2, step=73))
    gated = Units(values(1, 4, step=79), values(1, 4, step=83), gate=values(1, 4, step=89))
    payload = units_payload({Site("block", 0, "encoder"): plain, Site("block", 2): gated})
    return seal({}, {"name": "formula"}, {"title": "units"}, kind="modules", payload=payload)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    expected = {}
    for name in (*UPDATES, *EXCLUSIVE):
        for dtype in DTYPES:
            scaled = dtype == torch.float16 and name not in EXCLUSIVE
            patch, result = make(name, dtype, scale=-0.5 if scaled else 1.0)
            file = f"{name}-{DTYPE_NAMES[dtype].lower()}.safetensors"
            patch.save(folder / file)
            digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
            expected[file] = {"patch_id": patch.patch_id, "file_sha256": digest, "result_sha256": result}
    (folder / "units").mkdir(exist_ok=True)
    make_units().save(folder / "units" / "ffn_units.safetensors")
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
