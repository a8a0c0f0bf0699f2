"""The hyper-parameters of UltraEdit."""

from typing import Literal

from attrs import frozen

from editcore_hooks import hparam
from editcore_keyvalue.hparams import EOS_HELP, EOS_SOURCE, positive


@frozen
class UltraEditHparams:
    """Each preset cites its source."""

    layers: tuple[int, ...] = hparam((), help="blocks that are edited; none: by depth", source="code")
    parts: tuple[Literal["mlp_in", "mlp_gate", "mlp_out"], ...] = hparam(
        ("mlp_out",), help="projections of a block's MLP that are edited", source="code"
    )
    eos: bool | None = hparam(None, help=EOS_HELP, source=EOS_SOURCE)
    lr: float = hparam(
        1e-6, help="size of the step against the gradient", symbol="η", source="code", validator=positive
    )
    ridge: float = hparam(
        1.0, help="weight of the update's own size against the step", source="Gu et al. 2025, equation 9",
        validator=positive,
    )  # fmt: skip
    tokens: Literal["answer", "all"] = hparam(
        "answer",
        help="positions whose features count: those that predict the target, as published, or every token of the row",
        source="code",
    )


def layers_by_depth(n_layers: int) -> tuple[int, ...]:
    """Layers from 0.65 to 0.9 of the depth, as in the published settings of GPT-J and Llama 3."""
    first = int(n_layers * 0.65)
    return tuple(range(first, max(first + 1, round(n_layers * 0.9))))
