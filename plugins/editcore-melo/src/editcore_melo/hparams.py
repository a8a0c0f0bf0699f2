"""The settings of MELO. Where a default is not the published one, the README says what was measured."""

from typing import Any, Final, Literal

import attrs
from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import EOS_HELP, EOS_SOURCE, OTHERS_HELP

_CODE: Final = "code of Yu et al. 2024"
_positive = validators.gt(0)
_not_negative = validators.ge(0)

Role = Literal["mlp_in", "mlp_gate", "mlp_out", "attn_out"]


def _roles(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[Role, ...]) -> None:
    if len(set(value)) < len(value):
        raise ValueError(f"{attribute.name} must name matrices, each once")


@frozen
class MeloHparams:
    """Where prompts are looked up, which matrices get blocks, and how a block is trained."""

    layer: int | None = hparam(
        None, help="block whose output is looked up; none: three quarters of the depth, with an encoder its middle",
        symbol="l", source=f"{_CODE} (35 of 48, GPT2-XL; 4 of 8, T5-small)",
        validator=validators.optional(_not_negative),
    )  # fmt: skip
    depth: int = hparam(
        2, help="blocks after that whose matrices get low-rank blocks", source=_CODE, validator=_positive
    )
    roles: tuple[Role, ...] = hparam(
        (), help="matrices of a block that get them; none: mlp_in, with an encoder mlp_in and mlp_out", source=_CODE,
        validator=_roles,
    )  # fmt: skip
    rank: int = hparam(2, help="rank of a block", symbol="r", source=_CODE, validator=_positive)
    scale: float = hparam(
        20.0, help="factor of a block; published: the number of all blocks", source=f"{_CODE}, T5", validator=_positive
    )
    edits_per_block: int = hparam(
        4, help="edits of one patch that share a block", source=f"{_CODE}, GPT2-XL (100, T5)", validator=_positive
    )
    radius: float = hparam(
        0.65, help="radius of a new cluster, in `unit`", symbol="R₀", source=f"{_CODE} (0.5 GPT2-XL, 75 T5; absolute)",
        validator=_positive,
    )  # fmt: skip
    unit: Literal["others", "absolute"] = hparam(
        "others",
        help="unit of the radius: the distance to the nearest prompt that should stay, or 1 as published",
        source=f"{_CODE} (absolute)",
    )
    others: tuple[str, ...] = hparam((), help="other subjects, whose answers to the same questions should stay")
    other_count: int = hparam(16, help=OTHERS_HELP, validator=_not_negative)
    background: int = hparam(100, help="unrelated prompts, whose answers should stay", validator=_positive)
    lr: float = hparam(1e-2, help="Adam's step size", symbol="η", source=f"{_CODE}, T5", validator=_positive)
    eos: bool | None = hparam(None, help=EOS_HELP, source=EOS_SOURCE)
    steps: int = hparam(50, help="largest number of training steps", source=_CODE, validator=_positive)
    halve_every: int = hparam(
        20, help="steps after which the step size is halved", source=f"{_CODE}, T5", validator=_positive
    )
    stop_loss: float = hparam(
        1e-2, help="mean loss a target token of each edit at which a block is done", source="as ft-m",
        validator=_not_negative,
    )  # fmt: skip
