"""The hyper-parameters of MEMIT."""

from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import SpreadHparams, positive


@frozen
class MemitHparams(SpreadHparams):
    """Each preset cites its source."""

    mom2_weight: float | None = hparam(
        None,
        help="weight of ordinary keys against those of the edits; none: the width of the keys, see `weight`",
        symbol="λ",
        source="Meng et al. 2023, section 4.3",
        validator=validators.optional(positive),
    )
