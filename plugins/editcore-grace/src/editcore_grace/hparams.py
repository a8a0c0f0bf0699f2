"""Settings of GRACE. Values are those of the published code (Hartvigsen et al. 2023) where named."""

from typing import Literal

from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import EOS_HELP, EOS_SOURCE

_GRACE = "code of Hartvigsen et al. 2023"
_positive = validators.gt(0)


@frozen
class GraceHparams:
    """Settings of `grace`."""

    layer: int | None = hparam(None, help="block whose MLP is read and replaced; none: three quarters of the depth")
    role: Literal["mlp_out", "mlp_in"] = hparam("mlp_out", help="matrix of the MLP whose output is replaced")
    replace: Literal["auto", "last", "prompt", "all"] = hparam(
        "auto",
        help="tokens whose output is replaced: the last of the prompt, all of the prompt, or the answer too; "
        "auto: the last, with an encoder the whole prompt",
        source=f"{_GRACE} (prompt); EasyEdit (last)",
    )
    eos: bool | None = hparam(None, help=EOS_HELP, source=EOS_SOURCE)
    steps: int = hparam(100, help="largest number of training steps", source=_GRACE, validator=_positive)
    stop_loss: float = hparam(
        1e-2, help="mean loss a target token at which an edit is done", validator=validators.ge(0)
    )
    radius: float = hparam(0.05, help="radius of deferral of a new entry", symbol="ε", validator=_positive)
    unit: Literal["key", "absolute"] = hparam(
        "key", help="unit of the radius: the norm of the key, or 1 as published (with radius 1)", source=_GRACE
    )
    expand: bool = hparam(
        True, help="widen the nearest entry of the same target to cover a new key", source=f"{_GRACE} (coverage)"
    )
    init: Literal["warm", "cold"] = hparam(
        "warm", help="first value: the present output, or uniform in [0, 1)", source=_GRACE
    )
    lr: float = hparam(1.0, help="Adam's step size for the value", symbol="η", source=_GRACE, validator=_positive)
