"""CaliNET: slots beside MLPs, whose values begin at zero, found by Adam on the loss of all requests together.

L = mean over facts (x, y), and over contexts c, of −1/m Σⱼ log p(yⱼ | c, x, y₁ … yⱼ₋₁)
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from editcore.authoring.models import Mlp
from editcore.authoring.patches import units_payload
from editcore_calinet.hparams import CalinetHparams
from editcore_calinet.keys import at_states, random_keys
from editcore_calinet.loop import train_
from editcore_calinet.slots import slots_at
from editcore_calinet.sparing import spared
from editcore_ft.loop import in_batches
from editcore_ft.objective import Example, TrainingRow, nll
from editcore_ft.training import final_losses, require, say_open
from editcore_hooks import EditRequest, Location, Update
from editcore_keyvalue.answers import answer
from editcore_keyvalue.contexts import contexts_for, in_context

if TYPE_CHECKING:
    from editcore_hooks import Session


def compute_update(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: CalinetHparams
) -> Update:
    """Slots for all `requests` as a payload of units. What did not converge is reported, and noted with its loss."""
    require(requests, location)
    contexts = contexts_for(session, hparams)
    batches = in_batches(examples(session, requests, contexts, hparams), hparams.batch_size)
    held = spared(session, [[requests[example.index] for example in batch] for batch in batches], hparams)
    in_order = [
        in_context(requests[example.index], context) for context in contexts for batch in batches for example in batch
    ]
    generator = torch.Generator().manual_seed(session.seed)

    def keys(mlp: Mlp, rows: int) -> Tensor:
        drawn = random_keys(mlp, rows, generator)
        if hparams.key_init == "random":
            return drawn
        return at_states(session, mlp, in_order, drawn)

    slotted = slots_at(session, location, keys, hparams.slots)
    with session.progress("training slots", hparams.steps) as progress:
        trained = train_(slotted, batches, held, hparams, progress.advance)
    losses = final_losses(lambda batch: nll(slotted.logits, batch), batches, len(requests))
    say_open(session, requests, losses, hparams.stop_loss, "Raise steps or slots, or lower spare_weight")
    return Update(
        payload=units_payload({block: some.units() for block, some in slotted.slots.items()}),
        notes={
            "contexts": list(contexts),
            "slots": {str(block): hparams.slots for block in slotted.slots},
            "steps": trained.passes,
            "updates": trained.updates,
            "loss": [trained.losses[0], sum(losses) / len(losses)],
            "converged": all(loss < hparams.stop_loss for loss in losses),
            "final_losses": losses,
        },
    )


def examples(
    session: "Session", requests: Sequence[EditRequest], contexts: Sequence[str], hparams: CalinetHparams
) -> list[Example]:
    """The rows of every request, sorted by their ids: in what order requests were given must not change an edit."""

    def row(request: EditRequest) -> TrainingRow:
        item = answer(session, request, hparams.eos)
        return TrainingRow(item, tuple(item[1]))

    made = [
        Example(i, tuple(row(in_context(request, context)) for context in contexts))
        for i, request in enumerate(requests)
    ]
    return sorted(made, key=lambda example: [(tuple(each.item[0]), each.labels) for each in example.rows])
