"""The settings of MEND: what is edited, which trained editor is used, and how one is trained."""

from typing import Any, Literal

import attrs
from attrs import frozen, validators

from editcore_hooks import hparam

_PAPER = "Mitchell et al. 2022"
_positive = validators.gt(0)
_not_negative = validators.ge(0)
Role = Literal["mlp_in", "mlp_gate", "mlp_out"]


def _layers(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[int, ...] | None) -> None:
    if value is not None and (not value or min(value) < 0 or len(set(value)) < len(value)):
        raise ValueError(f"{attribute.name} must name layers, each once, from 0")


def _together(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[int, ...]) -> None:
    if not value or min(value) < 1:
        raise ValueError(f"{attribute.name} must name numbers of edits from 1")


@frozen
class MendHparams:
    """An edit reads `editor` alone; the rest is for `editcore train`."""

    editor: str = hparam("", help="file that `editcore train -o` wrote; empty: the newest that is kept for the model")
    layers: tuple[int, ...] | None = hparam(
        None, help="blocks that are edited; none: by depth, see `default_layers`", validator=_layers
    )
    roles: tuple[Role, ...] = hparam(
        ("mlp_in", "mlp_gate", "mlp_out"), help="matrices of these blocks, as far as the model has them", source=_PAPER
    )
    rank: int = hparam(256, help="inner width of the nets, which were 1920 at first", symbol="r", validator=_positive)
    blocks: int = hparam(2, help="residual blocks of a net", source=_PAPER, validator=_positive)
    edit_lr: float = hparam(
        1e-4, help="step size of an edit before training", symbol="η", source=_PAPER, validator=_positive
    )
    lr: float = hparam(1e-3, help="Adam's step size for the nets", validator=_positive)
    step_lr: float = hparam(1e-2, help="Adam's step size for η, relative to edit_lr", validator=_positive)
    c_edit: float = hparam(0.1, help="weight of the edit's loss", symbol="c_e", source=_PAPER, validator=_positive)
    c_loc: float = hparam(
        1.0, help="weight of the divergence on other text", symbol="c_loc", source=_PAPER, validator=_not_negative
    )
    local: int = hparam(2, help="texts a step that an edit must leave alone", validator=_not_negative)
    together: tuple[int, ...] = hparam(
        (1,), help="numbers of edits in one patch during training, one drawn for each portion", validator=_together
    )
