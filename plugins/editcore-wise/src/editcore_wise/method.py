"""The update of WISE: edits one after another into the current shard, and a new shard when that is full.

Wang et al. 2024, arXiv:2405.14768. A shard that earlier patches left open takes the next edits.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from editcore_hooks import EditRequest, Location, Site, State, Update, UsageError
from editcore_keyvalue.ordered import in_order
from editcore_wise.earlier import Open, aside, earlier_of, increment_of, open_shard, replayed
from editcore_wise.editor import Editor
from editcore_wise.hparams import WiseHparams
from editcore_wise.masks import mask_seed
from editcore_wise.payload import payload_of
from editcore_wise.shards import Rule
from editcore_wise.training import Trained

if TYPE_CHECKING:
    from editcore_hooks import Session


def compute_update(
    session: "Session", requests: Sequence[EditRequest], location: Location, state: State, hparams: WiseHparams
) -> Update:
    """Parts of shards with all requests, in the order of their texts. Raises `UsageError` where there is no MLP."""
    site = _one(location)
    requests = in_order(requests)
    rule = _rule(session, site, hparams)
    earlier = earlier_of(session, state, rule)
    shard = open_shard(earlier, rule)
    prompts = list(earlier.prompts)
    generator = torch.Generator().manual_seed(session.seed)
    shards: list[Open] = []
    edits: list[Trained] = []
    with aside(session, earlier), session.progress("steps", hparams.steps * len(requests)) as progress:
        editor = Editor.of(session, site, hparams)
        for request in requests:
            text = request.rendered().text
            if shard is None or len(shard.prompts) >= rule.shard_edits:
                shard = Open.new(rule, mask_seed(session.seed, len(prompts), text), hparams.mask_ratio)
            if shard not in shards:
                shards.append(shard)
            again = replayed(prompts, shard, generator) if hparams.replay else ([], [])
            edits.append(editor.edit_(shard, request, *again, session.seed + len(prompts), progress.advance))
            prompts.append((shard.prompts[-1], shard.name))
        parts = [shard.part(editor.distances(shard), editor.spared(shard)) for shard in shards]
    texts = [(request.rendered().text, request.target_new) for request in requests]
    _say_open(session, requests, edits)
    return Update(
        payload=payload_of(rule, [shard.mask for shard in shards], parts, texts),
        state_increment=increment_of([ids for ids, _ in prompts[len(earlier.prompts) :]]),
        notes={"scale": editor.scale.distance, "edits": [edit.noted() for edit in edits]},
    )


def _rule(session: "Session", site: Site, hparams: WiseHparams) -> Rule:
    assert site.layer is not None
    d_out, d_in = session.anatomy.weight(site).shape
    return Rule(
        site.layer,
        (d_out, d_in),
        hparams.act_ratio,
        hparams.shard_edits,
        hparams.merge,
        hparams.density,
        hparams.retrieve,
    )


def _one(location: Location) -> Site:
    """The site. Raises `UsageError` where it is no down projection of a decoder."""
    (site,) = location.sites
    if site.role != "mlp_out" or site.stack != "decoder":
        raise UsageError(
            f"wise copies the down projection of an MLP of a decoder, not {site}",
            hint="choose another locator, or leave it out",
        )
    if site.expert is not None:
        raise UsageError(f"{site} is one of several experts, which not every token reads", hint="--method ft-m")
    return site


def _say_open(session: "Session", requests: Sequence[EditRequest], edits: Sequence[Trained]) -> None:
    """Tell of edits that are not the model's answer at the end of their training."""
    failed = [request for request, edit in zip(requests, edits, strict=True) if not edit.written]
    if failed:
        session.say(
            f"{len(failed)} of {len(requests)} edits did not make their target the likeliest, such as "
            f"{failed[0].rendered().text!r}. Raise steps, or choose another layer"
        )
