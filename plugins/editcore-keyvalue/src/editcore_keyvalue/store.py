"""Second moments as assets: found, or collected once for all requested layers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from editcore_hooks import Asset
from editcore_keyvalue.collecting import OWNER, collect_layers, identity
from editcore_keyvalue.corpus import Corpus
from editcore_keyvalue.hparams import AUTO, KeyValueHparams
from editcore_keyvalue.moments import Moment
from editcore_keyvalue.notices import say_cut, say_few
from editcore_keyvalue.reading import choose
from editcore_keyvalue.statistic import KEYS, Statistic

if TYPE_CHECKING:
    from editcore_hooks import Session

__all__ = ["OWNER", "MomentRequest", "collect", "second_moments"]


@frozen
class MomentRequest:
    """The statistics to collect: `tokens` 0 means by the width of what is read; `seconds` limits the time, if given."""

    corpus: str = AUTO
    tokens: int = 0
    seconds: float = math.inf

    @classmethod
    def of(cls, hparams: KeyValueHparams) -> "MomentRequest":
        return cls(hparams.mom2_corpus, hparams.mom2_tokens, hparams.mom2_seconds or math.inf)


def second_moments(
    session: "Session", layers: Sequence[int], request: MomentRequest, statistic: Statistic = KEYS
) -> Mapping[int, tuple[Moment, Asset]]:
    """The moments of `layers`, from the store or collected now and kept.

    Of several kept for one layer and corpus the one over most tokens is taken. One that a limit of time cut short
    serves for the session that it was cut in, the next collects the rest. Says what it is about to do before it starts.
    """
    corpus = choose(session, request.corpus, session.anatomy.mlp_width)
    wanted = request.tokens or statistic.tokens(session.anatomy)
    short = ("second moments cut short", statistic.kind)
    cut: dict[tuple[int, str, int], Asset] = session.cached(short, dict, base=True)
    found: dict[int, Asset] = {}
    for layer in layers:
        asset = cut.get((layer, request.corpus, wanted)) or _largest(session, layer, corpus, request.tokens, statistic)
        if asset is not None:
            found[layer] = asset
    missing = sorted(set(layers) - set(found))
    if missing:
        limit = max(0.0, min(request.seconds, session.seconds_left))
        found |= collect_layers(session, missing, corpus, wanted, limit, statistic)
    moments = {layer: (_read(session, asset, wanted), asset) for layer, asset in found.items()}
    for layer, (moment, asset) in moments.items():
        if moment.wanted:
            cut[layer, request.corpus, wanted] = asset
    say_cut(session, {layer: moment for layer, (moment, _) in moments.items()}, statistic)
    say_few(session, {layer: moment for layer, (moment, _) in moments.items()}, statistic)
    return moments


def collect(session: "Session", wanted: Iterable[tuple[KeyValueHparams, Iterable[int]]]) -> None:
    """The second moments of all layers that several settings name, in one pass a corpus."""
    by_request: dict[MomentRequest, set[int]] = {}
    for hparams, layers in wanted:
        by_request.setdefault(MomentRequest.of(hparams), set()).update(layers)
    for request, named in by_request.items():
        if named:
            second_moments(session, sorted(named), request)


def _largest(session: "Session", layer: int, corpus: Corpus, tokens: int, statistic: Statistic) -> Asset | None:
    """The whole asset over most tokens: at least `tokens`, or all of its text; for 0, one that was not cut short."""
    wanted = identity(session, layer, corpus, statistic)
    counts = [
        asset.parameters["count"]
        for asset in session.assets.list()
        if (asset.kind, asset.owner, asset.base_root) == (wanted.kind, wanted.owner, wanted.base_root)
        and {key: value for key, value in asset.parameters.items() if key != "count"} == wanted.parameters
        and _enough(asset.parameters["count"], session.assets.about(asset), tokens)
    ]
    found = (
        session.assets.find(identity(session, layer, corpus, statistic, count=n)) for n in sorted(counts, reverse=True)
    )
    return next((asset for asset in found if asset is not None), None)


def _enough(count: int, about: Mapping[str, object], tokens: int) -> bool:
    return bool(about.get("whole")) or (count >= tokens if tokens else "wanted" not in about)


def _read(session: "Session", asset: Asset, wanted: int) -> Moment:
    """The moment; cut short where it is, and where more tokens than it has are wanted."""
    corpus = str(asset.parameters["corpus"]).partition(":")[0]
    about = session.assets.about(asset)
    count, aim = int(asset.parameters["count"]), int(about.get("wanted", 0))
    short = aim if count < min(aim, wanted) else 0
    return Moment(session.assets.load(asset)["mean"], count, corpus, short, int(about.get("positions", 0)))
