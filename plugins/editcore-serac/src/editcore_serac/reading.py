"""What the base makes of texts: features of prompts for the scope, and last states of edits for the counterfactual."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.memories import Seen
from editcore.authoring.models import Item, Tap, Trace, target_logits
from editcore_hooks import Site, UsageError
from editcore_serac.memory import Entry, features
from editcore_serac.nets import Nets

if TYPE_CHECKING:
    from editcore_hooks import Session


DEPTH: Final = 1 / 3
"""Relative depth of the scope's block without a setting: chosen on the demo model."""


@frozen(eq=False)
class Read:
    """A prompt's features (2d,), the last states (T + 1, d) from its end to the target's, and the token after that."""

    features: Tensor
    states: Tensor
    after: int


@frozen
class Places:
    """The block that the scope compares, and the last block, where the counterfactual model answers."""

    reads: Site
    acts: Site


def places(session: "Session", layer: int | None) -> Places:
    """The places in the session's model. Raises `UsageError` for a layer that is not there, and with an encoder."""
    if session.encoder_decoder:
        raise UsageError("serac edits decoders only", hint="use --method grace or --method retrieval")
    n = session.anatomy.n_layers
    if layer is None:
        layer = round(DEPTH * (n - 1))
    if layer >= n:
        raise UsageError(f"there is no block {layer}: the model has {n}", hint="--set layer=NUMBER, from 0")
    return Places(Site("block", layer), Site("block", n - 1))


@torch.no_grad()
def read(session: "Session", item: Item, where: Places) -> Read:
    """Read one text by itself: its numbers do not depend on others. Prompt and target have at least one token each."""
    prompt, target = item
    taps = {site: Tap(output=True) for site in (where.reads, where.acts)}
    with Trace(session.anatomy, taps) as trace:  # type: ignore[arg-type]
        # the last token of an item is only a label, so one more lets the model read the whole target
        logits = target_logits(session.model, [(prompt, (*target, target[-1]))]).logits
    middle, states = trace.output(where.reads), trace.output(where.acts)[0].float()
    last = len(prompt) - 1
    inside = (torch.arange(middle.shape[1], device=middle.device) <= last)[None]
    seen = Seen(middle, middle, inside, torch.tensor([last], device=middle.device))
    return Read(features(seen)[0], states[last:], int(logits[-1].argmax()))


def entry(session: "Session", nets: Nets, prompt: str, found: Read, target: Sequence[int]) -> Entry:
    """An edit as the memory holds it."""
    vector = nets.encode(found.features[None])[0]
    model: Any = session.model
    rows = model.get_output_embeddings().weight[torch.tensor(target, device=vector.device)].detach().float()
    return Entry(prompt, vector, nets.keys(found.states), nets.values(rows))
