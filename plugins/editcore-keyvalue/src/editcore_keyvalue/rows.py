"""The rows of an edit: the prompt in every context with its target, and the subject alone for the KL term.

A row is prompt ids and all target ids but the last, which is only a label: the logits at the position before a
target token are scored against it, with no further shift. The KL row is `{subject} is a` cut off behind the subject,
where it is read: a decoder's logits there do not depend on what follows.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import torch
from attrs import frozen
from torch import Tensor

from editcore.models.batch import Batch, Positions, align
from editcore.models.spans import encode, encode_request, token_index
from editcore_hooks import EditRequest
from editcore_keyvalue.contexts import in_context

if TYPE_CHECKING:
    from editcore import Session

KL_PROMPT: Final = "{} is a"


@frozen
class Row:
    """Token ids; `s`, the index of the edited token; the indices of logits that are scored, and their labels."""

    ids: tuple[int, ...]
    s: int
    scored: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()


@frozen
class EditRows:
    """One edit: a row for each context, the clean prompt first, and the KL row."""

    contexts: tuple[Row, ...]
    kl: Row

    @property
    def tail(self) -> int:
        """Tokens from the edited one on, in the longest row."""
        return max(len(row.ids) - row.s for row in self.all)

    @property
    def all(self) -> tuple[Row, ...]:
        return (*self.contexts, self.kl)


def edit_rows(session: "Session", request: EditRequest, contexts: Sequence[str], token: str) -> EditRows:
    """Build the rows of `request`; `token` names the position that is edited."""
    rows = []
    for context in contexts:
        whole = encode_request(session.tokenizer, in_context(request, context))
        scored = tuple(index - 1 for index in whole.target)
        rows.append(Row(whole.ids[:-1], token_index(whole, token), scored, whole.target_ids))
    kl = encode(session.tokenizer, KL_PROMPT, request.subject)
    s = token_index(kl, "subject_last")
    return EditRows(tuple(rows), Row(kl.ids[: s + 1], s))


@frozen(eq=False)
class Layout:
    """N rows of E edits in one batch, the edited token of every row in column `start`.

    `edit` (N,) is whose a row is, `clean` (E,) the row of each clean prompt. `at` lists n scored positions and then E
    KL positions, columns counted from `start`; `labels`, `weights` and `owner` (n,) go with the first n. `weights` are
    1 / (contexts · target tokens), so that every context of an edit counts the same.
    """

    batch: Batch
    start: int
    edit: Tensor
    clean: Tensor
    at: Positions
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


def lay_out(edits: Sequence[EditRows], device: torch.device) -> Layout:
    """Put the rows of all `edits` side by side, those of an edit together, its KL row last."""
    rows = [row for edit in edits for row in edit.all]
    batch, start = align([row.ids for row in rows], [row.s for row in rows])
    edit = torch.tensor([e for e, one in enumerate(edits) for _ in one.all])  # (N,)
    ends = torch.tensor([len(one.all) for one in edits]).cumsum(0)  # (E,)
    scored = [
        (r, index - row.s, label, 1 / (len(edits[e].contexts) * len(row.labels)), e)
        for r, (row, e) in enumerate(zip(rows, edit.tolist(), strict=True))
        for index, label in zip(row.scored, row.labels, strict=True)
    ]
    at = [(r, column) for r, column, *_ in scored] + [(r, 0) for r in (ends - 1).tolist()]
    row_of, column_of = torch.tensor(at, device=device).unbind(1)  # (n + E,) both
    return Layout(
        batch=batch.to(device),
        start=start,
        edit=edit.to(device),
        clean=(ends - torch.tensor([len(one.all) for one in edits])).to(device),
        at=(row_of, column_of),
        labels=torch.tensor([label for _, _, label, _, _ in scored], device=device),
        weights=torch.tensor([weight for _, _, _, weight, _ in scored], device=device),
        owner=torch.tensor([e for *_, e in scored], device=device),
    )
