"""Token rows that begin alike, read as one row: a tree whose branches do not see each other.

    the capital of ┬ France is      what is read       0 1 2 3 4 3 4     positions
                   └ Spain is       a mask by which each token sees itself and those before it in its own branch

A row without branches is an ordinary one. Which models read trees rightly is found by reading one.
"""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import torch
from attrs import define, field
from torch import Tensor

from editcore.models.loading.offload import device_of
from editcore.models.running.batch import Batch, accepted, forward, pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LONGEST: Final = 64
"""Tokens of a row with branches: every token of it is compared with every other."""
LEAST: Final = 2
"""Tokens that a branch has to share: a first token alone is often the same for all."""
WORTH: Final = 2 * LONGEST
"""Tokens that branches have to save before it is found out whether a model reads them rightly."""
_ATTENTION: Final = ("sdpa", "eager")
"""Implementations that add a mask of any shape; others know rows only."""
_WINDOWS: Final = ("sliding_window", "window_size", "attention_window_size")
_reads: "WeakKeyDictionary[PreTrainedModel, bool]" = WeakKeyDictionary()
_apart: "WeakKeyDictionary[PreTrainedModel, set[str]]" = WeakKeyDictionary()
"""Ids of attached patches that may depend on the row of a token."""


@define
class TreeRow:
    """The rows of one `owner` that begin alike: `ids` (T,), for each the index of the token before it, -1 for none, and
    how many are before it; `columns` has by number of a member where its tokens stand."""

    owner: Hashable
    ids: list[int] = field(factory=list)
    before: list[int] = field(factory=list)
    depth: list[int] = field(factory=list)
    columns: dict[int, list[int]] = field(factory=dict)

    @property
    def first(self) -> int:
        """The number of a member."""
        return next(iter(self.columns))

    @property
    def last(self) -> list[int]:
        """The columns of the member added last."""
        return self.columns[next(reversed(self.columns))]

    def shares(self, ids: Sequence[int]) -> int:
        """The number of first tokens shared with the member added last."""
        count = 0
        for token, column in zip(ids, self.last, strict=False):
            if token != self.ids[column]:
                break
            count += 1
        return count

    def add(self, number: int, ids: Sequence[int], shared: int) -> None:
        """A member of which `shared` tokens are those of the last one."""
        columns = self.last[:shared] if shared else []
        for token in ids[shared:]:
            self.before.append(columns[-1] if columns else -1)
            self.depth.append(len(columns))
            columns.append(len(self.ids))
            self.ids.append(token)
        self.columns[number] = columns

    def branches(self) -> list[int]:
        """The columns whose token does not go on from the one on its left, ascending."""
        return [i for i, before in enumerate(self.before) if before != i - 1]

    def sees(self) -> Tensor:
        """The tokens that each token sees, (T, T) bool."""
        seen = torch.ones(len(self.ids), len(self.ids), dtype=torch.bool).tril()
        for start in self.branches():
            seen[start:, :start] = seen[self.before[start], :start]
        return seen


def rows_of(members: Sequence[tuple[Hashable, Sequence[int]]], branching: bool) -> list[TreeRow]:
    """Every member, an owner and token ids, in a row of its owner: with another whose ids begin its own, or where
    `branching` with others that begin alike.

    In lexicographic order what begins alike stands together, so one walk finds the rows. A position sees nothing that
    comes after it, so what follows in a row changes nothing.
    """
    rows: list[TreeRow] = []
    for number in sorted(range(len(members)), key=members.__getitem__):
        owner, ids = members[number]
        shared = rows[-1].shares(ids) if rows and rows[-1].owner == owner else 0
        if not shared or not _fits(rows[-1], ids, shared, branching):
            rows.append(TreeRow(owner))
            shared = 0
        rows[-1].add(number, ids, shared)
    return rows


def _fits(row: TreeRow, ids: Sequence[int], shared: int, branching: bool) -> bool:
    if shared == len(row.last) or shared == len(ids):
        return True
    return branching and shared >= LEAST and len(row.ids) + len(ids) - shared <= LONGEST


