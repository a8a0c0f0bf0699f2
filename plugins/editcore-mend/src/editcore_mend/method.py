"""MEND at an edit: one forward, one backward, and the nets. ΔW = −Σ_t η δ̃_t ũ_tᵀ is kept as factors.

An edit of many requests is the sum of their patches, since each has a loss of its own; so a request has the same patch
alone and among others.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Item
from editcore.authoring.training import Trained, find_trained, fit, plan_of
from editcore_hooks import (
    Asset,
    Case,
    EditRequest,
    Location,
    LowRank,
    RefusedFileError,
    Site,
    Update,
    UsageError,
)
from editcore_mend.factors import by_site, factors
from editcore_mend.hparams import MendHparams
from editcore_mend.learner import MendLearner
from editcore_mend.nets import Editors, sites_of
from editcore_mend.sites import chosen_sites, shapes_of

if TYPE_CHECKING:
    from editcore_hooks import Session

OWNER: Final = "editcore-mend"
METHOD: Final = "mend"
CHUNK: Final = 32
"""Requests of one forward."""
PLAN: Final[Mapping[str, Any]] = {"steps": 900, "batch": 16, "validation": 96, "every": 150}
"""How MEND is trained by default."""


@frozen(eq=False)
class Editor:
    """Trained nets, ready for edits."""

    editors: Editors
    sites: tuple[Site, ...]
    trained: Trained


def train(session: "Session", cases: Sequence[Case], hparams: MendHparams, options: Mapping[str, Any]) -> Asset:
    """Train nets for the sites that the settings name. See `editcore.authoring.training.fit`."""
    learner = MendLearner(session, hparams, chosen_sites(session, hparams.layers, hparams.roles))
    return fit(session, learner, cases, plan_of((METHOD, PLAN), ("options", options)))


def editor(session: "Session", hparams: MendHparams) -> Editor:
    """The nets that are kept for this base, or those of the file that the settings name, loaded once a session."""
    trained = find_trained(session, OWNER, METHOD, hparams.editor)
    return session.cached(("mend", trained.asset.sha256), lambda: load(session, trained), base=True)


def load(session: "Session", trained: Trained) -> Editor:
    """The nets of an asset. Raises `RefusedFileError` when tensors and settings do not fit together or the model."""
    try:
        settings = trained.settings
        sites = sites_of(settings)
        shapes = shapes_of(session, sites)
        editors = Editors(shapes, settings["rank"], settings["blocks"], settings["edit_lr"])
        tensors = session.assets.load(trained.asset)
        editors.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RefusedFileError(f"{trained.asset.path.name} holds no nets of this model: {error}") from error
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise RefusedFileError(f"{trained.asset.path.name} holds values that are not finite")
    return Editor(editors.to(session.device).requires_grad_(False), sites, trained)


def compute_update(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: MendHparams
) -> Update:
    """The sum of the patches of all requests."""
    used = _editor_at(session, location, hparams)
    items = sorted(_items(session, requests))  # the order of the requests must not change the sum
    return _update(used, _patches(session, used, items))


def compute_each(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: MendHparams
) -> Sequence[Update]:
    """The patch of each request, computed side by side."""
    used = _editor_at(session, location, hparams)
    return [_update(used, [patch]) for patch in _patches(session, used, _items(session, requests))]


def _editor_at(session: "Session", location: Location, hparams: MendHparams) -> Editor:
    used = editor(session, hparams)
    if set(location.sites) != set(used.sites):
        names = ", ".join(map(str, used.sites))
        raise UsageError(
            f"this editor was trained for {names}, and the location names others",
            hint="leave out the locator, or train an editor with --set layers=...",
        )
    return used


def _items(session: "Session", requests: Sequence[EditRequest]) -> list[Item]:
    if not requests:
        raise UsageError("there is nothing to edit", hint="give at least one request")
    encoded = [session.encode(request) for request in requests]
    return [(one.prompt_ids, one.target_ids) for one in encoded]


Patch = dict[Site, tuple[Tensor, Tensor]]
"""By site: `out` (N, d_out) and `in_` (N, d_in), a row for each token that is kept."""


@torch.no_grad()
def _patches(session: "Session", used: Editor, items: Sequence[Item]) -> list[Patch]:
    patches: list[Patch] = []
    for start in range(0, len(items), CHUNK):
        some = items[start : start + CHUNK]
        found, _ = factors(session.anatomy, some, used.sites)
        patches += [used.editors.patch(by_site(used.sites, found, row)) for row in range(len(some))]
    return patches


def _update(used: Editor, patches: Sequence[Patch]) -> Update:
    tensors = {}
    for site in used.sites:
        out = torch.cat([patch[site][0] for patch in patches]).T  # (d_out, N)
        in_ = torch.cat([patch[site][1] for patch in patches])  # (N, d_in)
        if in_.shape[0]:
            tensors[site] = shortened(LowRank(out, in_))
    if not tensors:
        raise UsageError(
            "the gradient of the request is zero at every site: the model answers with the target already",
            hint="nothing has to be edited",
        )
    return Update(
        tensors=tensors,
        notes={
            "ranks": {str(site): update.in_.shape[0] for site, update in tensors.items()},
            "editor": used.trained.asset.sha256,
        },
        assets=(used.trained.asset,),
    )


def shortened(update: LowRank) -> LowRank:
    """The same product, of a rank no larger than the smaller side of the matrix: of out = Q R, R joins the other."""
    d_out, n = update.out.shape
    d_in = update.in_.shape[1]
    if n <= min(d_out, d_in):
        return update
    if d_out <= d_in:
        q, r = torch.linalg.qr(update.out)  # (d_out, d_out), (d_out, N)
        return LowRank(q, r @ update.in_)
    q, r = torch.linalg.qr(update.in_.T)  # (d_in, d_in), (d_in, N)
    return LowRank(update.out @ r.T, q.T)
