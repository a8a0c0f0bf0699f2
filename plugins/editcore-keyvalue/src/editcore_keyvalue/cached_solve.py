"""C⁻¹G and GᵀC⁻¹G of the last system, kept: along a sequence of edits each begins with the keys of the one before.

Without it an edit would solve for all earlier keys again, and a sequence would take time by the square of its length.
Columns are solved for in blocks that do not depend on what was kept, so that an edit has the same bits in a session
that made those before it and in one that found them in their patches.
"""

from typing import Final

import torch
from attrs import define, field, frozen
from torch import Tensor

BLOCK: Final = 64
"""Columns solved for together. Those of the last block are solved for again when the next edit adds to them."""


@frozen(eq=False)
class _Block:
    """Columns of G (f, b), C⁻¹ of them, and the products (m, b) of that with all columns up to the block's end."""

    g: Tensor
    x: Tensor
    gram: Tensor


@define(eq=False)
class CachedSolve:
    """`lower` is the Cholesky factor of C, (f, f)."""

    lower: Tensor
    kept: list[_Block] = field(factory=list, repr=False)

    def __call__(self, g: Tensor) -> tuple[Tensor, Tensor]:
        """X = C⁻¹G and GᵀX for `g` (f, m), float64."""
        total = g.shape[1]
        blocks: list[_Block] = []
        gram = g.new_empty(total, total)
        for start in range(0, total, BLOCK):
            end = min(start + BLOCK, total)
            block = self._block(g, start, end, self.kept[len(blocks)] if len(blocks) < len(self.kept) else None)
            if len(blocks) < len(self.kept) and block is not self.kept[len(blocks)]:
                self.kept = []  # a product is one with all columns before
            blocks.append(block)
            gram[:end, start:end] = block.gram
            gram[start:end, :start] = block.gram[:start].T
        self.kept = blocks
        return torch.cat([block.x for block in blocks], 1), gram

    def _block(self, g: Tensor, start: int, end: int, kept: _Block | None) -> _Block:
        own = g[:, start:end].contiguous()
        if kept is not None and torch.equal(kept.g, own):
            return kept
        x = torch.cholesky_solve(own, self.lower)
        return _Block(own, x, g[:, :end].contiguous().T @ x)
