"""The changes of a tensor, as matrices: the updates of methods, and the deltas of present patches."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from editcore.authoring.arithmetic import Delta, norm, tensor_of, to_stored, whole
from editcore.authoring.patches import Checkpoint, Patch, PatchHeader, require_base
from editcore_hooks import TensorUpdate, Update, UsageError


def require_tensors(update: Update, transform: str) -> None:
    """Raises `UsageError` for an update that changes no weights."""
    if update.payload is not None:
        message = f"{transform} changes weights, and this method writes none"
        raise UsageError(message, hint=f"leave out --transform {transform}")


def dense(update: TensorUpdate, shape: Sequence[int]) -> Tensor:
    """Δ (d_out, d_in) of an update, canonical, float64."""
    stored = to_stored(update, transposed=False)
    return Delta(stored.form, stored.parts).block(0, shape[0], shape[1])


def base_weight(checkpoint: Checkpoint, key: str) -> Tensor:
    """The tensor of the base as stored, float64."""
    entry = checkpoint.entries[key]
    return tensor_of(entry.dtype, entry.shape, checkpoint.read_base(key)).double()


def deltas_by_key(checkpoint: Checkpoint, patches: Iterable[Patch | PatchHeader]) -> dict[str, list[Delta]]:
    """The sum of weight patches on each tensor, in stored orientation; without `xor`, which adds nothing."""
    found: dict[str, list[Delta]] = {}
    for patch in patches:
        if patch.kind != "weights":
            continue
        for own, key in require_base(patch, checkpoint).keys.items():
            if not patch.targets[own].form.needs_base:
                found.setdefault(key, []).extend(patch.deltas(own))
    return found


def total(deltas: Sequence[Delta], shape: Sequence[int]) -> Tensor:
    """Σ scale · δ as stored, float64; a vector counts as a matrix of one column."""
    rows, columns = shape[0], shape[1] if len(shape) > 1 else 1
    result = torch.zeros(rows, columns, dtype=torch.float64)
    for delta in deltas:
        result += delta.scale * delta.block(0, rows, columns)
    return result


def total_norm(deltas: Sequence[Delta], shape: Sequence[int]) -> float:
    """‖Σ scale · δ‖, without forming products of low rank."""
    if all(delta.form.factored for delta in deltas):
        return norm(whole(deltas))
    return float(total(deltas, shape).norm())
