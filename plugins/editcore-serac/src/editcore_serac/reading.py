"""What the base makes of texts: features of prompts for the scope, and last states of edits for the counterfactual."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.memories import Seen
from editcore.authoring.models import Item, Place, Tap, Trace, forward, pad
from editcore_hooks import Site, UsageError
from editcore_serac.memory import Entry, features
from editcore_serac.nets import Nets

if TYPE_CHECKING:
    from editcore_hooks import Session


DEPTH: Final = 1 / 3
"""Relative depth of the scope's block without a setting: chosen on the demo model."""
ROWS: Final = 64
"""Most texts that are read in one forward."""


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
def read(session: "Session", items: Sequence[Item], where: Places) -> list[Read]:
    """Read texts, those of like length together; a text by itself reads the same but for rounding.

    Prompt and target have at least one token each.
    """
    found: dict[int, Read] = {}
    taps: dict[Place, Tap] = {site: Tap(output=True) for site in (where.reads, where.acts)}
    for some in portions([len(prompt) + len(target) for prompt, target in items]):
        batch = pad([[*items[i][0], *items[i][1]] for i in some]).to(session.device)
        last = batch.lengths - 1
        with Trace(session.anatomy, taps) as trace:
            logits = forward(session.model, batch, (torch.arange(len(some), device=last.device), last))  # (B, V)
        ends = torch.tensor([len(items[i][0]) - 1 for i in some], device=last.device)
        of, after = _features(trace.output(where.reads), ends), logits.argmax(-1).tolist()
        for row, i in enumerate(some):
            states = trace.output(where.acts)[row, int(ends[row]) : int(last[row]) + 1]
            found[i] = Read(of[row], states.float(), after[row])
    return [found[i] for i in range(len(items))]


@torch.no_grad()
def read_prompts(session: "Session", prompts: Sequence[Sequence[int]], where: Places) -> Tensor:
    """Features of prompts alone, (n, 2d): the pass ends at the block that the scope compares."""
    found: dict[int, Tensor] = {}
    for some in portions([len(prompt) for prompt in prompts]):
        batch = pad([prompts[i] for i in some]).to(session.device)
        with Trace(session.anatomy, {where.reads: Tap(output=True)}, stop=True) as trace:
            forward(session.model, batch)
        found |= zip(some, _features(trace.output(where.reads), batch.lengths - 1), strict=True)
    return torch.stack([found[i] for i in range(len(prompts))])


def portions(lengths: Sequence[int]) -> list[list[int]]:
    """Numbers of texts that are read together, at most `ROWS`, the shortest first, so that little is padded."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    return [order[i : i + ROWS] for i in range(0, len(order), ROWS)]


def _features(states: Tensor, ends: Tensor) -> Tensor:
    """f of rows of states (B, S, d) whose prompts end in the columns `ends` (B,), (B, 2d)."""
    inside = torch.arange(states.shape[1], device=states.device) <= ends[:, None]  # (B, S)
    return features(Seen(states, states, inside, ends))


def entry(session: "Session", nets: Nets, prompt: str, found: Read, target: Sequence[int]) -> Entry:
    """An edit as the memory holds it."""
    vector = nets.encode(found.features[None])[0]
    model: Any = session.model
    rows = model.get_output_embeddings().weight[torch.tensor(target, device=vector.device)].detach().float()
    return Entry(prompt, vector, nets.keys(found.states), nets.values(rows))
