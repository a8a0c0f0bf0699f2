"""The settings of SERAC: which trained nets are used, and how they are trained."""

from attrs import frozen, validators

from editcore_hooks import hparam

_PAPER = "Mitchell et al. 2022, arXiv:2206.06520"
_positive = validators.gt(0)


@frozen
class SeracHparams:
    """An edit reads `nets` and `threshold`; the rest is for `editcore train`."""

    nets: str = hparam("", help="file that `editcore train -o` wrote; empty: the newest that is kept for the model")
    threshold: float = hparam(
        0.5, help="score above which the counterfactual model answers", source=_PAPER,
        validator=validators.and_(validators.gt(0), validators.lt(1)),
    )  # fmt: skip
    layer: int | None = hparam(
        None, help="block whose states the scope compares; none: at a third of the depth",
        validator=validators.optional(validators.ge(0)),
    )  # fmt: skip
    width: int = hparam(64, help="width of the scope's vectors", symbol="p", validator=_positive)
    rank: int = hparam(64, help="width of queries and keys", symbol="r", validator=_positive)
    lr: float = hparam(1e-3, help="Adam's step size; 1e-5 in the paper, for whole language models", validator=_positive)
    c_edit: float = hparam(
        0.1, help="weight of the counterfactual model's loss", symbol="c_e", source=_PAPER, validator=_positive
    )
