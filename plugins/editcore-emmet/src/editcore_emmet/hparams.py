"""The hyper-parameters of EMMET."""

from typing import Final

from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import SpreadHparams, not_negative, positive

SLACK: Final = 0.1


@frozen
class EmmetHparams(SpreadHparams):
    """Each preset cites its source."""

    mom2_weight: float | None = hparam(
        None,
        help="weight of ordinary keys; none: the width of the keys, divided by the slack",
        symbol="λ",
        source="the code has 10,000",
        validator=validators.optional(positive),
    )
    norm_weight: float = hparam(
        0.0, help="weight of the update's own size", symbol="μ", source="code", validator=not_negative
    )
    slack: float = hparam(
        SLACK,
        help="slack of the constraints; 0: none, which is ROME for many keys at once",
        symbol="γ",
        source="code",
        validator=not_negative,
    )
