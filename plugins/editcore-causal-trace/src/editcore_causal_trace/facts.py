"""A fact as the model reads it: the tokens of its prompt, which of them are the subject, and the answer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from attrs import frozen

from editcore.authoring.models import decode, encode_request, forward, pad
from editcore_hooks import EditRequest, UsageError

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen
class Fact:
    """Token ids of a prompt; the range of its subject; the id of the answer's first token.

    `expected` is the first token of `target_true`, where the request has one.
    """

    request: EditRequest
    ids: tuple[int, ...]
    subject: range
    answer: int
    expected: int | None

    @property
    def known(self) -> bool:
        """Whether the model gives the true answer; also where no true answer is given."""
        return self.expected in (None, self.answer)

    def tokens(self, session: "Session") -> list[str]:
        """The tokens as texts."""
        return [decode(session.tokenizer, (token,)) for token in self.ids]


def read_facts(session: "Session", requests: Sequence[EditRequest]) -> list[Fact]:
    """The model's answer to each request; of requests with `target_true` only those it knows, if there are any.

    The answer is the likeliest next token: what is traced is what the model says. Raises `UsageError` for a model with
    an encoder, and without requests.
    """
    if session.encoder_decoder:
        message = (
            f"{session.model.config.model_type} has an encoder: its subject is read there, its answer written elsewhere"
        )
        raise UsageError(message, hint="choose a model that is a decoder alone")
    if not requests:
        raise UsageError("there is no fact to trace", hint="give --prompt and --subject, or --requests FILE")
    facts = [_read(session, request) for request in requests]
    return [fact for fact in facts if fact.known] or facts


@torch.no_grad()
def _read(session: "Session", request: EditRequest) -> Fact:
    encoded = encode_request(session.tokenizer, request)
    assert encoded.subject is not None
    ids = encoded.prompt_ids
    end = torch.tensor([len(ids) - 1], device=session.device)
    logits = forward(session.model, pad([ids]).to(session.device), (torch.zeros_like(end), end))  # (1, V)
    expected = None
    if request.target_true:
        from attrs import evolve

        expected = encode_request(session.tokenizer, evolve(request, target_new=request.target_true)).target_ids[0]
    return Fact(request, ids, encoded.subject, int(logits[0].argmax()), expected)
