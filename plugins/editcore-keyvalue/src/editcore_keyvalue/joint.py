"""One update of many requests: values of all at the last layer, then the layers one after the other.

What MEMIT, EMMET, PMET and AlphaEdit share; each brings the system that it solves.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor

from editcore_hooks import Asset, EditRequest, Location, Site, State, Update, UsageError
from editcore_keyvalue import history
from editcore_keyvalue.cached_solve import CachedSolve
from editcore_keyvalue.cholesky import factor
from editcore_keyvalue.contexts import beginnings, contexts_of
from editcore_keyvalue.fitting import fit_values, value_settings
from editcore_keyvalue.hparams import SpreadHparams
from editcore_keyvalue.norm_anchor import find_anchor
from editcore_keyvalue.notices import moment_notes, say_large
from editcore_keyvalue.outcomes import say_again, say_missing, say_unconverged, value_notes
from editcore_keyvalue.residual_check import enters_as_it_is
from editcore_keyvalue.ridge import ridge_of
from editcore_keyvalue.rows import EditRows
from editcore_keyvalue.spreading import Share, linear, spread
from editcore_keyvalue.store import MomentRequest, second_moments
from editcore_keyvalue.subjects import Merge, Shared, by_key, in_beginnings
from editcore_keyvalue.system import Preserved
from editcore_keyvalue.targets import targets_of, to_length
from editcore_keyvalue.value import Value, ValueSettings

if TYPE_CHECKING:
    from editcore_hooks import Session

KEPT: Final = 512
"""Edits whose values are kept: tuning tries several weights with each."""

System = Callable[[int], Preserved]
"""The keys that an update of a layer should leave unchanged."""


def edited_layers(location: Location, name: str) -> list[int]:
    """The layers of MLP down projections, ascending. Raises `UsageError` when a site is something else."""
    layers = sorted(site.layer for site in location.sites if site.role == "mlp_out" and site.layer is not None)
    if len(layers) != len(location.sites) or len(set(layers)) != len(layers) or not layers:
        named = ", ".join(map(str, location.sites)) or "nothing"
        message = f"{name} edits MLP down projections of different layers, not {named}"
        raise UsageError(message, hint="choose another locator, or leave it out")
    return layers


def second_moment_system(
    session: "Session", layers: Sequence[int], hparams: SpreadHparams, weight: float, state: State, add: float = 0.0
) -> tuple[System, dict[str, Any], tuple[Asset, ...]]:
    """`weight` · (C + `add` · I) + HHᵀ of each layer, with notes and assets; C is collected first where it is missing.

    H are the keys of earlier edits in `state`. With weight 0 new keys get their values exactly, and those of H stay.
    """
    moments = second_moments(session, layers, MomentRequest.of(hparams))
    ridges = {layer: ridge_of(moment, hparams.mom2_ridge) for layer, (moment, _) in moments.items()}

    def system(layer: int) -> Preserved:
        moment, asset = moments[layer]
        c = moment.mean.to(session.device)
        ridge = ridges[layer] + add / float(c.diagonal().double().mean())
        lower = session.cached(("cholesky", asset.sha256, ridge), lambda: factor(c, ridge), base=True)
        solved = session.cached(("solved", asset.sha256, ridge), lambda: CachedSolve(lower), base=True)
        return Preserved(weight, lower, history=earlier(state, layer, hparams), solved=solved)

    notes = moment_notes({layer: moment for layer, (moment, _) in moments.items()}, ridges)
    return system, notes, tuple(asset for _, asset in moments.values())


def joint_update(
    session: "Session",
    requests: Sequence[EditRequest],
    location: Location,
    hparams: SpreadHparams,
    system: System,
    name: str,
    *,
    sites: Sequence[Site] = (),
    settings: ValueSettings | None = None,
    share: Share = linear,
    notes: Mapping[str, Any] = MappingProxyType({}),
    assets: tuple[Asset, ...] = (),
) -> Update:
    """Values at the block output of the last layer, or at `sites` of it, and those of the last site spread by `share`.

    Where the MLP's output does not enter the stream as it is, the value is that of the last layer's MLP, and only this
    layer is written: what lower ones add brings that value no nearer. Raises `UsageError` without requests.
    """
    layers = edited_layers(location, name)
    sites = tuple(sites) or (Site("block", layers[-1]),)
    if sites == (Site("block", layers[-1]),) and not enters_as_it_is(session, layers[-1]):
        if len(layers) > 1:
            session.say(
                f"{name} writes layer {layers[-1]} alone: the blocks of this model rescale the output of an MLP"
            )
        layers = layers[-1:]
        sites = (Site("mlp_out", layers[-1]),)
    contexts = contexts_of(session, hparams, requests)
    found = some(session, requests, contexts, location.token, eos=hparams.eos, merge=hparams.merge)
    rows = [each.rows for each in found]
    settings = settings or value_settings(hparams)
    values = _values(session, rows, sites, settings)
    say_unconverged(session, found, values)
    shared, target = targets_of(session, found, values, sites[-1])
    anchor: dict[str, Any] = {}
    if hparams.norm_anchor:
        shared, target, anchor, used = to_length(
            session, shared, target, sites, find_anchor(session, sites, contexts, location.token, hparams, settings)
        )
        assets = (*assets, *used)
    more = beginnings(session, hparams.key_contexts)
    count = len(contexts) + len(more)
    keyed = [each.rows for each in shared]
    if more:
        keyed = [in_beginnings(session, each, more, len(contexts), location.token) for each in shared]
    with session.progress(f"{len(layers)} layers", len(layers)) as progress:
        written = spread(
            session.anatomy, keyed, count, layers, target.target, sites[-1], system, share, hparams.context_spread,
            progress.advance,
        )  # fmt: skip
    say_again(session, shared, written)
    say_missing(session, shared, written, name)
    say_large(session, {int(layer): norm for layer, norm in written.notes["relative_norm"].items()}, name)
    all_notes = {"contexts": list(contexts), **value_notes(values), **anchor, **written.notes, **notes}
    increment = history.increment(written.keys) if hparams.history else {}
    return Update(tensors=written.updates, state_increment=increment, notes=all_notes, assets=assets)


def _values(
    session: "Session", rows: Sequence[EditRows], sites: Sequence[Site], settings: ValueSettings
) -> list[Value]:
    """Values of some hundred edits at most are kept for the stack: with another weight they are the same.

    Without their keys, which are read again layer by layer and would be most of what is kept.
    """
    label = f"values of {len(rows)} edits"

    def fit() -> list[Value]:
        values = fit_values(session, rows, sites, settings, label)
        for value in values:
            value.keys = value.keys[:0]
        return values

    return fit() if len(rows) > KEPT else session.cached(("values", tuple(rows), tuple(sites), settings), fit)


def some(
    session: "Session",
    requests: Sequence[EditRequest],
    contexts: Sequence[str],
    token: str,
    *,
    eos: bool | None = None,
    merge: Merge = "key",
) -> list[Shared]:
    """The requests by what they share. Raises `UsageError` when there are none."""
    if not requests:
        raise UsageError("there is nothing to edit", hint="give at least one request")
    return by_key(session, requests, contexts, token, eos=eos, merge=merge)


def earlier(state: State, layer: int, hparams: SpreadHparams) -> Tensor | None:
    """Keys (f, m) of earlier edits at a layer, unless the settings forget them."""
    return (state.value or {}).get(layer) if hparams.history else None
