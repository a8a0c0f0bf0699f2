"""Find refusals that would come only while a plan is written: results that are not finite."""

import torch

from editcore.patches.arithmetic.rebuilding import rebuild_bytes
from editcore.patches.change.plan import Plan
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.forms.deltas import Delta
from editcore.storage.tensors import view_of
from editcore.text.ids import under


def rehearse(plan: Plan) -> None:
    """Raise `RefusedFileError` where `plan` gives a finite weight a value that is infinite or NaN.

    A result is computed where bits are set, or where the largest values could add up to more than the dtype holds.
    """
    opened = plan.checkpoint
    for key in plan.changed:
        deltas = plan.deltas(key)
        if deltas and _may_overflow(opened, key, deltas):
            entry = opened.entries[key]
            said = under(key, plan.touched[key])
            rebuild_bytes(opened.read_base(key), entry.dtype, entry.shape, deltas, said)


def _may_overflow(opened: Checkpoint, key: str, deltas: list[Delta]) -> bool:
    if any(delta.form.exclusive for delta in deltas):
        return True
    entry = opened.entries[key]
    base = view_of(entry.dtype, entry.shape, opened.read_base(key))
    largest = float(base.abs().max()) + sum(abs(delta.scale) * delta.form.largest(delta.parts) for delta in deltas)
    return not largest < torch.finfo(base.dtype).max  # also where the base holds NaN
