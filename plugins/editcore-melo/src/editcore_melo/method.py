"""The update of MELO: a key and a radius for each request, and low-rank blocks that several of them may share."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from editcore.authoring.models import Tap, Trace, target_logits
from editcore.authoring.records import record_parts
from editcore_hooks import EditRequest, Location, Payload, Site, Update, UsageError
from editcore_keyvalue.answers import answer
from editcore_keyvalue.ordered import in_order
from editcore_keyvalue.unrelated import same_question, unrelated
from editcore_melo.hparams import MeloHparams
from editcore_melo.kind import RoutedKind
from editcore_melo.training import train

if TYPE_CHECKING:
    from editcore_hooks import Session

TOGETHER = 16
"""Edits that are trained in one batch, where blocks are not larger."""
ROWS = 32
"""Most prompts that are read in one forward."""


def compute(session: "Session", requests: Sequence[EditRequest], location: Location, h: MeloHparams) -> Update:
    """One update for all requests, in the order of their texts, with a block for each `edits_per_block` of them."""
    requests = in_order(requests)
    found = _computed(session, requests, [i // h.edits_per_block for i in range(len(requests))], location, h)
    return _update(session, requests, found, location, h)


def compute_each(
    session: "Session", requests: Sequence[EditRequest], location: Location, h: MeloHparams
) -> list[Update]:
    """An update with a block of its own for each request."""
    found = _computed(session, requests, list(range(len(requests))), location, h)
    return [_update(session, [requests[i]], [{**one, "block": 0}], location, h) for i, one in enumerate(found)]


def _computed(
    session: "Session", requests: Sequence[EditRequest], block: Sequence[int], location: Location, h: MeloHparams
) -> list[dict[str, Any]]:
    """Key, radius, number of the block, its factors and the loss of each request."""
    reads, acts = places(session, location, h)
    rows = [answer(session, request, h.eos) for request in requests]
    keys = read(session, reads, [prompt for prompt, _ in rows])  # (N, d)
    radii = _radii(session, reads, requests, keys, h)
    found: list[dict[str, Any]] = []
    for start, end in portions(block):
        made = train(session, rows[start:end], [b - block[start] for b in block[start:end]], reads, acts, h)
        for i in range(start, end):
            own = block[i] - block[start]
            factors = {site: (a[own], b[own]) for site, (a, b) in made.factors.items()}
            found.append(
                {
                    "key": keys[i],
                    "radius": radii[i],
                    "block": block[i],
                    "factors": factors,
                    "loss": made.losses[i - start],
                }
            )
    return found


def portions(block: Sequence[int]) -> list[tuple[int, int]]:
    """Beginning and end of runs of about `TOGETHER` items that keep blocks whole; `block` does not fall."""
    starts = [0]
    for i in range(1, len(block)):
        if block[i] != block[i - 1] and i - starts[-1] >= TOGETHER:
            starts.append(i)
    return list(pairwise([*starts, len(block)]))


def places(session: "Session", location: Location, h: MeloHparams) -> tuple[Site, tuple[Site, ...]]:
    """Where prompts are looked up, and the matrices with low-rank blocks, in the order in which they run."""
    (reads,) = location.sites
    layer = reads.layer
    if reads.role != "block" or layer is None:
        raise UsageError(f"prompts are looked up at the output of a block, not at {reads}", hint="name a layer")
    session.anatomy.module(reads)
    stacks: tuple[Literal["encoder", "decoder"], ...] = ("encoder", "decoder")
    stacks = stacks if session.encoder_decoder else stacks[1:]
    roles = h.roles or (("mlp_in", "mlp_out") if session.encoder_decoder else ("mlp_in",))
    later = range(layer + 1, min(layer + 1 + h.depth, session.anatomy.n_layers))
    if not later:
        hint = "--set layer=NUMBER, from 0 to the last but one"
        raise UsageError(f"no block runs after {layer}: the model has {session.anatomy.n_layers}", hint=hint)
    return reads, tuple(Site(role, each, stack) for stack in stacks for each in later for role in roles)


@torch.no_grad()
def read(session: "Session", site: Site, prompts: Sequence[Sequence[int]]) -> Tensor:
    """The output of a block at the end of each prompt, (n, d) float32, on the model as it is."""
    found = []
    for start in range(0, len(prompts), ROWS):
        some = prompts[start : start + ROWS]
        with Trace(session.anatomy, {site: Tap(output=True)}, stop=True) as trace:
            target_logits(session.model, [(prompt, (0,)) for prompt in some])  # one token of a target is not read
        last = torch.tensor([len(prompt) - 1 for prompt in some])  # rows are padded on the right
        found.append(trace.output(site)[torch.arange(len(some)), last].float())
    return torch.cat(found)


def _radii(session: "Session", reads: Site, requests: Sequence[EditRequest], keys: Tensor, h: MeloHparams) -> Tensor:
    """R₀ of each request (N,): a share of the distance from its key to the nearest prompt that should stay.

    Those are unrelated prompts, and the same question about other subjects.
    """
    if h.unit == "absolute":
        return torch.full((len(requests),), h.radius)

    def make() -> Tensor:
        with session.at_base():
            return read(session, reads, unrelated(session, h.background))

    common = session.cached(("melo", session.seed, reads, h.background), make, base=True)
    found = []
    for request, key in zip(requests, keys, strict=True):
        stay = common
        if asked := same_question(session, request, h.other_count, h.others):
            stay = torch.cat([common, read(session, reads, asked)])
        found.append(h.radius * float((stay - key).norm(dim=-1).min()))
    return torch.tensor(found)


def _update(
    session: "Session",
    requests: Sequence[EditRequest],
    found: Sequence[Mapping[str, Any]],
    location: Location,
    h: MeloHparams,
) -> Update:
    reads, acts = places(session, location, h)
    first = [next(one for one in found if one["block"] == b) for b in sorted({one["block"] for one in found})]
    parts = {
        **record_parts([(request.rendered().text, request.target_new) for request in requests]),
        "keys": torch.stack([one["key"].cpu() for one in found]),
        "radii": torch.stack([one["radius"] for one in found]),
        "block": torch.tensor([one["block"] for one in found]),
    }
    for i, site in enumerate(acts):
        parts[f"{i}.in"] = torch.stack([one["factors"][site][0] for one in first])  # (n, r, d_in)
        parts[f"{i}.out"] = torch.stack([one["factors"][site][1] for one in first])  # (n, d_out, r)
    data = {
        "layer": reads.layer,
        "stack": reads.stack,
        "rank": h.rank,
        "sites": [[site.role, site.layer, site.stack] for site in acts],
    }
    losses = [one["loss"] for one in found]
    open_ = [i for i, loss in enumerate(losses) if not loss < h.stop_loss]
    if open_:
        worst = max(open_, key=lambda i: losses[i])
        session.say(
            f"{len(open_)} of {len(losses)} edits did not converge: the loss of {requests[worst].rendered().text!r} is "
            f"{losses[worst]:.3g} > {h.stop_loss:g}. Raise steps or rank, or lower edits_per_block"
        )
    notes = {"losses": losses, "converged": not open_}
    return Update(payload=Payload(RoutedKind.name, data, parts), notes=notes)
