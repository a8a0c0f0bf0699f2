"""The hyper-parameters of AlphaEdit."""

from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import SpreadHparams, positive


@frozen
class AlphaEditHparams(SpreadHparams):
    """Each preset cites its source."""

    l2: float = hparam(
        10.0,
        help="weight of the update's own size against the residual",
        symbol="L₂",
        source="code; the paper's equation 13 has 1",
        validator=positive,
    )
    nullspace_threshold: float = hparam(
        0.02,
        help="threshold of the second moment below which a direction of the keys is free",
        source="code; section 4.1 says 0.01",
        validator=positive,
    )
    nullspace_share: float | None = hparam(
        None,
        help="share of the directions that is free instead, those used least: the threshold depends on the scale of "
        "a model's activations, this does not",
        validator=validators.optional(validators.and_(validators.gt(0), validators.le(1))),
    )
