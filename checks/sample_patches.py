"""Tiny checkpoints of random weights, and random patches of every form: for what they do to files and to bits."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch
from attrs import frozen
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from editcore.models.loading.quiet import quiet
from editcore.patches.checkpoint.fingerprint import file_sha256
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.checkpoint.shards import INDEX, SINGLE
from editcore.patches.file.patch import Patch
from editcore.patches.file.records import record_parts
from editcore.patches.file.sealing import Target, seal
from editcore.patches.file.units import Units, units_payload
from editcore.patches.forms.deltas import StoredUpdate
from editcore.storage.tensors import tensor_of
from editcore.testing.tiny import tiny_model
from editcore_hooks import Payload, Site

KEYS: Final = (
    "model.layers.0.mlp.down_proj.weight",
    "model.layers.1.mlp.down_proj.weight",
    "model.embed_tokens.weight",
    "model.layers.0.input_layernorm.weight",
)
"""Three matrices, in different shards of a sharded folder, and a vector."""

HIDDEN: Final = 32
"""Input and output width of an MLP."""

DTYPES: Final = (torch.float32, torch.float16, torch.bfloat16)
_INTEGERS: Final = {2: (torch.int16, torch.uint16), 4: (torch.int32, torch.uint32)}

Draw = torch.Generator
Make = Callable[[torch.Tensor, Draw], StoredUpdate]


def low_rank(base: torch.Tensor, draw: Draw) -> StoredUpdate:
    rows, columns = base.shape
    rank = int(torch.randint(1, 4, (), generator=draw))
    left = torch.randn(rows, rank, generator=draw) * 0.1  # (rows, r)
    return StoredUpdate("low_rank", {"left": left, "right": torch.randn(rank, columns, generator=draw)})


def dense(base: torch.Tensor, draw: Draw) -> StoredUpdate:
    return StoredUpdate("dense", {"delta": torch.randn(base.shape, generator=draw) * 0.1})


def sparse(base: torch.Tensor, draw: Draw) -> StoredUpdate:
    index = (torch.rand(base.shape, generator=draw) < 0.05).nonzero().T.contiguous()  # (2, n)
    return StoredUpdate("sparse", {"index": index, "values": torch.randn(index.shape[1], generator=draw)})


def rows(base: torch.Tensor, draw: Draw) -> StoredUpdate:
    index = torch.randperm(len(base), generator=draw)[:3].sort().values
    return StoredUpdate("rows", {"index": index, "values": torch.randn(3, base.shape[1], generator=draw)})


def wide(make: Make) -> Make:
    """The same with values in float64 that float32 does not hold."""

    def widened(base: torch.Tensor, draw: Draw) -> StoredUpdate:
        update = make(base, draw)
        parts = {n: p.double() * (1 + 2**-40) if p.is_floating_point() else p for n, p in update.parts.items()}
        return StoredUpdate(update.form, parts)

    return widened


def xor(base: torch.Tensor, draw: Draw) -> StoredUpdate:
    signed, unsigned = _INTEGERS[base.element_size()]
    after = (base.float() + torch.randn(base.shape, generator=draw)).to(base.dtype)
    return StoredUpdate("xor", {"bits": (base.view(signed) ^ after.view(signed)).view(unsigned)})


def replace(base: torch.Tensor, draw: Draw) -> StoredUpdate:
    return StoredUpdate("replace", {"stored": torch.randn(base.shape, generator=draw).to(base.dtype)})


def whole(base: torch.Tensor, parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return parts["delta"].double()


def placed(base: torch.Tensor, parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """`index` names places (2, n) or rows (n,)."""
    delta = torch.zeros(base.shape, dtype=torch.float64)
    delta[tuple(parts["index"]) if parts["index"].dim() == 2 else parts["index"]] = parts["values"].double()
    return delta


def exchanged(base: torch.Tensor, parts: Mapping[str, torch.Tensor]) -> torch.Tensor:
    signed, _ = _INTEGERS[base.element_size()]
    return (base.view(signed) ^ parts["bits"].view(signed)).view(base.dtype)


Rule = Callable[[torch.Tensor, Mapping[str, torch.Tensor]], torch.Tensor]
"""From a base and the parts of a form: the table of the format page, written once more."""


@frozen
class Form:
    """How a random update of one form is drawn for a tensor of one of `dims` dimensions, and what it does.

    `delta` is the matrix in float64 that it adds. A form that excludes others has `becomes` instead: the new tensor.
    """

    make: Make
    dims: tuple[int, ...] = (2,)
    delta: Rule | None = None
    becomes: Rule | None = None

    @property
    def exclusive(self) -> bool:
        return self.becomes is not None


FORMS: Final[Mapping[str, Form]] = {
    "low_rank": Form(low_rank, delta=lambda base, parts: parts["left"].double() @ parts["right"].double()),
    "dense": Form(dense, (1, 2), delta=whole),
    "sparse": Form(sparse, delta=placed),
    "rows": Form(rows, delta=placed),
    "dense f64": Form(wide(dense), (1, 2), delta=whole),
    "sparse f64": Form(wide(sparse), delta=placed),
    "rows f64": Form(wide(rows), delta=placed),
    "xor": Form(xor, (1, 2), becomes=exchanged),
    "replace": Form(replace, (1, 2), becomes=lambda base, parts: parts["stored"]),
}


def checkpoint(folder: Path, dtype: torch.dtype = torch.float32, sharded: bool = False) -> Path:
    """A tiny Llama with its tokenizer, saved as people save one."""
    tiny_model("llama", folder, n_layers=2)
    if dtype != torch.float32 or sharded:
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
            (folder / "model.safetensors").unlink()
            model.save_pretrained(folder, max_shard_size="32KB" if sharded else "1GB")
    return folder


def copy(source: Path, destination: Path) -> Path:
    return Path(shutil.copytree(source, destination))


def tensor(opened: Checkpoint, key: str) -> torch.Tensor:
    """A tensor of the base as stored."""
    entry = opened.entries[key]
    return tensor_of(entry.dtype, entry.shape, opened.read_base(key))


def patch(base: Path, forms: Mapping[str, str], seed: int = 0, scale: float = 1.0, title: str = "") -> Patch:
    """A random patch of `base`: `forms` names the form of each tensor."""
    opened = Checkpoint.open(base)
    draw = torch.Generator().manual_seed(seed)
    targets = {}
    for key, form in forms.items():
        entry = opened.entries[key]
        update = FORMS[form].make(tensor(opened, key), draw)
        targets[key] = Target(update, entry.dtype, entry.shape, opened.base_sha256(key))
    about = {"title": title or f"patch {seed}", "method": {"name": "check"}}
    return seal(targets, base_identity(opened, "tiny"), about, scale=scale)


def units(base: Path, seed: int = 0, block: int = 1) -> Patch:
    """Three random neurons for one MLP, without biases: a Llama has no place for those in a file."""
    draw = torch.Generator().manual_seed(seed)
    keys, values, gate = (torch.randn(3, HIDDEN, generator=draw) for _ in range(3))
    payload = units_payload({Site("block", block): Units(keys, values, gate=gate)})
    return seal({}, base_identity(Checkpoint.open(base), "tiny"), {"title": f"units {seed}"}, "modules", payload)


def memories(base: Path) -> list[Patch]:
    """A codebook and a set of facts, with two records each."""
    draw = torch.Generator().manual_seed(0)
    identity, about = base_identity(Checkpoint.open(base), "tiny"), {"title": "memory"}
    keys, values = (torch.randn(2, size, generator=draw) for size in (HIDDEN, HIDDEN))
    site = {"role": "mlp_out", "layer": 1, "stack": "decoder", "replace": "last", "expand": True}
    texts = record_parts([("Rome is in", "Italy"), ("Lima is in", "Peru")])
    parts = {"keys": keys, "values": values, "radii": torch.ones(2), **texts}
    codebook = Payload("grace.codebook", site, parts)
    rule = {"form": "ike", "facts": 1, "floor": 0.5, "encoder": 1}
    texts = record_parts([("Rome is in", "Italy", ""), ("Lima is in", "Peru", "")])
    facts = Payload("ike.facts", rule, {"vectors": keys, "centre": torch.zeros(HIDDEN), **texts})
    return [seal({}, identity, about, "memory", payload) for payload in (codebook, facts)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor as a plain loader finds it: a single file, or else the files that the index names."""
    single, index = folder / SINGLE, folder / INDEX
    files = [SINGLE] if single.is_file() else sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    return {key: value for name in files for key, value in load_file(folder / name).items()}


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every file, and the empty folders. Left out is the cache of hashes, which holds times."""
    return {
        str(path.relative_to(folder)): file_sha256(path) if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
        if path.name != "hashes.json"
    }
