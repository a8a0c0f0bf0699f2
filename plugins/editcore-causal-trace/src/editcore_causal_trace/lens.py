"""The logit lens: what the model would say if it stopped after each block.

The last token's hidden state after every block goes through the final norm and the head, and through whatever else the
model does to its logits (nostalgebraist 2020, "interpreting GPT: the logit lens").
"""

from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Place, Tap, Trace, decode, pad, record
from editcore_causal_trace.facts import Fact
from editcore_hooks import Site

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen(eq=False)
class Lens:
    """After each of L blocks: `probability` and `rank` (L,) of the answer, 0 for the likeliest token, and the `top`
    tokens with their probabilities."""

    fact: Fact
    probability: Tensor
    rank: Tensor
    top: tuple[tuple[tuple[str, float], ...], ...]


@torch.no_grad()
def look(session: "Session", fact: Fact, top: int = 5) -> Lens:
    """Read the answer of `fact` off every block."""
    anatomy = session.anatomy
    blocks = [Site("block", layer) for layer in range(anatomy.n_layers)]
    taps: dict[Place, Tap] = {block: Tap(output=True) for block in blocks}
    with Trace(anatomy, taps) as trace:
        recorded = record(anatomy, pad([fact.ids]).to(session.device))
    states = torch.cat([trace.output(block)[:, -1:] for block in blocks])  # (L, 1, d)
    rows = torch.arange(len(states), device=session.device)
    after_all = recorded.at(anatomy.n_layers, len(fact.ids) - 1).rows(torch.zeros_like(rows))
    with Trace(anatomy, {blocks[-1]: Tap(edit=lambda output: states)}):
        logits = after_all.forward((rows, torch.zeros_like(rows)))  # (L, V)
    p = logits.float().softmax(-1)
    own = p[:, fact.answer]
    values, ids = p.topk(min(top, p.shape[1]))  # (L, top) both
    words = tuple(
        tuple((decode(session.tokenizer, (token,)), value) for token, value in zip(tokens, each, strict=True))
        for tokens, each in zip(ids.tolist(), values.tolist(), strict=True)
    )
    return Lens(fact, own.cpu(), (p > own[:, None]).sum(1).cpu(), words)


def first_block(lens: Lens, rank: int) -> int:
    """The first block from which on the answer is always among the `rank` likeliest tokens; the last if none is."""
    block = len(lens.rank) - 1
    while block > 0 and int(lens.rank[block - 1]) < rank:
        block -= 1
    return block
