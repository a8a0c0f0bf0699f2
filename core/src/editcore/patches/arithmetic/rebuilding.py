"""The one equation: W' = cast(cast(W0 → f64 + Σ scale·δ, f32), dtype), in fixed row blocks.

Always from the base as stored, patches in ascending id. Taking a patch out is leaving it out of the sum: subtracting
it from W' would leave a fifth of the elements one rounding away from where they were.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Final

import torch

from editcore.patches.arithmetic.denormals import small_numbers_kept
from editcore.patches.forms.deltas import Delta
from editcore.storage.tensors import DTYPE_NAMES, blob_of, tensor_of
from editcore_hooks import ConflictError, RefusedFileError

BLOCK_ELEMENTS: Final = 2**20
"""A block has max(1, 2^20 // columns) rows. Part of the format: another cut gives other bits from a matmul."""


def rebuild(base: torch.Tensor, deltas: Sequence[Delta], name: str = "the tensor") -> torch.Tensor:
    """The base with `deltas` (ascending patch id) added; bit-equal to the base when there are none.

    `base` has its stored dtype, which the result keeps; a float64 base leaves the f32 cast out, which would cost its
    own bits. Computed on the CPU. Raises `RefusedFileError` when a finite weight would become infinite or NaN, and
    `ConflictError` for an exclusive form beside another delta.
    """
    return rebuild_in_place(base.detach().cpu().clone(memory_format=torch.contiguous_format), deltas, name)


def rebuild_in_place(result: torch.Tensor, deltas: Sequence[Delta], name: str) -> torch.Tensor:
    """`rebuild` in the memory of the base, which on an error is half done."""
    if not deltas:
        return result
    if any(delta.form.exclusive for delta in deltas):
        return _exchange_bits(result, deltas, name)
    with small_numbers_kept(result.numel()):
        return _add(result, deltas, name)


def _add(result: torch.Tensor, deltas: Sequence[Delta], name: str) -> torch.Tensor:
    matrix = as_matrix(result)  # a view of result
    for start, stop in blocks(matrix):
        total = matrix[start:stop].double()
        for delta in deltas:
            added = delta.block(start, stop, matrix.shape[1])
            total += added if delta.scale == 1 else delta.scale * added  # the same bits, and a pass less
        rounded = (total if result.dtype == torch.float64 else total.float()).to(result.dtype)
        # A sum is finite only when all of it is, and costs a tenth of asking each: they are asked where it is not.
        fine = math.isfinite(float(rounded.sum(dtype=torch.promote_types(rounded.dtype, torch.float32))))
        if not fine and _became_infinite(matrix[start:stop], rounded):
            raise RefusedFileError(f"the patched {name} overflows {DTYPE_NAMES[result.dtype]}", hint=_too_large(deltas))
        matrix[start:stop] = rounded
    return result


def rebuild_bytes(
    base: bytes, dtype: str, shape: tuple[int, ...], deltas: Sequence[Delta], name: str = "the tensor"
) -> bytes:
    """`rebuild` on stored bytes."""
    # The tensor owns its memory, so nothing else is held beside it.
    return base if not deltas else blob_of(rebuild_in_place(tensor_of(dtype, shape, base), deltas, name)).data


def result_sha256(result: torch.Tensor) -> str:
    """The hash of a tensor's stored bytes, lower-case hex."""
    return hashlib.sha256(blob_of(result).data).hexdigest()


def _exchange_bits(result: torch.Tensor, deltas: Sequence[Delta], name: str) -> torch.Tensor:
    if len(deltas) > 1:
        raise ConflictError(f"a patch of {name} replaces its bits and excludes others there", hint="apply it alone")
    after = deltas[0].form.becomes(deltas[0].parts, result)
    if _became_infinite(result, after):
        raise RefusedFileError(f"the patched {name} is not finite", hint="get the patch again from its author")
    return after


def _too_large(deltas: Sequence[Delta]) -> str:
    """The next step: a change that is far beyond every weight was made badly, and a wider dtype would keep it."""
    several = len(deltas) > 1
    return (
        "apply the patches one by one to see which is too large" if several else "make the edit again, with less change"
    )


def _became_infinite(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Whether a finite weight is infinite or NaN now."""
    return not bool((torch.isfinite(after) | ~torch.isfinite(before)).all())


def as_matrix(tensor: torch.Tensor) -> torch.Tensor:
    """A view in which a vector is one column and what has more dimensions has longer rows."""
    return tensor.view(-1, tensor.shape[-1]) if tensor.dim() > 1 else tensor.view(-1, 1)


def blocks(matrix: torch.Tensor) -> Iterator[tuple[int, int]]:
    """First and last row of each block in which the arithmetic is done."""
    rows, columns = matrix.shape
    step = max(1, BLOCK_ELEMENTS // max(1, columns))
    for start in range(0, rows, step):
        yield start, min(start + step, rows)
