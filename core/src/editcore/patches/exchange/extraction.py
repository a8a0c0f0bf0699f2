"""Extract: two checkpoints of one model, tensor by tensor, become a patch that leads from the first to the second."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

import torch
from attrs import frozen

from editcore.patches.arithmetic.combining import smallest
from editcore.patches.arithmetic.factoring import factorise
from editcore.patches.arithmetic.rebuilding import rebuild, result_sha256
from editcore.patches.checkpoint.fingerprint import weights_root
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.checkpoint.pairing import pair
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.bits import Bits
from editcore.patches.forms.deltas import Delta, StoredUpdate
from editcore.patches.forms.form import FLOATS
from editcore.patches.forms.low_rank import LOW_RANK
from editcore.patches.forms.table import EXCLUSIVE
from editcore.patches.forms.xor import XOR
from editcore.storage.tensors import blob_of, tensor_of
from editcore_hooks import RefusedFileError, UsageError

DELTA: Final = "delta"
"""In place of the name of an exclusive form: the smallest delta of any form."""


@frozen
class Extracted:
    """`exact` names the targets on which the patch gives the bits of the edited model; `residuals` what the others
    lack: ‖applied - edited‖ / ‖edited - base‖ after rounding."""

    patch: Patch
    residuals: Mapping[str, float]
    exact: tuple[str, ...]
    notices: tuple[str, ...] = ()


def extract(
    base: Checkpoint,
    edited: Checkpoint,
    *,
    tolerance: float = 1e-3,
    max_rank: int = 128,
    exact: bool = False,
    form: str = DELTA,
    name: str | None = None,
    title: str | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Extracted:
    """A patch of what `edited` has otherwise than `base`, with two tensors in memory at a time.

    A matrix becomes low-rank where at most `max_rank` factors come within `tolerance` (relative Frobenius residual)
    and are smaller; else what is smallest of dense, rows and sparse in float32. With `exact` only what gives the bits
    of `edited`, and `xor` where no delta does. With the `form` xor or replace every tensor that differs has that form,
    which gives the bits of `edited` without a search. `advance` is called after each tensor.

    Tensors are paired by name, whatever tool saved them: see `pairing`.

    Raises `WrongBaseError` when the two do not have the same weights, `UsageError` when they are equal or `base`
    carries patches, `RefusedFileError` for quantised tensors and for values that are not finite.
    """
    if base.patch_ids:
        raise UsageError(f"{base.folder} carries patches", hint="give their base, or a copy with them reverted")
    if tolerance < 0 or max_rank < 1:
        raise UsageError(
            "tolerance {tolerance:g} and rank {max_rank} are invalid",
            hint="choose a tolerance of 0 or more and a rank of 1 or more",
        )
    if form != DELTA and form not in EXCLUSIVE:
        raise UsageError(f"{form!r} is not a form that can be extracted", hint=f"use {DELTA}, {' or '.join(EXCLUSIVE)}")
    bits = EXCLUSIVE.get(form)
    pairs = pair(base, edited)
    targets: dict[str, Target] = {}
    residuals: dict[str, float] = {}
    results: dict[str, str] = {}
    same: list[str] = []
    for key, entry in base.entries.items():
        there = pairs.keys.get(key)
        if there is not None and base.sha256(key) != edited.sha256(there):
            if entry.dtype not in FLOATS:
                raise RefusedFileError(
                    f"{key} is stored as {entry.dtype} and differs: an integer tensor takes no weight patch",
                    hint="compare the models before they were quantised",
                )
            before, after = (tensor_of(entry.dtype, entry.shape, data) for data in (base.read(key), edited.read(there)))
            if not bool(torch.isfinite(after).all()):
                raise RefusedFileError(f"{key} of {edited.folder} holds values that are not finite", hint="train again")
            if bits is None:
                update, result = _update(before, after, tolerance, max_rank, exact, key)
            else:
                update, result = _exclusive(bits, before, after), after
            targets[key] = Target(update, entry.dtype, entry.shape, base.sha256(key))
            results[key] = result_sha256(result)
            if results[key] == edited.sha256(there):
                same.append(key)
            else:
                residuals[key] = _distance(result, after) / _distance(before, after)
        advance()
    if not targets:
        raise UsageError(f"{edited.folder} has the weights of {base.folder}", hint="there is nothing to extract")
    about = {
        "title": title or f"{edited.folder.resolve().name} from {base.folder.resolve().name}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "method": {"name": "extract", "distribution": "editcore", "version": version("editcore")},
        "extract": {
            "edited_root": weights_root((k, e.dtype, e.shape, edited.sha256(k)) for k, e in edited.entries.items()),
            "tolerance": tolerance,
            "max_rank": max_rank,
            "exact": same,
            "residuals": residuals,
        },
        "result_sha256": results,
    }
    patch = seal(targets, base_identity(base, name), about)
    return Extracted(patch, residuals, tuple(same), (*pairs.notices, *_notices(base, edited)))


def _update(
    before: torch.Tensor, after: torch.Tensor, tolerance: float, max_rank: int, exact: bool, key: str
) -> tuple[StoredUpdate, torch.Tensor]:
    """The update of one tensor, and what it makes of `before`."""
    delta = after.double() - before.double()
    plain = smallest(delta.float().double()) if delta.dim() else None
    candidates = [plain] if plain is not None else []
    if plain is not None and (low_rank := _low_rank(delta, tolerance, max_rank, plain)) is not None:
        candidates.insert(0, low_rank)
    for update in candidates:
        result = rebuild(before, [Delta(update.form, update.parts)], key)
        if not exact or blob_of(result).data == blob_of(after).data:
            return update, result
    return _exclusive(XOR, before, after), after


def _exclusive(form: Bits, before: torch.Tensor, after: torch.Tensor) -> StoredUpdate:
    return StoredUpdate(form, form.between(before, after))


def _low_rank(delta: torch.Tensor, tolerance: float, max_rank: int, plain: StoredUpdate) -> StoredUpdate | None:
    if delta.dim() != 2:
        return None
    size = sum(part.numel() * part.element_size() for part in plain.parts.values())
    affordable = min(max_rank, (size - 1) // (4 * sum(delta.shape)))
    if affordable < 1:
        return None
    factors = factorise(delta, tolerance, affordable)
    if factors.residual > tolerance:
        return None
    return StoredUpdate(LOW_RANK, {"left": factors.left, "right": factors.right})


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.double() - other.double()).norm())


def _notices(base: Checkpoint, edited: Checkpoint) -> tuple[str, ...]:
    pairs: list[tuple[str, Any, Any]] = [
        ("structure", base.config_sha256, edited.config_sha256),
        ("tokenizer", base.tokenizer_sha256, edited.tokenizer_sha256),
    ]
    return tuple(
        f"the {what} of {edited.folder} is not that of {base.folder}; a patch changes weights alone"
        for what, one, other in pairs
        if one != other
    )
