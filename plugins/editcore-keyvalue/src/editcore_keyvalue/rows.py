"""The rows of one edit: the prompt in every context with its target, and `{subject} is a` for the KL term.

A row is prompt ids and all target ids but the last, which is only a label: the logits at the position before a
target token are scored against it, with no further shift.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import torch
from attrs import frozen
from torch import Tensor

from editcore.models.batch import Batch, pad
from editcore.models.spans import encode, encode_request, token_index
from editcore_hooks import EditRequest
from editcore_keyvalue.contexts import in_context

if TYPE_CHECKING:
    from editcore import Session

KL_PROMPT: Final = "{} is a"


@frozen
class EditRows:
    """R context rows, then one KL row. `subject` (R+1,) is s of each row, `labels` and `weights` belong to `at`."""

    batch: Batch
    subject: Tensor  # (R+1,)
    at: tuple[Tensor, Tensor]  # row and position of every scored logit, (n,) each
    labels: Tensor  # (n,)
    weights: Tensor  # (n,): 1 / (R · target tokens of the row), so that every context counts the same

    @property
    def n_contexts(self) -> int:
        return len(self.subject) - 1

    def nll(self, logprobs: Tensor) -> Tensor:
        """The mean over contexts of the mean over target tokens; `logprobs` (n, V) stand at `at`."""
        picked = logprobs.gather(1, self.labels[:, None])[:, 0]  # (n,)
        return -(picked * self.weights).sum()


def edit_rows(session: "Session", request: EditRequest, contexts: Sequence[str], token: str) -> EditRows:
    """Build the rows of `request`; `token` names the position that is edited."""
    encoded = [encode_request(session.tokenizer, in_context(request, context)) for context in contexts]
    kl = encode(session.tokenizer, KL_PROMPT, request.subject)
    ids = [row.ids[:-1] for row in encoded] + [kl.ids]
    subject = [token_index(row, token) for row in encoded] + [token_index(kl, "subject_last")]
    rows, positions, labels, weights = [], [], [], []
    for r, row in enumerate(encoded):
        for position in row.target:
            rows.append(r)
            positions.append(position - 1)
            labels.append(row.ids[position])
            weights.append(1 / (len(encoded) * len(row.target)))
    device = session.device
    return EditRows(
        batch=pad(ids).to(device),
        subject=torch.tensor(subject, device=device),
        at=(torch.tensor(rows, device=device), torch.tensor(positions, device=device)),
        labels=torch.tensor(labels, device=device),
        weights=torch.tensor(weights, device=device),
    )
