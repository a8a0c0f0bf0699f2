"""The update of GRACE: a key, a trained value and a radius for each request."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from editcore.authoring.records import record_parts
from editcore_grace.codebook import Trial
from editcore_grace.hparams import GraceHparams
from editcore_grace.texts import in_order
from editcore_grace.training import read, train
from editcore_hooks import EditRequest, Location, Payload, Update
from editcore_keyvalue.answers import answer

if TYPE_CHECKING:
    from editcore_hooks import Session

TOGETHER = 16
"""Edits that are trained in one batch."""


def compute_each(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: GraceHparams
) -> list[dict[str, Any]]:
    """The parts of the entry of each request: key, value, radius, text and loss."""
    (site,) = location.sites
    replace = settle(session, hparams.replace)
    found = []
    for start in range(0, len(requests), TOGETHER):
        some = requests[start : start + TOGETHER]
        items = [answer(session, request, hparams.eos) for request in some]
        layer = read(session, items, site)
        if hparams.init == "warm":
            first = layer.outputs
        else:
            first = torch.rand(layer.outputs.shape[1], generator=torch.Generator().manual_seed(session.seed))
            first = first.to(layer.outputs.device).repeat(len(some), 1)
        made = train(
            session,
            items,
            [first],
            lambda leaves: Trial(site, replace, leaves[0]),
            hparams.lr,
            hparams.steps,
            hparams.stop_loss,
        )
        radii = torch.full((len(some),), hparams.radius, device=layer.inputs.device)
        if hparams.unit == "key":
            radii = radii * layer.inputs.norm(dim=-1)
        for i, request in enumerate(some):
            parts = {"keys": layer.inputs[i], "values": made.values[0][i], "radii": radii[i]}
            text = request.rendered().text
            found.append({**parts, "text": (text, request.target_new), "loss": float(made.losses[i])})
    return found


def update_of(
    session: "Session", entries: Sequence[dict[str, Any]], location: Location, hparams: GraceHparams
) -> Update:
    """One update with entries in the order of their texts, in which the rule of radii takes them."""
    (site,) = location.sites
    entries = in_order(entries, lambda entry: entry["text"])
    data = {
        "role": site.role,
        "layer": site.layer,
        "stack": site.stack,
        "replace": settle(session, hparams.replace),
        "expand": hparams.expand,
    }
    stacked = {
        name: torch.stack([entry[name].cpu().float() for entry in entries]) for name in ("keys", "values", "radii")
    }
    texts = record_parts([entry["text"] for entry in entries])
    losses = [entry["loss"] for entry in entries]
    open_ = [entry for entry in entries if not entry["loss"] < hparams.stop_loss]
    if open_:
        worst = max(open_, key=lambda entry: entry["loss"])
        session.say(
            f"{len(open_)} of {len(entries)} edits did not converge: the loss of {worst['text'][0]!r} is "
            f"{worst['loss']:.3g} > {hparams.stop_loss:g}. Raise steps, or choose another layer"
        )
    return Update(
        payload=Payload("grace.codebook", data, {**stacked, **texts}),
        notes={"losses": losses, "converged": not open_},
    )


def settle(session: "Session", replace: str) -> str:
    """The tokens that `auto` stands for."""
    if replace != "auto":
        return replace
    return "prompt" if session.encoder_decoder else "last"
