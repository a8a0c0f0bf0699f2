"""The hyper-parameters of EMMET."""

from attrs import frozen

from editcore_hooks import hparam
from editcore_keyvalue.hparams import SpreadHparams, not_negative, positive


@frozen
class EmmetHparams(SpreadHparams):
    """Where the numbers of a preset are from stands in the preset."""

    mom2_weight: float = hparam(10_000.0, help="weight of ordinary keys", symbol="λ", source="code", validator=positive)
    norm_weight: float = hparam(
        0.0, help="weight of the update's own size", symbol="μ", source="code", validator=not_negative
    )
    slack: float = hparam(
        0.1,
        help="how far the constraints may be missed; 0: not at all, which is ROME for many keys at once",
        symbol="γ",
        source="code",
        validator=not_negative,
    )
