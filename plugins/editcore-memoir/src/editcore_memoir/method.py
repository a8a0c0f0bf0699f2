"""The update of MEMOIR: masks of the requests, and the columns of Wₘ that minimise the loss of their targets.

L = mean over contexts c of −1/m Σⱼ log p(yⱼ | c, x, y₁ … yⱼ₋₁), with the mask of the prompt alone in every context
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from editcore.authoring.records import record_parts
from editcore_ft.hparams import FtHparams
from editcore_ft.objective import examples
from editcore_ft.training import say_open
from editcore_hooks import EditRequest, Location, Payload, Site, Update, UsageError
from editcore_keyvalue.contexts import contexts_for
from editcore_keyvalue.ordered import in_order
from editcore_keyvalue.unrelated import same_question
from editcore_memoir.fingerprints import Hash, background, overlaps, pack, read
from editcore_memoir.hparams import MemoirHparams
from editcore_memoir.kind import ResidualKind
from editcore_memoir.memory import Written, total
from editcore_memoir.training import train

if TYPE_CHECKING:
    from editcore_hooks import Session


def compute(session: "Session", requests: Sequence[EditRequest], location: Location, hparams: MemoirHparams) -> Update:
    """One increment of Wₘ for all `requests`, trained beside what the present patches wrote."""
    requests = in_order(requests)
    site = _one(location)
    hashed, common = hash_of(session, site, hparams)
    prompts = [session.encode(request).prompt_ids for request in requests]
    masks = hashed.masks(read(session, site, prompts, hparams.token))  # (E, d_in)
    columns = masks.any(0).nonzero()[:, 0]  # (U,)
    settings = FtHparams(
        objective="target_only",
        eos=hparams.eos,
        context_templates=hparams.context_templates,
        context_count=hparams.context_count,
        context_length=hparams.context_length,
    )
    contexts = contexts_for(session, settings)
    made = train(
        session,
        examples(session, requests, contexts, settings),
        site,
        masks[:, columns],
        columns,
        present(session, site, columns),
        hparams,
    )
    say_open(session, requests, made.losses, hparams.stop_loss, "Raise steps, or choose another layer")
    data = {
        "layer": site.layer,
        "stack": site.stack,
        "token": hparams.token,
        "active": hashed.active,
        "permutation": hparams.permutation,
    }
    parts = {
        **record_parts([(request.rendered().text, request.target_new) for request in requests]),
        "masks": pack(masks),
        "thresholds": thresholds(session, site, requests, masks, hashed, common, hparams),
        "columns": columns.cpu(),
        "matrix": made.matrix.cpu(),
        "mean": hashed.mean,
    }
    notes = {
        "losses": made.losses,
        "passes": made.passes,
        "converged": all(loss < hparams.stop_loss for loss in made.losses),
        "contexts": list(contexts),
    }
    return Update(payload=Payload(ResidualKind.name, data, parts), notes=notes)


def hash_of(session: "Session", site: Site, hparams: MemoirHparams) -> tuple[Hash, Tensor]:
    """The hash of the settings at a site, and the masks (n, d_in) of the unrelated prompts."""
    features = background(session, site, hparams.token, hparams.background)
    active = max(1, round(hparams.share * features.shape[1]))
    hashed = Hash(hparams.token, features.mean(0).cpu(), hparams.permutation, active)
    return hashed, hashed.masks(features)


def thresholds(
    session: "Session",
    site: Site,
    requests: Sequence[EditRequest],
    masks: Tensor,
    hashed: Hash,
    common: Tensor,
    hparams: MemoirHparams,
) -> Tensor:
    """The share of equal columns from which each edit answers, (E,) float32, on the processor.

    o + τ (1 − o), where o is the largest overlap of its mask with those of prompts that should stay: the unrelated ones
    and the same question about other subjects.
    """
    if hparams.unit == "absolute":
        return torch.full((len(requests),), hparams.threshold)
    found = []
    for request, mask in zip(requests, masks, strict=True):
        stay = common
        if asked := same_question(session, request, hparams.other_count, hparams.others):
            stay = torch.cat([common, hashed.masks(read(session, site, asked, hparams.token))])
        o = float(overlaps(mask[None], stay, hashed.active).max())
        found.append(o + hparams.threshold * (1 - o))
    return torch.tensor(found)


def present(session: "Session", site: Site, columns: Tensor) -> Tensor:
    """What the present patches wrote into `columns` (U,) at a site, (U, d_out) float32."""
    d_out, d_in = session.anatomy.weight(site).shape
    found = torch.zeros(d_in, d_out)
    for patch in session.live.patches:
        payload: Mapping[str, Any] = patch.core.get("payload") or {}
        if payload.get("kind") != ResidualKind.name:
            continue
        data = payload["data"]
        if (data["layer"], data["stack"]) == (site.layer, site.stack):
            parts = {name.removeprefix("payload/"): tensor for name, tensor in patch.tensors.items()}
            where, matrix = total([Written.of(data, parts)])
            found.index_add_(0, where, matrix)
    return found[columns.cpu()].to(columns.device)


def _one(location: Location) -> Site:
    (site,) = location.sites
    if site.role != "mlp_out":
        raise UsageError(f"the memory is beside a down projection, not {site}", hint="choose another locator")
    return site
