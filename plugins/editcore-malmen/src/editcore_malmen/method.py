"""MALMEN at an edit: keys and residuals of all requests, and one ridge solve for each matrix.

The residuals of a request do not depend on the others. So a fact is taken back exactly by solving again for the rest.
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
    RefusedFileError,
    Site,
    TensorUpdate,
    Update,
    UsageError,
)
from editcore_malmen.hparams import MalmenHparams, RlEditHparams
from editcore_malmen.keys import Keys, joined, keys_of
from editcore_malmen.learner import MalmenLearner
from editcore_malmen.nets import Residuals
from editcore_malmen.sequence import RlEditLearner
from editcore_malmen.solve import solve
from editcore_mend.nets import sites_of
from editcore_mend.sites import chosen_sites, shapes_of

if TYPE_CHECKING:
    from editcore_hooks import Session

OWNER: Final = "editcore-malmen"
PLANS: Final[Mapping[str, Mapping[str, Any]]] = {
    "malmen": {"steps": 140, "batch": 64, "validation": 96, "every": 20},
    "rledit": {"steps": 100, "batch": 48, "validation": 96, "every": 10},
}


@frozen(eq=False)
class Editor:
    """Trained nets, ready for edits."""

    nets: Residuals
    sites: tuple[Site, ...]
    tokens: Any
    trained: Trained


def train(
    session: "Session", method: str, cases: Sequence[Case], hparams: MalmenHparams, options: Mapping[str, Any]
) -> Asset:
    """Train nets for the sites that the settings name. See `editcore.authoring.training.fit`."""
    sites = chosen_sites(session, hparams.layers, hparams.roles)
    learner = (
        RlEditLearner(session, hparams, sites)
        if isinstance(hparams, RlEditHparams)
        else MalmenLearner(session, hparams, sites)
    )
    return fit(session, learner, cases, plan_of((method, PLANS[method]), ("options", options)))


def editor(session: "Session", method: str, hparams: MalmenHparams) -> Editor:
    """The nets that are kept for this base, or those of the file that the settings name, loaded once a session."""
    trained = find_trained(session, OWNER, method, hparams.editor)
    return session.cached((method, trained.asset.sha256), lambda: _load(session, trained), base=True)


def _load(session: "Session", trained: Trained) -> Editor:
    """The nets of an asset. Raises `RefusedFileError` when tensors and settings do not fit together or the model."""
    try:
        s = trained.settings
        sites = sites_of(s)
        shapes = shapes_of(session, sites)
        nets = Residuals(shapes, s["rank"], s["blocks"], s["edit_lr"], s["ridge"])
        tensors = session.assets.load(trained.asset)
        nets.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RefusedFileError(f"{trained.asset.path.name} holds no nets of this model: {error}") from error
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise RefusedFileError(f"{trained.asset.path.name} holds values that are not finite")
    return Editor(nets.to(session.device).requires_grad_(False), sites, s["tokens"], trained)


def compute_update(
    session: "Session", method: str, requests: Sequence[EditRequest], location: Location, hparams: MalmenHparams
) -> Update:
    """One solve for all requests."""
    used = _editor_at(session, method, location, hparams)
    return _update(session, used, _keys(session, used, sorted(_items(session, requests))))


def compute_each(
    session: "Session", method: str, requests: Sequence[EditRequest], location: Location, hparams: MalmenHparams
) -> Sequence[Update]:
    """A solve for each request alone; the model reads them together."""
    used = _editor_at(session, method, location, hparams)
    return [_update(session, used, [one]) for one in _keys(session, used, _items(session, requests))]


def _editor_at(session: "Session", method: str, location: Location, hparams: MalmenHparams) -> Editor:
    used = editor(session, method, hparams)
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


def _keys(session: "Session", used: Editor, items: Sequence[Item]) -> list[Keys]:
    return keys_of(session.anatomy, items, used.sites, used.tokens)


@torch.no_grad()
def _update(session: "Session", used: Editor, each: Sequence[Keys]) -> Update:
    tensors: dict[Site, TensorUpdate] = {}
    notes: dict[str, Any] = {"keys": {}, "form": {}, "editor": used.trained.asset.sha256}
    for site, (u, delta) in joined(each, used.sites).items():
        if not len(u):
            continue
        tensors[site], dual = solved(used.nets, site, u, delta)
        notes["keys"][str(site)] = len(u)
        notes["form"][str(site)] = "of the keys" if dual else "of the matrix"
    if not tensors:
        raise UsageError(
            "the gradient of the request is zero at every site: the model answers with the target already",
            hint="nothing has to be edited",
        )
    return Update(tensors=tensors, notes=notes, assets=(used.trained.asset,))


def solved(nets: Residuals, site: Site, u: Tensor, delta: Tensor) -> tuple[TensorUpdate, bool]:
    """The change of one matrix, and whether the system was of the size of the keys."""
    found = solve(u, nets.residuals(site, u, delta), nets.ridge(site))
    return found.update(), found.dual
