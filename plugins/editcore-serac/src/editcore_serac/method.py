"""SERAC at an edit: two vectors and a few keys are computed from one forward; nothing is trained."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

import torch

from editcore.authoring.records import record_parts
from editcore.authoring.training import Trained, find_trained, fit, plan_of
from editcore_hooks import Asset, Case, EditRequest, Payload, RefusedFileError, Update, UsageError
from editcore_serac.hparams import SeracHparams
from editcore_serac.learner import METHOD, OWNER, SeracLearner
from editcore_serac.nets import Nets
from editcore_serac.reading import entry, places, read

if TYPE_CHECKING:
    from editcore_hooks import Session

PLAN: Final[Mapping[str, Any]] = {"steps": 300, "batch": 32, "validation": 64, "every": 100}
"""How SERAC is trained by default."""


def train(session: "Session", cases: Sequence[Case], hparams: SeracHparams, options: Mapping[str, Any]) -> Asset:
    """Train scope and counterfactual model. See `editcore.authoring.training.fit`."""
    learner = SeracLearner(session, hparams, places(session, hparams.layer))
    return fit(session, learner, cases, plan_of((METHOD, PLAN), ("options", options)))


def load(session: "Session", trained: Trained) -> Nets:
    """The nets of an asset. Raises `RefusedFileError` where it holds none of this model, or of another tokenizer."""
    name = trained.asset.path.name
    if trained.asset.parameters.get("tokenizer_sha256") != session.tokenizer_sha256:
        raise RefusedFileError(f"{name} was trained with another tokenizer", hint="train again with this one")
    try:
        settings, tensors = trained.settings, session.assets.load(trained.asset)
        places(session, settings["layer"])
        nets = Nets(settings["d"], settings["width"], settings["rank"])
        nets.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RefusedFileError(f"{name} holds no nets of this model: {error}") from error
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise RefusedFileError(f"{name} holds values that are not finite")
    return nets.to(session.device).requires_grad_(False)


def compute_update(session: "Session", requests: Sequence[EditRequest], hparams: SeracHparams) -> Update:
    """One update with the edits of all requests, in the order of their texts."""
    if not requests:
        raise UsageError("there is nothing to edit", hint="give at least one request")
    trained = find_trained(session, OWNER, METHOD, hparams.nets)
    nets = session.cached(("serac", trained.asset.sha256), lambda: load(session, trained), base=True)
    once = {(one.rendered().text, one.target_new): one for one in requests}
    texts = sorted(once)
    for (one, first), (two, second) in pairwise(texts):
        if one == two:
            raise UsageError(
                f"two requests answer {one!r} with {first!r} and {second!r}",
                hint="write one patch a request (-o FOLDER); the later replaces the earlier",
            )
    where, entries = places(session, trained.settings["layer"]), []
    with session.at_base():  # states of the base, whatever memories answer now
        for text in texts:
            encoded = session.encode(once[text])
            # one by one: an edit does not depend on the others of its batch
            (found,) = read(session, [(encoded.prompt_ids, encoded.target_ids)], where)
            entries.append(entry(session, nets, text[0], found, encoded.target_ids))
    starts = [0, *accumulate(len(one.keys) for one in entries)]
    ends = [torch.cat([one.values, one.values.new_zeros(1, one.values.shape[1])]) for one in entries]
    tensors = {
        **record_parts(texts),
        **nets.kept(),
        "vectors": torch.stack([one.vector for one in entries]).cpu(),  # (N, p)
        "keys": torch.cat([one.keys for one in entries]).cpu(),  # (M, r)
        "values": torch.cat(ends).cpu(),  # (M, d), zero at ends
        "starts": torch.tensor(starts),  # (N + 1,)
    }
    data = {"layer": where.reads.layer, "threshold": hparams.threshold, "nets": trained.asset.sha256}
    return Update(payload=Payload("serac.scoped", data, tensors), assets=(trained.asset,))
