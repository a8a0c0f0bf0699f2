"""The settings of MALMEN and RLEdit: what is edited, which trained editor is used, and how one is trained."""

from typing import Any, Literal

import attrs
from attrs import frozen, validators

from editcore_hooks import hparam

_PAPER = "Tan et al. 2024"
_positive = validators.gt(0)
_not_negative = validators.ge(0)
Role = Literal["mlp_in", "mlp_gate", "mlp_out"]


def _layers(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[int, ...] | None) -> None:
    if value is not None and (not value or min(value) < 0 or len(set(value)) < len(value)):
        raise ValueError(f"{attribute.name} must name layers, each once, from 0")


@frozen
class MalmenHparams:
    """An edit reads `editor` alone; the rest is for `editcore train`."""

    editor: str = hparam("", help="file that `editcore train -o` wrote; empty: the newest that is kept for the model")
    layers: tuple[int, ...] | None = hparam(
        None, help="blocks that are edited; none: the last three", validator=_layers
    )
    roles: tuple[Role, ...] = hparam(("mlp_out",), help="matrices of these blocks", source=_PAPER)
    tokens: Literal["answer", "all"] = hparam(
        "answer", help="answer: the tokens that predict the target; all: every token with a gradient", source=_PAPER
    )
    rank: int = hparam(256, help="inner width of the nets, which were 1920 at first", symbol="r", validator=_positive)
    blocks: int = hparam(2, help="residual blocks of a net", source=_PAPER, validator=_positive)
    edit_lr: float = hparam(
        1e-3, help="size of a residual before training, for normalised gradients", symbol="η", validator=_positive
    )
    ridge: float = hparam(1.0, help="ridge of the solve before training", symbol="e^λ", source=_PAPER,
                          validator=_positive)  # fmt: skip
    lr: float = hparam(1e-3, help="Adam's step size for the nets", validator=_positive)
    step_lr: float = hparam(1e-2, help="Adam's step size for η, relative to edit_lr, and for λ", validator=_positive)
    c_edit: float = hparam(1.0, help="weight of the edits' loss", source=_PAPER, validator=_positive)
    c_loc: float = hparam(1.0, help="weight of the divergence on other text", source=_PAPER, validator=_not_negative)
    local: int = hparam(1, help="texts a case that an edit must leave alone", validator=_not_negative)


def _steps(instance: Any, attribute: "attrs.Attribute[Any]", value: int) -> None:
    if value < 1:
        raise ValueError(f"{attribute.name} must be at least 1")


@frozen
class RlEditHparams(MalmenHparams):
    """MALMEN's, for edits in sequence."""

    size: int = hparam(8, help="facts of one edit of a sequence; a portion of cases is cut into such edits",
                       validator=_steps)  # fmt: skip
    memory: int = hparam(
        10, help="earlier edits of the sequence that still count", source="Li et al. 2025", validator=_positive
    )
    discount: float = hparam(0.95, help="weight of each earlier edit relative to the next", source="Li et al. 2025",
                             validator=_positive)  # fmt: skip
    c_size: float = hparam(
        1e-4, help="weight of the squared size of an edit", source="Li et al. 2025", validator=_not_negative
    )
