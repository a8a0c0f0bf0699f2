"""Notes of a patch on second moments, and warnings with the next step if they or an update are not sound."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from editcore_keyvalue.moments import Moment
from editcore_keyvalue.statistic import KEYS, Statistic

if TYPE_CHECKING:
    from editcore_hooks import Session

LARGE: Final = 1.0
"""Norm of an update over that of its weight, above which the layer is more the update's than the model's."""


def moment_notes(moments: Mapping[int, Moment], ridges: Mapping[int, float] | None = None) -> dict[str, Any]:
    """The statistics of an update, by layer: tokens, their corpus, ridge, and the part cut by a time limit."""
    notes: dict[str, Any] = {
        "mom2_count": {str(layer): moment.count for layer, moment in moments.items()},
        "mom2_corpus": next(iter(moments.values())).corpus,
    }
    if ridges:
        notes["mom2_ridge"] = {str(layer): ridge for layer, ridge in ridges.items()}
    if wanted := {str(layer): moment.wanted for layer, moment in moments.items() if moment.wanted}:
        notes["mom2_wanted"] = wanted
    return notes


def say_few(session: "Session", moments: Mapping[int, Moment], statistic: Statistic = KEYS) -> None:
    """Warn if there are fewer tokens than directions: C knows nothing about the others."""
    few = {layer: moment for layer, moment in moments.items() if moment.count < len(moment.mean)}
    if not few:
        return
    layers, one = ", ".join(map(str, sorted(few))), few[min(few)]
    enough = statistic.tokens(session.anatomy)
    text = (
        f"the second moments of layer {layers} are over {one.count:,} tokens, fewer than the "
        f"{len(one.mean):,} directions of the {statistic.of}: neighbours are spared less well. Collect more with "
        f"`editcore stats MODEL{statistic.option} --layers {layers.replace(' ', '')} --tokens {enough}`"
        + ("" if one.corpus in ("self", "bundled") else ", or name a longer text with --set mom2_corpus=FILE")
    )
    _once(session, ("few tokens", statistic.kind, layers), text)


def say_cut(session: "Session", moments: Mapping[int, Moment], statistic: Statistic = KEYS) -> None:
    """Warn if a time limit cut the statistics: the edit differs from one without the limit."""
    cut = {layer: moment for layer, moment in moments.items() if moment.wanted}
    if not cut:
        return
    layers, one = ", ".join(map(str, sorted(cut))), cut[min(cut)]
    text = (
        f"the second moments of the {statistic.of} of layer {layers} are over {one.count:,} of {one.wanted:,} tokens, "
        "as many as the time allowed. Collect all with "
        f"`editcore stats MODEL{statistic.option} --layers {layers.replace(' ', '')}`"
    )
    _once(session, ("cut short", statistic.kind, layers), text)


def say_large(session: "Session", norms: Mapping[int, float], method: str) -> None:
    """Warn if an update is larger than the weight that it changes; `norms` by layer, relative to the weight's."""
    large = {layer: norm for layer, norm in norms.items() if norm > LARGE}
    if not large:
        return
    worst = max(large, key=lambda layer: large[layer])
    session.warn(
        f"the update of layer {worst} is {large[worst]:.1f} times as large as the weight itself, and other facts will "
        f"suffer. Find settings with `editcore tune MODEL --method {method.lower()}`, take another layer, or "
        f"collect more tokens with `editcore stats MODEL --layers {worst} --tokens N`"
    )


def _once(session: "Session", key: tuple[str, ...], text: str) -> None:
    session.cached(key, lambda: session.warn(text), base=True)
