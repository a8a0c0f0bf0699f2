"""Text that an edit is not about, and how far the model has drifted on it."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import field, frozen
from torch import Tensor

from editcore.models.running.batch import Batch, Positions, decoder_start, forward, forward_pair, pad
from editcore.models.tokens.spans import encode_prompt
from editcore.tuning.facts import texts
from editcore_hooks import Case

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

TEXTS: Final = 8
"""Texts for a decoder, written by the model itself."""
LENGTH: Final = 24
ANSWERS: Final = 16
"""For a model with an encoder: its answers to the prompts of so many cases."""


@frozen(eq=False)
class Unrelated:
    """Rows that a decoder reads, with an encoder each after its prompt in `sources`, and log p at every token (n, V).

    `case` (n,) says whose prompt each token answers, -1 where no case's: on its own prompt an edit is meant to change
    what the model says.
    """

    session: "OpenSession" = field(repr=False)
    rows: Batch
    sources: Batch | None
    case: Tensor
    logprobs: Tensor = field(repr=False)

    @classmethod
    def of(cls, session: "OpenSession", cases: Sequence[Case], given: Sequence[str] = ()) -> "Unrelated":
        """From the `given` texts, or else from text that the model writes."""
        if session.encoder_decoder:
            return cls._answers(session, cases[:ANSWERS])
        written = given or texts(session, TEXTS, LENGTH, salt=2)
        ids = [encode_prompt(session.tokenizer, text).ids for text in written if text.strip()]
        return cls._made(session, pad(ids), None, [-1] * len(ids))

    @classmethod
    def _answers(cls, session: "OpenSession", cases: Sequence[Case]) -> "Unrelated":
        rows, sources = [], []
        for case in cases:
            request = case.request
            text, template = request.rendered().text, request.template
            read = encode_prompt(session.tokenizer, text, request.target_true, template, encoder_decoder=True)
            sources.append(read.prompt_ids)
            rows.append((decoder_start(session.model), *read.target_ids[:-1]))
        return cls._made(session, pad(rows), pad(sources), list(range(len(cases))))

    @classmethod
    def _made(cls, session: "OpenSession", rows: Batch, sources: Batch | None, of_row: Sequence[int]) -> "Unrelated":
        rows, sources = rows.to(session.device), None if sources is None else sources.to(session.device)
        case = torch.tensor(of_row, device=session.device)[_tokens(rows)[0]]
        return cls(session, rows, sources, case, _log_p(session, rows, sources))

    def drift(self, edited: AbstractContextManager[Any], chosen: Collection[int]) -> float:
        """Mean KL divergence in nats a token within `edited`, without what answers the prompts of the `chosen` cases;
        0 where no other is left."""
        with edited:
            now = _log_p(self.session, self.rows, self.sources)
        kl = (self.logprobs.exp() * (self.logprobs - now)).sum(1)  # (n,)
        other = ~torch.isin(self.case, torch.tensor(list(chosen), device=kl.device))
        return max(float(kl[other].mean()), 0.0) if bool(other.any()) else 0.0


def _tokens(rows: Batch) -> Positions:
    found: Positions = rows.mask.bool().nonzero(as_tuple=True)  # type: ignore[assignment]
    return found


@torch.no_grad()
def _log_p(session: "OpenSession", rows: Batch, sources: Batch | None) -> Tensor:
    """log p after every token of every row, (n, V)."""
    at = _tokens(rows)
    logits = forward(session.model, rows, at) if sources is None else forward_pair(session.model, sources, rows, at)
    return logits.float().log_softmax(-1)
