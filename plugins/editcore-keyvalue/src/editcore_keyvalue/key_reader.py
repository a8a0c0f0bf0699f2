"""Keys and values of many edits layer by layer, on the model with what was already computed for lower layers.

Nothing is written: updates run as side branches. A key depends on the tokens up to the edited one alone, so rows end
there; rows that several edits share are run once; and what entered the last layer asked for is kept, so that no block
below it runs again.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from attrs import define, field, frozen
from torch import Tensor

from editcore.authoring.models import Batch, Resumed, Tap, Trace, align, branch, resume
from editcore_hooks import Anatomy, LowRank, Site
from editcore_keyvalue.rows import EditRows

TOKENS_PER_CHUNK: Final = 8192

Written = Mapping[Site, LowRank]


@define(eq=False)
class _Chunk:
    """Rows of one forward, every edited token in the last column. `rows` (U,) are their numbers among all."""

    rows: Tensor
    batch: Batch
    resumed: Resumed | None = None


@frozen(eq=False)
class KeyReader:
    """The rows of E edits on their way up. `of` lists the row of every context of each edit, the clean one first."""

    anatomy: Anatomy
    of: Sequence[Sequence[int]]
    chunks: Sequence[_Chunk] = field(repr=False)

    @classmethod
    def of_edits(cls, anatomy: Anatomy, edits: Sequence[EditRows], contexts: int) -> "KeyReader":
        """`contexts` rows of each edit make its key: those of its first request, where several share the key."""
        numbers: dict[tuple[int, ...], int] = {}
        of = [
            [numbers.setdefault(row.ids[: row.s + 1], len(numbers)) for row in edit.contexts[:contexts]]
            for edit in edits
        ]
        rows = list(numbers)
        chunks: list[list[int]] = []
        for number in sorted(range(len(rows)), key=lambda i: len(rows[i])):
            # the last row of a chunk is its longest
            if not chunks or (len(chunks[-1]) + 1) * len(rows[number]) > TOKENS_PER_CHUNK:
                chunks.append([])
            chunks[-1].append(number)
        device = anatomy.model.device
        made = []
        for chunk in chunks:
            batch, _ = align([rows[i] for i in chunk], [len(rows[i]) - 1 for i in chunk])
            made.append(_Chunk(torch.tensor(chunk), batch.to(device)))
        return cls(anatomy, of, made)

    @torch.no_grad()
    def keys(self, layer: int, written: Written, apart: bool = False) -> tuple[Tensor, Tensor | None]:
        """Keys (f, E) at `layer`, which must not be below the last one asked for; `written` is of lower layers.

        A key is half that of the clean prompt and half the mean over the other contexts, as in MEMIT's code. With
        `apart`, how those of single contexts differ from it, (f, E · R), so scaled that D Dᵀ sums their weighted
        squares.
        """
        site = Site("mlp_out", layer)
        found: dict[int, Tensor] = {}
        for chunk in self.chunks:
            with branch(self.anatomy, written), Trace(self.anatomy, {site: Tap(input=True)}) as trace:
                if chunk.resumed is None:
                    chunk.resumed = resume(self.anatomy, chunk.batch, layer, through=layer)
                else:
                    chunk.resumed = chunk.resumed.onward(layer)
            found |= zip(chunk.rows.tolist(), last_column(trace.input(site)), strict=True)
        every = torch.stack([found[i] for i in range(len(found))])  # (U, f)
        each = torch.stack([every[rows] for rows in self.of])  # (E, R, f)
        n_others = each.shape[1] - 1
        weight = torch.tensor([0.5, *[0.5 / n_others] * n_others] if n_others else [1.0], device=each.device)[:, None]
        mean = (weight * each).sum(1)  # (E, f)
        if not apart:
            return mean.T, None
        return mean.T, (weight.sqrt() * (each - mean[:, None])).flatten(0, 1).T

    @torch.no_grad()
    def outputs(self, site: Site, written: Written) -> Tensor:
        """The output of `site` at the edited token of each clean prompt, (d, E); not below the last keys' layer."""
        found: dict[int, Tensor] = {}
        wanted = {rows[0] for rows in self.of}
        for chunk in self.chunks:
            index = torch.tensor([i for i, number in enumerate(chunk.rows.tolist()) if number in wanted])
            if not len(index):
                continue
            assert chunk.resumed is not None
            some = chunk.resumed.rows(index.to(chunk.batch.ids.device))
            with branch(self.anatomy, written), Trace(self.anatomy, {site: Tap(output=True)}, stop=True) as trace:
                some.forward()
            found |= zip(chunk.rows[index].tolist(), last_column(trace.output(site)), strict=True)
        return torch.stack([found[rows[0]] for rows in self.of]).T  # (d, E)


def last_column(traced: Tensor) -> Tensor:
    """The last column of (B, T, ·), (B, ·), in memory of its own: a view would keep every chunk's whole (B, T, ·)."""
    return traced[:, -1].float().clone()
