"""The hyper-parameters of Knowledge Neurons; defaults are those of the paper."""

from typing import Literal

from attrs import frozen, validators

from editcore_hooks import hparam

_PAPER = "Dai et al. 2022"
_positive = validators.gt(0)
_not_negative = validators.ge(0)
_share = validators.and_(validators.ge(0.0), validators.le(1.0))


@frozen
class KnHparams:
    """Settings for the choice of a fact's units and for their edit."""

    operation: Literal["replace", "suppress", "enhance"] = hparam(
        "replace",
        help="replace: take the old answer out of what the units add, and put the new one in; suppress: they add "
        "nothing; enhance: they add twice as much",
        source=f"{_PAPER}, sections 4.3 and 5",
    )
    steps: int = hparam(
        20, help="steps of the integral", symbol="m", source=f"{_PAPER}, section 3.1", validator=_positive
    )
    threshold: float = hparam(
        0.2,
        help="minimum attribution of a unit, as a share of the largest for the same prompt",
        symbol="t",
        source=f"{_PAPER}, section 4.1",
        validator=_share,
    )
    share: float = hparam(
        0.7,
        help="share of the prompts in which a unit must reach it; moved by .05 while too few or too many units remain",
        symbol="p",
        source=f"{_PAPER}, section 4.1",
        validator=_share,
    )
    fewest: int = hparam(
        2, help="number of units below which the share is lowered", source=f"{_PAPER}, section 4.1", validator=_positive
    )
    most: int = hparam(
        5, help="number of units above which the share is raised", source=f"{_PAPER}, section 4.1", validator=_positive
    )
    old: float = hparam(
        1.0,
        help="replace: amount of the old answer's vector to remove, in norms of the value",
        symbol="λ₁",
        source=f"{_PAPER}, section 5.1",
        validator=_not_negative,
    )
    new: float = hparam(
        8.0,
        help="replace: amount of the new answer's vector to add, in norms of the value",
        symbol="λ₂",
        source=f"{_PAPER}, section 5.1",
        validator=_not_negative,
    )
    scale: float | None = hparam(
        None,
        help="replace: share of λ₁ and λ₂; none: the least of 1/32, 1/16, … 1 with which the target is the answer",
        source=f"this package; {_PAPER}: 1",
        validator=validators.optional(_positive),
    )
    prompts: tuple[str, ...] = hparam(
        (), help="other wordings of the fact, each with one {} for the subject; units are shared over all of them"
    )
    others: tuple[str, ...] = hparam(
        (), help="other subjects for the same question; units that are strong for many of them are spared"
    )
    common: float = hparam(
        0.1,
        help="share of the other subjects above which a unit counts as theirs",
        source=f"{_PAPER}, section 5.1",
        validator=_share,
    )
    context_lengths: tuple[int, ...] = hparam((8,), help="lengths in tokens of the sampled contexts of the prompt")
    context_count: int = hparam(
        4, help="contexts sampled of each length if no prompts are given", validator=_not_negative
    )
    rows_per_batch: int = hparam(512, help="rows of one token each in a forward pass", validator=_positive)