def keep_apart(model: "PreTrainedModel", patch_id: str) -> None:
    """From now on every text is a row of its own: something attached to the model may depend on the whole row."""
    _apart.setdefault(model, set()).add(patch_id)


def let_share(model: "PreTrainedModel", patch_id: str) -> None:
    """Undo `keep_apart`; nothing happens for a patch that it was not called for."""
    _apart.get(model, set()).discard(patch_id)


def stands_apart(model: "PreTrainedModel") -> bool:
    """Whether something is attached for which `keep_apart` was called."""
    return bool(_apart.get(model))


def rows_for(
    model: "PreTrainedModel", members: Sequence[tuple[Hashable, Sequence[int]]], worth: int | None = None
) -> list[TreeRow]:
    """`rows_of`, with branches where they save `worth` tokens (WORTH) and the model reads them; see `keep_apart`."""
    if stands_apart(model):
        rows = [TreeRow(owner) for owner, _ in members]
        for number, (row, (_, ids)) in enumerate(zip(rows, members, strict=True)):
            row.add(number, ids, 0)
        return rows
    plain = rows_of(members, branching=False)
    trees = rows_of(members, branching=True)
    saved = sum(len(row.ids) for row in plain) - sum(len(row.ids) for row in trees)
    return trees if saved >= (WORTH if worth is None else worth) and reads_trees(model) else plain


def batch_of(model: "PreTrainedModel", rows: Sequence[TreeRow]) -> Batch:
    """The rows as a batch; with branches its mask is what attention adds, (B, 1, T, T)."""
    batch = pad([row.ids for row in rows])
    if not any(row.branches() for row in rows):
        return batch
    T = batch.ids.shape[1]
    positions, seen = batch.positions, torch.ones(len(rows), 1, T, T, dtype=torch.bool).tril()
    for i, row in enumerate(rows):
        t = len(row.ids)
        positions[i, :t] = torch.tensor(row.depth)
        seen[i, 0, :t, :t] = row.sees()
    dtype = model.dtype
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)
    return Batch(batch.ids, mask, positions, batch.lengths)


def reads_trees(model: "PreTrainedModel") -> bool:
    """Whether the model finds in a row with branches what it finds in each alone.

    It does not where a position is counted from the row or the mask and not from what it is given, or where attention
    reaches less far than a row is long. Found by reading once and remembered.
    """
    if model not in _reads:
        _reads[model] = _looks_right(model)
    return _reads[model]


@torch.no_grad()
def _looks_right(model: "PreTrainedModel") -> bool:
    config = model.config.get_text_config(decoder=True)
    if model.config.is_encoder_decoder or "position_ids" not in accepted(model):
        return False
    if config._attn_implementation not in _ATTENTION:
        return False
    if any((getattr(config, name, None) or LONGEST) < LONGEST for name in _WINDOWS):
        return False
    most = min(LONGEST, getattr(config, "max_position_embeddings", None) or LONGEST) - 2
    long = tuple(i % (config.vocab_size - 1) for i in range(most))
    short = (long[0], config.vocab_size - 1, long[-1])
    row, device = TreeRow(0), device_of(model)
    row.add(0, long, 0)
    row.add(1, short, 1)
    ends = torch.tensor([row.columns[0][-1], row.columns[1][-1]], device=device)
    try:
        tree = forward(model, batch_of(model, [row]).to(device), (torch.zeros_like(ends), ends)).float()  # (2, V)
    except (RuntimeError, ValueError, IndexError, TypeError):  # it wants another kind of mask
        return False
    last = torch.tensor([len(long), len(short)], device=device) - 1
    apart = forward(model, pad([long, short]).to(device), (torch.arange(2, device=device), last)).float()  # (2, V)
    near = 5e-4 if model.dtype == torch.float32 else 5e-2
    return bool((tree - apart).abs().max() <= near * apart.abs().max())
