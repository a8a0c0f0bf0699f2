"""The settings of KE: what is edited, which trained editor is used, and how one is trained."""

from typing import Any, Literal

import attrs
from attrs import frozen, validators

from editcore_hooks import hparam

_PAPER = "De Cao et al. 2021"
_positive = validators.gt(0)
_not_negative = validators.ge(0)
Role = Literal["mlp_in", "mlp_gate", "mlp_out"]


def _layers(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[int, ...] | None) -> None:
    if value is not None and (not value or min(value) < 0 or len(set(value)) < len(value)):
        raise ValueError(f"{attribute.name} must name layers, each once, from 0")


@frozen
class KeHparams:
    """An edit reads `editor` alone; the rest is for `editcore train`."""

    editor: str = hparam("", help="file that `editcore train -o` wrote; empty: the newest that is kept for the model")
    layers: tuple[int, ...] | None = hparam(
        None, help="blocks that are edited; none: the last three", validator=_layers
    )
    roles: tuple[Role, ...] = hparam(
        ("mlp_in", "mlp_gate", "mlp_out"), help="matrices of these blocks, as far as the model has them"
    )
    hidden: int = hparam(128, help="width of the LSTM in each direction", source=_PAPER, validator=_positive)
    condition: int = hparam(
        256, help="width of what is read of a request, which was 1024 at first", validator=_positive
    )
    head: int = hparam(128, help="inner width of the head of a matrix", source=_PAPER, validator=_positive)
    scale: float = hparam(
        1.0, help="largest factor of an edit, which the sigmoid bounds", symbol="s", source=_PAPER, validator=_positive
    )
    lr: float = hparam(3e-4, help="step size of RMSprop", source=_PAPER, validator=_positive)
    alpha_lr: float = hparam(0.1, help="step size of the multiplier", source=_PAPER, validator=_positive)
    smoothing: float = hparam(0.1, help="label smoothing of the new target", source=_PAPER, validator=_not_negative)
    margin: float = hparam(
        1e-3, help="divergence on other text that is allowed at first", symbol="m", source=_PAPER, validator=_positive
    )
    least_margin: float = hparam(1e-5, help="smallest margin", source=_PAPER, validator=_positive)
    shrink: float = hparam(
        0.8, help="factor of the margin after each measurement with 90 % of the edits right", source=_PAPER,
        validator=_positive,
    )  # fmt: skip
    local: int = hparam(2, help="texts a step that an edit must leave alone", validator=_not_negative)
