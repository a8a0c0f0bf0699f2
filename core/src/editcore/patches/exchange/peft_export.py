"""A weights patch as a LoRA adapter in peft's layout, which other programs load beside the base. Needs no peft."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import nn

from editcore.models.anatomy.keys import PREFIXES
from editcore.models.anatomy.parameter_keys import counterpart
from editcore.models.anatomy.skeleton import skeleton
from editcore.models.anatomy.structure import is_transposed
from editcore.patches.arithmetic.combining import dense_sum
from editcore.patches.arithmetic.factoring import Factors, factorise, in_float32, truncate
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.resolving import require_base
from editcore.patches.file.kinds import folds
from editcore.patches.file.patch import Patch
from editcore.patches.forms.deltas import norm, whole
from editcore.storage import durable
from editcore.storage.safetensors_writer import write_safetensors
from editcore.storage.tensors import blob_of
from editcore_hooks import EditcoreError, RefusedFileError, UsageError

_SMALL = 4096
"""Up to this smaller side eigenvalues are cheap."""
_ROUNDING = 1e-6
"""Squares in float64 resolve a residual no finer."""


@frozen
class Adapter:
    """Rank and relative residual by module: factors are float32, and what was not low-rank was factorised."""

    ranks: Mapping[str, int]
    residuals: Mapping[str, float]


def write_adapter(
    patch: Patch,
    base: Checkpoint,
    folder: Path,
    *,
    tolerance: float = 1e-2,
    max_rank: int = 128,
    base_name: str | None = None,
) -> Adapter:
    """Write adapter_config.json and adapter_model.safetensors into `folder`, which must be new or empty.

    The adapter names its base as `base_name`, by default the hub id that the patch names, else the folder of `base`.

    ΔW = B A with B (out, r) and A (r, in), scaling alpha / r = 1. Other forms than low_rank become at most `max_rank`
    factors. Raises `UsageError` for what an adapter cannot hold (vectors, embeddings, bits), `EditcoreError` when the
    factors miss a delta by more than `tolerance` (relative, Frobenius), `RefusedFileError` for what float32 cannot
    hold, and what `require_base` raises.
    """
    require_adaptable(patch, max_rank, tolerance)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty", hint="choose a folder that does not exist")
    keys = require_base(patch, base).keys
    model = skeleton(base.folder)
    names = {name for name, _ in model.named_parameters()}
    tensors: dict[str, torch.Tensor] = {}
    ranks: dict[str, int] = {}
    residuals: dict[str, float] = {}
    transposed = False
    paths = {key: counterpart(keys[key], names, PREFIXES).removesuffix(".weight") for key in sorted(patch.targets)}
    modules = {key: _linear(model, path, key) for key, path in paths.items()}  # all of them before the first factors
    for key, path in paths.items():
        module = modules[key]
        factors = _factors(patch, key, tolerance, max_rank)
        left, right = factors.left, factors.right
        if is_transposed(module):  # stored [in, out], and peft's B A is [out, in]
            left, right, transposed = right.T, left.T, True
        tensors[f"base_model.model.{path}.lora_A.weight"] = right
        tensors[f"base_model.model.{path}.lora_B.weight"] = left
        ranks[path], residuals[path] = factors.rank, factors.residual
    folder.mkdir(parents=True, exist_ok=True)
    blobs = {name: blob_of(tensor) for name, tensor in tensors.items()}
    write_safetensors(folder / "adapter_model.safetensors", blobs, {"format": "pt"})
    named = base_named(patch, base, base_name)
    config = json.dumps(_config(base, named, ranks, transposed), indent=2, sort_keys=True) + "\n"
    durable.write_atomically(folder / "adapter_config.json", [config.encode()])
    return Adapter(ranks, residuals)


def require_adaptable(patch: Patch, max_rank: int, tolerance: float) -> None:
    """Refuse what the patch alone decides, before a base is looked for. Raises `UsageError`, `EditcoreError`.

    The nearest product of r factors leaves the eigenvalues of δ δᵀ after the r-th (Eckart and Young), which costs a
    fraction of finding it.
    """
    if patch.kind != "weights":
        hint = "editcore export PATCH --to merged" if folds(patch) else "keep it as a patch"
        raise UsageError(f"a patch of kind {patch.kind} is not a LoRA adapter", hint=hint)
    for key, target in patch.targets.items():
        if target.form.exclusive or len(target.shape) != 2:
            what = f"{target.form.name}, which is not a delta" if target.form.exclusive else "not a matrix"
            raise UsageError(f"{key} is {what}", hint="editcore export PATCH --to merged")
        if not target.form.factored and min(target.shape) <= _SMALL:
            norm(whole(patch.deltas(key)), key)  # raises for what overflows
            _require_factors(key, dense_sum(patch.deltas(key), target.shape), max_rank, tolerance)


def _require_factors(key: str, delta: torch.Tensor, rank: int, tolerance: float) -> None:
    wide = delta if delta.shape[0] <= delta.shape[1] else delta.T  # (m, n), m the smaller
    energies = torch.linalg.eigvalsh(wide @ wide.T).clamp(min=0)  # (m,) ascending
    residual = float(energies[: max(0, len(energies) - rank)].sum() / energies.sum()) ** 0.5 if energies.any() else 0.0
    if residual > 1.01 * tolerance + _ROUNDING:
        _refuse_residual(key, rank, residual, tolerance)


def _refuse_residual(key: str, rank: int, residual: float, tolerance: float) -> None:
    raise EditcoreError(
        f"{rank} factors miss {key} by {residual:.3g}, more than the tolerance of {tolerance:g}",
        hint="raise --max-rank or --tolerance, or export --to merged",
    )


def base_named(patch: Patch, base: Checkpoint, name: str | None = None) -> tuple[str, str | None]:
    """The base that peft loads with the adapter: a hub id with its commit, or a path with None."""
    described = patch.annotation("base")
    if name is not None:
        return name, None
    if described.get("revision") and described.get("name"):
        return str(described["name"]), str(described["revision"])
    return str(base.folder.absolute()), None


def _linear(model: nn.Module, path: str, key: str) -> nn.Module:
    module = model.get_submodule(path) if path in dict(model.named_modules()) else None
    if module is None or not (isinstance(module, nn.Linear) or is_transposed(module)):
        what = "no module" if module is None else type(module).__name__
        raise UsageError(
            f"{key} is the weight of {what}, but an adapter holds only those of linear maps",
            hint="editcore export PATCH --to merged",
        )
    return module


def _factors(patch: Patch, key: str, tolerance: float, max_rank: int) -> Factors:
    deltas, target = patch.deltas(key), patch.targets[key]
    if target.form.exclusive:
        raise UsageError(f"{key} is {target.form.name}, which is not a delta", hint="editcore export PATCH --to merged")
    together = whole(deltas)
    norm(together, key)  # raises for what overflows
    if target.form.factored:
        left, right = together.with_scale().factors
        factors = truncate(left, right, max_rank) if left.shape[1] > max_rank else in_float32(left, right)
    else:
        factors = factorise(dense_sum(deltas, target.shape), tolerance, max_rank)
    if not factors.residual < math.inf:
        raise RefusedFileError(f"the factors of {key} overflow F32", hint="editcore export PATCH --to merged")
    if factors.residual > tolerance:
        _refuse_residual(key, max_rank, factors.residual, tolerance)
    return factors


def _config(
    base: Checkpoint, named: tuple[str, str | None], ranks: Mapping[str, int], transposed: bool
) -> dict[str, Any]:
    rank = max(ranks.values())
    # peft reads the patterns as regular expressions at the end of a module's name.
    others = {f"^{re.escape(path)}": own for path, own in ranks.items() if own != rank}
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_2_SEQ_LM" if base.config.get("is_encoder_decoder") else "CAUSAL_LM",
        "base_model_name_or_path": named[0],
        "revision": named[1],
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": sorted(ranks),
        "fan_in_fan_out": transposed,
        "bias": "none",
        "lora_dropout": 0.0,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
    }
