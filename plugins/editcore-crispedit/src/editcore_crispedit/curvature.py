"""The flat directions of each layer: from cached moments and their eigenvectors, with those of earlier edits merged."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor

from editcore_crispedit.hparams import CrispEditHparams
from editcore_crispedit.kronecker import Flat, flat
from editcore_crispedit.own import Own, merged
from editcore_hooks import Asset
from editcore_keyvalue.moments import Moment
from editcore_keyvalue.notices import moment_notes
from editcore_keyvalue.nullspace import eigenbasis
from editcore_keyvalue.statistic import GRADIENTS, KEYS, Statistic
from editcore_keyvalue.store import MomentRequest, second_moments

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen(eq=False)
class Curvature:
    """P of each layer, notes on the statistics, and the assets that they are made of."""

    flat: Mapping[int, Flat]
    notes: Mapping[str, Any]
    assets: tuple[Asset, ...]


def collect(session: "Session", wanted: Iterable[CrispEditHparams]) -> None:
    """The moments of all layers that several settings name, in one pass a statistic."""
    layers: dict[tuple[MomentRequest, MomentRequest], set[int]] = {}
    for hparams in wanted:
        layers.setdefault(_requests(hparams), set()).update(hparams.layers or ())
    for (keys, gradients), named in layers.items():
        if named:
            second_moments(session, sorted(named), keys, KEYS)
            second_moments(session, sorted(named), gradients, GRADIENTS)


def curvature(
    session: "Session", layers: Sequence[int], hparams: CrispEditHparams, earlier: Mapping[int, Own]
) -> Curvature:
    """Find or collect what the mask of each layer needs; `earlier` are the edits of this method that are on."""
    asked = _requests(hparams)
    keys = second_moments(session, layers, asked[0], KEYS)
    gradients = second_moments(session, layers, asked[1], GRADIENTS)
    found: dict[int, Flat] = {}
    assets: list[Asset] = []
    for layer in layers:
        own = earlier.get(layer)
        a, used_a = _basis(session, layer, keys[layer], KEYS, own, hparams)
        b, used_b = _basis(session, layer, gradients[layer], GRADIENTS, own, hparams)
        found[layer] = flat(b, a, hparams.energy)
        assets += [*used_a, *used_b]
    notes = {
        **moment_notes({layer: moment for layer, (moment, _) in keys.items()}),
        "gradient_count": {str(layer): moment.count for layer, (moment, _) in gradients.items()},
        "free_share": {str(layer): round(one.share, 6) for layer, one in found.items()},
    }
    return Curvature(found, notes, tuple(assets))


def _requests(hparams: CrispEditHparams) -> tuple[MomentRequest, MomentRequest]:
    seconds = hparams.mom2_seconds or float("inf")
    return (
        MomentRequest(hparams.mom2_corpus, hparams.mom2_tokens, seconds),
        MomentRequest(hparams.mom2_corpus, hparams.gradient_tokens, seconds),
    )


def _basis(
    session: "Session",
    layer: int,
    kept: tuple[Moment, Asset],
    statistic: Statistic,
    own: Own | None,
    hparams: CrispEditHparams,
) -> tuple[tuple[Tensor, Tensor], list[Asset]]:
    """Eigenvalues (n,) and eigenvectors (n, n) of a moment, those of ordinary text alone from the store."""
    moment, asset = kept
    if own is None:
        basis, cached = eigenbasis(session, layer, moment.mean, asset, statistic)
        device = session.device
        return (basis.values.to(device), basis.vectors.to(device)), [asset, cached]
    columns = (own.keys if statistic is KEYS else own.gradients).to(session.device)
    mean = merged(moment.mean.to(session.device), moment.weight, columns, own.count, hparams.history_weight)
    key = ("merged eigenbasis", statistic.kind, asset.sha256, hparams.history_weight)
    values, vectors = session.cached(key, lambda: tuple(torch.linalg.eigh(mean)))
    return (values, vectors), [asset]
