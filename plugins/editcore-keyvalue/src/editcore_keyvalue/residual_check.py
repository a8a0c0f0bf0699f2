"""Whether the output of an MLP enters the residual stream unchanged.

In most families it does. Gemma 2 and 3, OLMo 2 and others put a norm after the MLP, and Granite a factor: there a
change of the stream cannot be written into a down projection, and the value has to be that of the MLP's own output.
"""

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from editcore.authoring.models import Tap, Trace, forward, pad
from editcore_hooks import Site

if TYPE_CHECKING:
    from editcore_hooks import Session

CLOSE: Final = 0.1
"""Largest lost share of an added vector: in bfloat16 a sum keeps two to three digits."""


def enters_as_it_is(session: "Session", layer: int) -> bool:
    """Whether the output of the block at `layer` changes by the vector added to its MLP's output. Tested once."""
    return session.cached(("enters the stream as it is", layer), lambda: _tried(session, layer), base=True)


@torch.no_grad()
def _tried(session: "Session", layer: int) -> bool:
    block, mlp = Site("block", layer), Site("mlp_out", layer)
    batch = pad([[session.start_token] * 2]).to(session.device)
    with Trace(session.anatomy, {block: Tap(output=True)}, stop=True) as trace:
        forward(session.model, batch)
    before = trace.output(block)[0, -1].float()  # (d,)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(len(before), generator=generator).to(before.device)
    added: Tensor = direction * before.norm() / direction.norm()

    def add(output: Tensor) -> Tensor:
        return output + added.to(output)

    with Trace(session.anatomy, {mlp: Tap(edit=add), block: Tap(output=True)}, stop=True) as trace:
        forward(session.model, batch)
    after = trace.output(block)[0, -1].float()
    return float((after - before - added).norm()) < CLOSE * float(added.norm())
