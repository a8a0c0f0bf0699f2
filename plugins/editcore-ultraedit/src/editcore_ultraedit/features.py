"""Features of a module from one pass: its input h and the loss gradient g of its output, at the tokens that count.

No gradient of a weight is computed: the output of each module is replaced by itself plus a leaf of noughts, whose
gradient is that of the output.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Place, Tap, Trace, forward, pad
from editcore_hooks import EditRequest, Site
from editcore_keyvalue.answers import answer

if TYPE_CHECKING:
    from editcore_hooks import Session

TOKENS_PER_BATCH: Final = 2048


@frozen(eq=False)
class Features:
    """h (T, in) and g (T, out) of the tokens of all edits, float32."""

    h: Tensor
    g: Tensor

    @property
    def x(self) -> Tensor:
        return torch.cat([self.h, self.g], 1)  # (T, in + out)


def features(
    session: "Session",
    requests: Sequence[EditRequest],
    sites: Sequence[Site],
    all_tokens: bool,
    eos: bool | None = None,
) -> tuple[Mapping[Site, Features], float]:
    """Features of every site, the edits in their order, and the mean loss of a target token.

    The loss is summed over target tokens, where the published code takes the mean of ten edits: so an edit's features
    do not depend on the company it is in, and the normaliser takes the scale out.
    """
    prompts, targets = zip(*(answer(session, request, eos) for request in requests), strict=True)
    rows = [[*prompt, *target[:-1]] for prompt, target in zip(prompts, targets, strict=True)]
    scored_of = [range(len(prompt) - 1, len(row)) for prompt, row in zip(prompts, rows, strict=True)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    found: dict[Site, dict[int, tuple[Tensor, Tensor]]] = {site: {} for site in sites}
    total = 0.0
    for chosen in _batches([len(rows[i]) for i in order]):
        some = [order[i] for i in chosen]
        batch = pad([rows[i] for i in some]).to(session.device)
        scored = [(r, t) for r, i in enumerate(some) for t in scored_of[i]]
        labels = torch.tensor([token for i in some for token in targets[i]], device=session.device)
        at = tuple(torch.tensor(scored, device=session.device).unbind(1))
        leaves: dict[Site, Tensor] = {}

        def leafing(site: Site, leaves: dict[Site, Tensor] = leaves) -> Tap:
            def add(output: Tensor) -> Tensor:
                leaves[site] = torch.zeros_like(output).requires_grad_(True)
                return output + leaves[site]

            return Tap(input=True, edit=add)

        taps: dict[Place, Tap] = {site: leafing(site) for site in sites}
        with torch.enable_grad(), Trace(session.anatomy, taps) as trace:
            logprobs = forward(session.model, batch, at).float().log_softmax(-1)  # type: ignore[arg-type]
            loss = -logprobs.gather(1, labels[:, None]).sum()
        gradients = torch.autograd.grad(loss, [leaves[site] for site in sites])
        total += float(loss.detach())
        for r, i in enumerate(some):
            tokens = range(len(rows[i])) if all_tokens else scored_of[i]
            for site, gradient in zip(sites, gradients, strict=True):
                found[site][i] = (trace.input(site)[r, tokens].float(), gradient[r, tokens].float())
    made = {
        site: Features(*(torch.cat([parts[i][which] for i in range(len(rows))]) for which in (0, 1)))
        for site, parts in found.items()
    }
    return made, total / sum(map(len, targets))


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in ascending length, as many together as fit into TOKENS_PER_BATCH."""
    batches: list[list[int]] = []
    for i, length in enumerate(lengths):
        if not batches or (len(batches[-1]) + 1) * length > TOKENS_PER_BATCH:
            batches.append([])
        batches[-1].append(i)
    return batches
