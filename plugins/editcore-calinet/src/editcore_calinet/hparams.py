"""The settings of CaliNET. Where a default is not the published one, a comment says why."""

from typing import Any, Final, Literal

import attrs
from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import OTHERS_HELP

_PAPER: Final = "Dong et al. 2022"
_CODE: Final = "code of Dong et al. 2022"
positive = validators.gt(0)
not_negative = validators.ge(0)


def _layers(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[int, ...] | None) -> None:
    if value is not None and (not value or min(value) < 0 or len(set(value)) < len(value)):
        raise ValueError(f"{attribute.name} must name layers, each once, from 0")


@frozen
class CalinetHparams:
    """Where the slots are, how many, how they begin, and how long they are trained."""

    layers: tuple[int, ...] | None = hparam(
        None, help="blocks of the decoder whose MLP gets slots; none: one by depth", symbol="l", validator=_layers
    )
    slots: int = hparam(64, help="slots of each block", symbol="n", source=f"{_PAPER}, 100 facts", validator=positive)
    # Published: random. A random key fires on half of all tokens, and so on those of other subjects.
    key_init: Literal["states", "random"] = hparam(
        "states",
        help="keys at the start; states: at the last token of the subjects; random: uniform",
        source=f"{_CODE} (random)",
    )
    # Published: 1e-2, of another optimiser. Here such steps overshoot what should stay as it is.
    lr: float = hparam(
        3e-3, help="Adam's step size", symbol="η", source=f"{_CODE} (1e-2, Adafactor)", validator=positive
    )
    steps: int = hparam(
        100, help="largest number of passes over the requests", source=f"{_CODE} (5000 steps)", validator=positive
    )
    batch_size: int = hparam(
        32, help="requests a step, each in all its contexts", source=f"{_CODE} (2048)", validator=positive
    )
    stop_loss: float = hparam(
        3e-2, help="loss of each request below which a batch is skipped and training ends", validator=not_negative
    )
    eos: bool = hparam(
        True, help="end the answer with the token that ends a text, or in a chat the turn, if the tokenizer has one"
    )
    # Published: no such term. Without it the slots answer other questions with the targets too.
    spare_weight: float = hparam(
        4.0, help="weight of the divergence on what should stay as it is", symbol="λ", validator=not_negative
    )
    text_count: int = hparam(
        16,
        help="texts of the unedited model that should stay; with an encoder, pieces of the bundled text",
        validator=not_negative,
    )
    others: tuple[str, ...] = hparam((), help="other subjects, whose answers to the same questions should stay")
    other_count: int = hparam(
        16,
        help=OTHERS_HELP,
        validator=not_negative,
    )
    context_templates: tuple[str, ...] = hparam(
        (), help="contexts for training each prompt, in addition to none, each with one {} for the prompt"
    )
    context_count: int = hparam(
        4, help="contexts sampled from the unedited model if none are given", validator=not_negative
    )
    context_length: int = hparam(10, help="length of a sampled context in tokens", validator=validators.ge(2))
