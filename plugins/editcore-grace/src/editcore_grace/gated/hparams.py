"""Settings of Defer and of the memory network, the baselines of Hartvigsen et al. 2023."""

from typing import Literal

from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import EOS_HELP, EOS_SOURCE

_GRACE = "code of Hartvigsen et al. 2023"
_positive = validators.gt(0)


@frozen
class GatedHparams:
    """What both have: the place, the training, and what the gate must not open for."""

    layer: int | None = hparam(None, help="block whose MLP is read and replaced; none: three quarters of the depth")
    role: Literal["mlp_out", "mlp_in"] = hparam("mlp_out", help="matrix of the MLP whose output is replaced")
    replace: Literal["auto", "last", "prompt", "all"] = hparam(
        "auto",
        help="tokens whose output is replaced: the last of the prompt, all of the prompt, or the answer too; "
        "auto: the last, with an encoder the whole prompt",
    )
    eos: bool | None = hparam(None, help=EOS_HELP, source=EOS_SOURCE)
    steps: int = hparam(100, help="largest number of training steps", source=_GRACE, validator=_positive)
    lr: float = hparam(0.1, help="Adam's step size", symbol="η", source=_GRACE, validator=_positive)
    stop_loss: float = hparam(
        1e-2,
        help="mean loss a target token at which training is done, once the gate keeps its margin",
        validator=validators.ge(0),
    )
    passages: int = hparam(
        32, help="neutral passages for whose beginnings the gate must not open", validator=validators.ge(0)
    )
    others: int = hparam(
        16,
        help="known names, and as many made-up subjects, for which the gate must not open in the same prompt",
        validator=validators.ge(0),
    )


@frozen
class DeferHparams(GatedHparams):
    """Settings of `defer`."""

    rank: int = hparam(8, help="rank of the gated linear map", symbol="r", validator=_positive)


@frozen
class MemoryNetworkHparams(GatedHparams):
    """Settings of `memory-network`."""

    slots: int = hparam(100, help="learned keys, and as many values", symbol="m", source=_GRACE, validator=_positive)
