"""KE at an edit: the gradient of the request, shaped by the hypernetwork. Each request is an edit of its own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import frozen

from editcore.authoring.training import Trained, find_trained, fit, plan_of
from editcore_hooks import Asset, Case, EditRequest, Location, LowRank, RefusedFileError, Site, Update, UsageError
from editcore_ke.hparams import KeHparams
from editcore_ke.learner import KeLearner, made
from editcore_ke.nets import Hypernetwork
from editcore_ke.reading import embedded
from editcore_mend.factors import factors
from editcore_mend.nets import sites_of
from editcore_mend.sites import chosen_sites

if TYPE_CHECKING:
    from editcore_hooks import Session

OWNER: Final = "editcore-ke"
METHOD: Final = "ke"
PLAN: Final[Mapping[str, Any]] = {"steps": 2000, "batch": 16, "validation": 96, "every": 100, "warmup": 100,
                                  "decay": "linear"}  # fmt: skip


@frozen(eq=False)
class Editor:
    """A trained hypernetwork, ready for edits."""

    net: Hypernetwork
    sites: tuple[Site, ...]
    trained: Trained


def train(session: "Session", cases: Sequence[Case], hparams: KeHparams, options: Mapping[str, Any]) -> Asset:
    """Train the hypernetwork for the sites that the settings name. See `editcore.authoring.training.fit`."""
    learner = KeLearner(session, hparams, chosen_sites(session, hparams.layers, hparams.roles))
    return fit(session, learner, cases, plan_of((METHOD, PLAN), ("options", options)))


def editor(session: "Session", hparams: KeHparams) -> Editor:
    """The net that is kept for this base, or that of the file that the settings name, loaded once a session."""
    trained = find_trained(session, OWNER, METHOD, hparams.editor)
    return session.cached((METHOD, trained.asset.sha256), lambda: _load(session, trained), base=True)


def _load(session: "Session", trained: Trained) -> Editor:
    """The net of an asset. Raises `RefusedFileError` when tensors and settings do not fit together or the model."""
    try:
        sites = sites_of(trained.settings)
        net = made(session, sites, trained.settings)
        tensors = session.assets.load(trained.asset)
        net.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RefusedFileError(f"{trained.asset.path.name} holds no nets of this model: {error}") from error
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise RefusedFileError(f"{trained.asset.path.name} holds values that are not finite")
    return Editor(net.requires_grad_(False), sites, trained)


@torch.no_grad()
def compute_each(
    session: "Session", requests: Sequence[EditRequest], location: Location, hparams: KeHparams
) -> list[Update]:
    """The patch of each request; the model and the net read them one by one, so that each is as it is alone."""
    used = editor(session, hparams)
    if set(location.sites) != set(used.sites):
        names = ", ".join(map(str, used.sites))
        raise UsageError(
            f"this editor was trained for {names}, and the location names others",
            hint="leave out the locator, or train an editor with --set layers=...",
        )
    return [_update(session, used, request) for request in requests]


def _update(session: "Session", used: Editor, request: EditRequest) -> Update:
    row = session.encode(request)
    found, _ = factors(session.anatomy, [(row.prompt_ids, row.target_ids)], used.sites)
    h = used.net.read(embedded(session, [request]))
    tensors = {}
    for site in used.sites:
        u, delta = found[site].of(0)
        out, in_ = used.net.shaped(site, h, u[None], delta[None])
        tensors[site] = LowRank(out[0], in_[0])
    ranks = {str(site): update.in_.shape[0] for site, update in tensors.items()}
    return Update(
        tensors=tensors,
        notes={"ranks": ranks, "editor": used.trained.asset.sha256},
        assets=(used.trained.asset,),
    )
