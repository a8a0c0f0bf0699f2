"""The mean of a block's output over each text: what a model itself can compare texts by."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from editcore.models.loading.offload import device_of
from editcore.models.running.batch import pad
from editcore.models.running.rewriting import as_given
from editcore.models.running.tracing import Tap, Trace
from editcore_hooks import Anatomy, Site


@torch.no_grad()
def mean_states(anatomy: Anatomy, rows: Sequence[Sequence[int]], site: Site) -> Tensor:
    """The mean direction of the outputs of the block `site` over the tokens of each row, (n, d) float32.

    Prompts are read as given. The first token is left out: many models give it one large state, whatever it is.
    A block of an encoder reads the rows there. Rows are read one by one: the result does not depend on the others.
    """
    model, found = anatomy.model, []
    for row in rows:
        batch = pad([row]).to(device_of(model))
        reader: Any = model.get_encoder() if site.stack == "encoder" else model
        with as_given(model), Trace(anatomy, {site: Tap(output=True)}, stop=True) as trace:
            reader(input_ids=batch.ids, attention_mask=batch.mask)
        states = torch.nn.functional.normalize(trace.output(site)[0].float(), dim=-1)  # (T, d)
        found.append(states[min(1, len(row) - 1) :].mean(0))
    return torch.stack(found)
