"""The hyper-parameters of ROME. Its steps are sized by the value they change, see the README; the presets of the models
that it was published for have the steps of its code."""

from typing import Literal

from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import KeyValueHparams, not_negative, positive


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
    v_steps: int = hparam(80, help="most forwards of the value optimisation", source="this package", validator=positive)
    v_lr: float | None = hparam(
        None,
        help="Adam's step size for the value, 0.5 as published; none: by v_pace",
        source="this package, see its README",
        validator=validators.optional(positive),
    )
    v_stop: Literal["loss", "target", "argmax", "settled", "never"] = hparam(
        "target",
        help="rule to stop before v_steps. target: the target's part of the loss is below 0.05; loss, as published: "
        "the whole loss is; argmax: every target token is the likeliest in every context (sooner, with a smaller "
        "margin); settled: as in PMET; never",
        source="this package, see its README",
    )
    key_mode: Literal["both", "r-rome", "rome", "p-rome"] = hparam(
        "both",
        help="both: the prompt's key and the mean key over contexts get the value; r-rome: the mean key throughout; "
        "rome: the prompt's key in the denominator, as first published; p-rome: the prompt's key throughout",
        symbol="k*",
        source="this package, see its README; the others Gupta et al. 2024, arXiv:2403.07175",
    )
    spare_prompt: bool = hparam(
        True,
        help="spare the other tokens of the prompt, whose keys may be like the subject's; false: as published",
        source="this package, see its README",
    )
    spare_alike: int = hparam(
        48,
        help="most other subjects whose keys in this prompt are spared, common names in the subject's script; 0: as "
        "published",
        source="this package, see its README",
        validator=not_negative,
    )
