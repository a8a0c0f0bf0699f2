"""The rows of an edit: the prompt in every context with its target, and the subject alone for the KL term.

A row is prompt ids and all target ids but the last, which is only a label: the logits at the position before a
target token are scored against it, with no further shift. The KL row is `{subject} is a` cut off after the subject,
where it is read: a decoder's logits there do not depend on what follows.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Batch, Positions, align, encode, encode_request, ended, token_index
from editcore_hooks import EditRequest
from editcore_keyvalue.contexts import in_context

if TYPE_CHECKING:
    from editcore_hooks import Session

KL_PROMPT: Final = "{} is a"
KL_APART: Final = 8
"""KL rows that are worth a forward of their own: it reads every weight once more."""


@frozen
class TokenRow:
    """Token ids; `s`, the index of the edited token; the indices of logits that are scored, and their labels."""

    ids: tuple[int, ...]
    s: int
    scored: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()


@frozen
class EditRows:
    """One edit: a row for each context, the clean prompt first, and the KL row."""

    contexts: tuple[TokenRow, ...]
    kl: TokenRow

    @property
    def tail(self) -> int:
        """The number of tokens from the edited one on, in the longest row."""
        return max(len(row.ids) - row.s for row in self.all)

    @property
    def kl_in_clean(self) -> bool:
        """Whether the clean prompt begins with the KL row, so that its logits are read there."""
        clean = self.contexts[0]
        return clean.s == self.kl.s and clean.ids[: clean.s + 1] == self.kl.ids

    @property
    def all(self) -> tuple[TokenRow, ...]:
        return (*self.contexts, self.kl)


def edit_rows(
    session: "Session", request: EditRequest, contexts: Sequence[str], token: str, *, eos: bool | None = None
) -> EditRows:
    """Build the rows of `request`; `token` names the position that is edited. With `eos` the answer ends: the token
    that ends a text, or in a chat the turn, is the last of the target where there is one. None: in a chat."""
    rows = []
    for context in contexts:
        whole = encode_request(session.tokenizer, in_context(request, context))
        begin = whole.target.start
        ids = whole.prompt_ids + ended(whole.target_ids, session.tokenizer, request.template, eos)
        scored = tuple(range(begin - 1, len(ids) - 1))
        rows.append(TokenRow(ids[:-1], token_index(whole, token), scored, ids[begin:]))
    kl = encode(session.tokenizer, KL_PROMPT, request.subject)
    s = token_index(kl, "subject_last")
    return EditRows(tuple(rows), TokenRow(kl.ids[: s + 1], s))


@frozen(eq=False)
class Part:
    """N rows of one forward, the edited token of every row in column `start`. `edit` (N,) is whose a row is; `at` the
    positions whose logits are read, columns counted from `start`."""

    batch: Batch
    start: int
    edit: Tensor
    at: Positions

    def keeping(self, rows: Tensor, edits: Tensor) -> "Part":
        """Some of the rows, (N,) bool: those of `edits`, (E,) ascending, which are counted again."""
        row_of, column_of = self.at
        read = rows[row_of]
        at = (_renumbered(rows)[row_of[read]], column_of[read])
        return Part(self.batch.rows(rows), self.start, torch.searchsorted(edits, self.edit[rows]), at)


@frozen(eq=False)
class Layout:
    """The rows of E edits: those with contexts in the first part, in which `clean` (E,) are those of clean prompts.

    Of the logits that the parts read, put one after the other, the first n are scored: `labels`, `weights` and `owner`
    (n,) go with them. `kl` (E,) are those of the KL term. `weights` are 1 / (contexts · target tokens), so that every
    context of an edit counts the same.
    """

    parts: tuple[Part, ...]
    clean: Tensor
    kl: Tensor
    labels: Tensor
    weights: Tensor
    owner: Tensor

    def nll(self, logprobs: Tensor) -> Tensor:
        """For each edit the mean over contexts of the mean over target tokens, (E,); `logprobs` (n, V)."""
        picked = logprobs.gather(1, self.labels[:, None])[:, 0]  # (n,)
        return -torch.zeros_like(picked[: len(self.clean)]).index_add(0, self.owner, picked * self.weights)

    def all_right(self, logits: Tensor) -> Tensor:
        """For each edit whether every target token is the argmax in every context, (E,); `logits` (n, V)."""
        wrong = (logits.argmax(1) != self.labels).float()  # (n,)
        return torch.zeros(len(self.clean), device=wrong.device).index_add(0, self.owner, wrong) == 0

    def keeping(self, edits: Tensor) -> "tuple[Layout, list[Tensor]]":
        """The layout of some of the edits, (E,) ascending, and of each part the rows that stay, (N,); none may."""
        rows = [torch.isin(part.edit, edits) for part in self.parts]
        read = torch.cat([stay[part.at[0]] for part, stay in zip(self.parts, rows, strict=True)])
        scored = read[: len(self.labels)]
        parts = [part.keeping(stay, edits) for part, stay in zip(self.parts, rows, strict=True)]
        layout = Layout(
            parts=tuple(parts),
            clean=_renumbered(rows[0])[self.clean[edits]],
            kl=_renumbered(read)[self.kl[edits]],
            labels=self.labels[scored],
            weights=self.weights[scored],
            owner=torch.searchsorted(edits, self.owner[scored]),
        )
        return layout, [stay.nonzero()[:, 0] for stay in rows]


def lay_out(edits: Sequence[EditRows], device: torch.device) -> Layout:
    """Concatenate the rows of all `edits`, those of an edit together.

    A prompt that begins with the subject holds the KL row: it is read there. Another KL row is one token from the
    edited one on, which would be padded to the longest target: of many edits they make a part of their own, of few a
    second forward would cost more.
    """
    own = {e for e, edit in enumerate(edits) if not edit.kl_in_clean}
    alone = own if len(own) >= KL_APART else set()
    rows: list[TokenRow] = []
    edit_of: list[int] = []
    clean: list[int] = []
    read: list[tuple[int, int]] = []  # of the KL term, in the first part
    kl: dict[int, int] = {}
    for e, edit in enumerate(edits):
        clean.append(len(rows))
        beside = [edit.kl] if e in own - alone else []
        rows += [*edit.contexts, *beside]
        edit_of += [e] * (len(edit.contexts) + len(beside))
        if e not in alone:
            kl[e] = len(read)
            read.append((len(rows) - 1 if beside else clean[e], 0))
    kl |= {e: len(read) + i for i, e in enumerate(sorted(alone))}
    scored = [
        (r, index - row.s, label, 1 / (len(edits[e].contexts) * len(row.labels)), e)
        for r, (row, e) in enumerate(zip(rows, edit_of, strict=True))
        for index, label in zip(row.scored, row.labels, strict=True)
    ]
    parts = [_part(rows, edit_of, [(r, column) for r, column, *_ in scored] + read, device)]
    if alone:
        parts.append(
            _part([edits[e].kl for e in sorted(alone)], sorted(alone), [(i, 0) for i in range(len(alone))], device)
        )
    return Layout(
        parts=tuple(parts),
        clean=torch.tensor(clean, device=device),
        kl=torch.tensor([len(scored) + kl[e] for e in range(len(edits))], device=device),
        labels=torch.tensor([label for _, _, label, _, _ in scored], device=device),
        weights=torch.tensor([weight for _, _, _, weight, _ in scored], device=device),
        owner=torch.tensor([e for *_, e in scored], device=device),
    )


def _part(rows: Sequence[TokenRow], edit: Sequence[int], at: Sequence[tuple[int, int]], device: torch.device) -> Part:
    batch, start = align([row.ids for row in rows], [row.s for row in rows])
    row_of, column_of = torch.tensor(at, device=device).unbind(1)
    return Part(batch.to(device), start, torch.tensor(edit, device=device), (row_of, column_of))


def _renumbered(stay: Tensor) -> Tensor:
    """The new number of each that stays, (N,)."""
    return stay.cumsum(0) - 1
