"""The hyper-parameters of ROME; defaults are those of its published code, which differ from the paper's text."""

from typing import Literal

from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import KeyValueHparams, not_negative


@frozen
class RomeHparams(KeyValueHparams):
    """Each preset cites its source."""

    layer: int | None = hparam(
        None,
        help="block whose MLP down projection is edited; none: by depth, see `default_layer`",
        symbol="l*",
        source="Meng et al. 2022, section 3",
        validator=validators.optional(not_negative),
    )
    key_mode: Literal["r-rome", "rome", "p-rome"] = hparam(
        "r-rome",
        help="r-rome: the mean key over contexts throughout; rome: the prompt's key in the denominator, as first "
        "published; p-rome: the prompt's key throughout",
        symbol="k*",
        source="Gupta et al. 2024, arXiv:2403.07175",
    )
    spare_prompt: bool = hparam(
        True,
        help="spare the other tokens of the prompt, whose keys may be like the subject's; false: as published",
        source="this package, see its README",
    )
