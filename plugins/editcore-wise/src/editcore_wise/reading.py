"""What the layer reads and writes for prompts on the model without its side matrices, and how large that is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Item, Tap, Trace, target_logits
from editcore_hooks import Site
from editcore_wise.router import Activation, prompt_distances, token_distances

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen(eq=False)
class States:
    """Inputs (B, T, d_in) and outputs (B, T, d_out) of the layer, and which tokens are prompt, (B, T); float32."""

    inputs: Tensor
    outputs: Tensor
    prompt: Tensor

    def distances(self, activation: Activation, delta: Tensor) -> Tensor:
        """D of each row with a side matrix W + `delta`, (B,)."""
        return prompt_distances(token_distances(activation, self.outputs, self.inputs @ delta.T), self.prompt)


def states_of(trace: Trace, site: Site, lengths: Sequence[int]) -> States:
    """What a trace kept at the site for rows, padded on the right, whose prompts have these lengths."""
    inputs, outputs = trace.input(site).float(), trace.output(site).float()
    columns = torch.arange(inputs.shape[1], device=inputs.device)
    prompt = columns < torch.tensor(lengths, device=inputs.device)[:, None]
    return States(inputs, outputs, prompt)


@torch.no_grad()
def read(session: "Session", site: Site, prompts: Sequence[Sequence[int]]) -> States:
    """The layer at every token of the prompts."""
    items: list[Item] = [(ids, (session.start_token,)) for ids in prompts]  # the target is a label alone, and not read
    with Trace(session.anatomy, {site: Tap(input=True, output=True)}, stop=True) as trace:
        target_logits(session.model, items)
    return states_of(trace, site, [len(ids) for ids in prompts])
