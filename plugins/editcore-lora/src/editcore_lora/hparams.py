"""The settings of LoRA and AdaLoRA; the defaults are those of published editing runs. Light: no torch."""

from typing import Any, Final, Literal

import attrs
from attrs import frozen, validators

from editcore_hooks import hparam

_EASYEDIT: Final = "arXiv:2308.07269, its code"
_PEFT: Final = "peft"
_positive = validators.gt(0)
_not_negative = validators.ge(0)
_share = validators.and_(validators.ge(0), validators.lt(1))

Role = Literal["mlp_in", "mlp_gate", "mlp_out", "attn_out"]


def _layers(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[int, ...] | None) -> None:
    if value is not None and (not value or min(value) < 0 or len(set(value)) < len(value)):
        raise ValueError(f"{attribute.name} must name layers, each once, from 0")


def _roles(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[Role, ...]) -> None:
    if not value or len(set(value)) < len(value):
        raise ValueError(f"{attribute.name} must name matrices, each once")


@frozen
class LoraHparams:
    """Settings of `lora`: ΔW = (α / r) B A, A random and B zero at the start."""

    layers: tuple[int, ...] | None = hparam(
        None, help="blocks that get an adapter; none: by depth, see `layers_by_depth`", symbol="l", validator=_layers
    )
    roles: tuple[Role, ...] = hparam(
        ("mlp_out",), help="matrices of a block that get one", source="arXiv:2401.01286 (mlp_out)", validator=_roles
    )
    rank: int = hparam(8, help="rank of an adapter", symbol="r", source=_EASYEDIT, validator=_positive)
    alpha: float = hparam(32.0, help="scale of an adapter, over its rank", symbol="α", source=_EASYEDIT,
                          validator=_positive)  # fmt: skip
    dropout: float = hparam(
        0.0, help="share of an adapter's inputs left out at random while training", source=f"{_EASYEDIT}: 0.1",
        validator=_share,
    )  # fmt: skip
    lr: float = hparam(5e-3, help="Adam's step size", symbol="η", source=_EASYEDIT, validator=_positive)
    steps: int = hparam(
        50, help="largest number of passes over the requests", source=f"{_EASYEDIT}: 30 to 70", validator=_positive
    )
    stop_loss: float = hparam(
        1e-2, help="loss of each request below which a batch is skipped and training ends", source="as ft-m",
        validator=_not_negative,
    )  # fmt: skip
    batch_size: int = hparam(16, help="requests a step, each in all its contexts", validator=_positive)
    eos: bool = hparam(
        True,
        help="end the answer with the token that ends a text, or in a chat the turn, if the tokenizer has one",
        source=f"arXiv:2509.22072; {_EASYEDIT}: false",
    )
    context_templates: tuple[str, ...] = hparam(
        (), help="contexts for training each prompt, in addition to none, each with one {} for the prompt"
    )
    context_count: int = hparam(
        0, help="contexts sampled from the unedited model if none are given", validator=_not_negative
    )
    context_length: int = hparam(10, help="length of a sampled context in tokens", validator=validators.ge(2))


def _above_rank(instance: Any, attribute: "attrs.Attribute[Any]", value: int) -> None:
    if value <= instance.rank:
        raise ValueError(f"{attribute.name} must be above rank, {instance.rank}: what is above it is pruned")


def _leaves_time(instance: Any, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not 0 <= value < 1 or instance.warmup + value >= 1:
        raise ValueError(f"warmup and {attribute.name} must leave a part of the steps between them")


@frozen
class AdaLoraHparams(LoraHparams):
    """Settings of `adalora`: ΔW = α P diag(λ) Q / r₀, λ zero at the start; `rank` is what is left on average."""

    initial_rank: int = hparam(
        12, help="rank of an adapter before pruning", symbol="r₀", source=_PEFT, validator=_above_rank
    )
    warmup: float = hparam(
        0.1, help="share of the steps before pruning begins", source="Zhang et al. 2023, appendix", validator=_share
    )
    final: float = hparam(
        0.3, help="share of the steps after pruning has ended", source="Zhang et al. 2023, appendix",
        validator=_leaves_time,
    )  # fmt: skip
    orthogonality: float = hparam(
        0.5, help="weight of ‖PᵀP − I‖ and ‖QQᵀ − I‖, the mean over all P and Q", symbol="γ", source=_PEFT,
        validator=_not_negative,
    )  # fmt: skip


def layers_by_depth(n_layers: int) -> tuple[int, ...]:
    """The layer of `ft-m` without a preset, of which this is the low-rank form."""
    return (n_layers // 4,)
