"""The objective: the token rows of the requests, and the negative log-likelihood of each row.

target_only  L = −1/m Σⱼ log p(yⱼ | x, y₁ … yⱼ₋₁)    FT-M: Zhang et al. 2024, arXiv:2401.01286
last_token   L = −1/m Σⱼ log p(yⱼ | x)               FT, FT-L: code of Meng et al. 2022; right only for m = 1
full_text    L = −1/n Σᵢ log p(tᵢ | t₁ … tᵢ₋₁)       over the text t = x y: FT-T

With `eos`, y ends with the token that ends a text or a turn (arXiv:2509.22072).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Item, TargetLogits, ended
from editcore_ft.hparams import FtHparams
from editcore_hooks import EditRequest, UsageError
from editcore_keyvalue.contexts import in_context

if TYPE_CHECKING:
    from editcore_hooks import Session

Logits = Callable[[Sequence[Item], Sequence[int]], TargetLogits]
"""Items, and for each the index of its request."""


@frozen
class TrainingRow:
    """What the model reads, and the tokens scored: one at each scored place, or all of them at a single one."""

    item: Item
    labels: tuple[int, ...]


@frozen
class Example:
    """A request in all its contexts; `index` is its place among the requests."""

    index: int
    rows: tuple[TrainingRow, ...]


def examples(
    session: "Session", requests: Sequence[EditRequest], contexts: Sequence[str], hparams: FtHparams
) -> list[Example]:
    """The rows of every request, sorted by their ids: in what order requests were given must not change an edit."""
    if hparams.objective == "full_text" and session.encoder_decoder:
        raise UsageError("full_text scores the prompt, which an encoder only reads", hint="--set objective=target_only")
    made = [
        Example(i, tuple(_row(session, in_context(request, context), hparams) for context in contexts))
        for i, request in enumerate(requests)
    ]
    return sorted(made, key=lambda example: [(tuple(row.item[0]), row.labels) for row in example.rows])


def _row(session: "Session", request: EditRequest, hparams: FtHparams) -> TrainingRow:
    encoded = session.encode(request)
    prompt, target = encoded.prompt_ids, encoded.target_ids
    if hparams.objective == "last_token":
        if encoded.encoder_decoder and len(target) > 1:
            target = target[:-1]  # the end of the answer cannot stand where the answer begins
        return TrainingRow((prompt, target[:1]), target)
    target = ended(target, session.tokenizer, request.template, hparams.eos)
    if hparams.objective == "target_only":
        return TrainingRow((prompt, target), target)
    text = prompt + target
    return TrainingRow((text[:1], text[1:]), text[1:])


def nll(logits: Logits, chosen: Sequence[Example]) -> Tensor:
    """L of each example, (E,): the mean over its rows, each the mean over its tokens; float32."""
    rows = [(e, row) for e, example in enumerate(chosen) for row in example.rows]
    found = logits([row.item for _, row in rows], [chosen[e].index for e, _ in rows])
    logprobs = found.logits.float().log_softmax(-1)  # (n, V)
    at, labels, owners, weights = [], [], [], []
    place = 0
    for e, row in rows:
        places = len(row.item[1])
        for j, label in enumerate(row.labels):
            at.append(place + min(j, places - 1))  # last_token has a single place for all its labels
            labels.append(label)
            owners.append(e)
            weights.append(1 / (len(row.labels) * len(chosen[e].rows)))
        place += places
    device = logprobs.device
    picked = logprobs[torch.tensor(at, device=device), torch.tensor(labels, device=device)]  # (N,)
    losses = torch.zeros(len(chosen), device=device)  # (E,)
    return losses.index_add(0, torch.tensor(owners, device=device), -picked * torch.tensor(weights, device=device))
