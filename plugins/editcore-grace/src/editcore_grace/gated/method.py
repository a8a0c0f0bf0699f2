"""The update of Defer and of the memory network: one gate and one map for all requests of a call."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from editcore.authoring.records import record_parts
from editcore_grace.gated.hparams import GatedHparams
from editcore_grace.gated.states import shut_states
from editcore_grace.gated.training import train
from editcore_grace.method import settle
from editcore_grace.texts import in_order
from editcore_grace.training import read
from editcore_hooks import EditRequest, Location, Payload, Update
from editcore_keyvalue.answers import answer

if TYPE_CHECKING:
    from editcore_hooks import Session


def compute_update(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: GatedHparams
) -> Update:
    """One side for all requests, taken in the order of their texts."""
    (site,) = location.sites
    replace = settle(session, hparams.replace)
    ordered = in_order(requests, lambda request: (request.rendered().text, request.target_new))
    items = [answer(session, request, hparams.eos) for request in ordered]
    layer = read(session, items, site)
    shut = shut_states(session, ordered, site, hparams)
    made = train(session, items, site, replace, layer, shut, hparams)
    worst = float(made.losses.max())
    if worst >= hparams.stop_loss:
        session.say(
            f"{int((made.losses >= hparams.stop_loss).sum())} of {len(ordered)} edits did not converge: the largest "
            f"loss is {worst:.3g} > {hparams.stop_loss:g}. Raise steps, lower lr, or edit fewer facts a call"
        )
    if made.opens_at < 0:
        session.say("the gate does not open for all of its edits. Raise steps, or edit fewer facts a call")
    data = {
        "form": made.side.form, "role": site.role, "layer": site.layer, "stack": site.stack, "replace": replace,
    }  # fmt: skip
    parts = {name: tensor.detach().cpu().float() for name, tensor in made.side.tensors.items()}
    texts = record_parts([(request.rendered().text, request.target_new) for request in ordered])
    return Update(
        payload=Payload("grace.gated", data, {**parts, **texts}),
        notes={
            "losses": made.losses.tolist(),
            "converged": worst < hparams.stop_loss and made.opens_at >= 0,
            "opens_at": made.opens_at,
            "shut_at": made.shut_at if len(shut) else None,
        },
    )
