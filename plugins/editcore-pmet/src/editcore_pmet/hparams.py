"""The hyper-parameters of PMET."""

from typing import Literal

from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import SpreadHparams, not_negative, positive


@frozen
class PmetHparams(SpreadHparams):
    """Each preset cites its source; defaults are those of GPT-J in the code."""

    v_steps: int = hparam(30, help="steps of the value optimisation", source="code", validator=positive)
    v_lr: float = hparam(0.2, help="Adam's step size for the values", source="code", validator=positive)
    kl: float = hparam(
        1.0, help="weight of the divergence on '{subject} is a'", symbol="λ", source="code", validator=not_negative
    )
    nll: float = hparam(1.0, help="weight of the target's likelihood", source="code", validator=positive)
    v_stop: Literal["loss", "argmax", "settled", "never"] = hparam(
        "settled",
        help="rule to stop before v_steps. settled, as published: the loss is below 0.05, or every target token is the "
        "likeliest in every context and the weighted divergence is below 0.01, where the target counts a tenth; "
        "loss, argmax, never: as in MEMIT",
        source="code",
    )
    mom2_weight: float | None = hparam(
        None,
        help="weight of ordinary keys against those of the edits; none: the width of the keys",
        symbol="λ",
        source="the code has 6,000 for GPT-J",
        validator=validators.optional(positive),
    )
    spreading: Literal["root", "linear"] = hparam(
        "root",
        help="share of the missing part for a layer, with n layers left: root, 1/√n; linear, 1/n, as in MEMIT",
        source="Li et al. 2024, equation 9; code",
    )
