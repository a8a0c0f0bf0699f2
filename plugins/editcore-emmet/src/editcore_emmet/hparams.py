"""The hyper-parameters of EMMET."""

from typing import Final

from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import SpreadHparams, not_negative, positive

SLACK: Final = 0.1


@frozen
class EmmetHparams(SpreadHparams):
    """Where the numbers of a preset are from stands in the preset."""

    mom2_weight: float | None = hparam(
        None,
        help="weight of ordinary keys; none: by the width of the keys, over the slack",
        symbol="λ",
        source="the code has 10,000",
        validator=validators.optional(positive),
    )
    norm_weight: float = hparam(
        0.0, help="weight of the update's own size", symbol="μ", source="code", validator=not_negative
    )
    slack: float = hparam(
        SLACK,
        help="how far the constraints may be missed; 0: not at all, which is ROME for many keys at once",
        symbol="γ",
        source="code",
        validator=not_negative,
    )
