"""The settings of CrispEdit; defaults are those of its published code where there is one. Light: no torch."""

from typing import Any, Final, Literal

import attrs
from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import AUTO, not_negative, positive

_CODE: Final = "code of arXiv:2602.15823"


def _layers(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[int, ...] | None) -> None:
    if value is not None and (not value or min(value) < 0 or len(set(value)) < len(value)):
        raise ValueError(f"{attribute.name} must name layers, each once, from 0")


@frozen
class CrispEditHparams:
    """Place and mask, then the training, then the statistics."""

    layers: tuple[int, ...] | None = hparam(
        None,
        help="blocks whose MLP down projection is trained; none: by depth, see `layers_by_depth`",
        symbol="l",
        source=f"{_CODE}: 19 to 23 of 32",
        validator=_layers,
    )
    energy: float = hparam(
        0.99,
        help="share of the curvature whose directions are left alone, the steepest first; 1 leaves only flat ones",
        symbol="γ",
        source=f"{_CODE}, its configuration; its command line has 0.8",
        validator=validators.and_(not_negative, validators.le(1)),
    )
    adam: Literal["weights", "eigenbasis"] = hparam(
        "weights",
        help="what Adam's moments are kept of. weights: projected gradients of the entries, as published; what its "
        "division puts back into steep directions is projected out at the end. eigenbasis: coordinates along the free "
        "directions, so that no step leaves them",
        source=f"{_CODE} (weights)",
    )
    lr: float = hparam(5e-4, help="Adam's step size", symbol="η", source=_CODE, validator=positive)
    steps: int = hparam(25, help="largest number of passes over the requests", source=_CODE, validator=positive)
    stop_loss: float = hparam(
        1e-2, help="loss of each request below which a batch is skipped and training ends", source=_CODE,
        validator=not_negative,
    )  # fmt: skip
    eos: bool = hparam(
        True,
        help="end the answer with the token that ends a text, or in a chat the turn, if the tokenizer has one",
        source=f"arXiv:2509.22072; {_CODE}: false",
    )
    batch_size: int = hparam(32, help="requests a step, each in all its contexts", source=_CODE, validator=positive)
    context_templates: tuple[str, ...] = hparam(
        (), help="contexts for training each prompt, in addition to none, each with one {} for the prompt"
    )
    context_count: int = hparam(
        0, help="contexts sampled from the unedited model if none are given", validator=not_negative
    )
    context_length: int = hparam(10, help="length of a sampled context in tokens", validator=validators.ge(2))
    history: bool = hparam(
        True,
        help="keep the keys and output gradients of the edits in the patch, and add those of this method's patches on "
        "the model to the statistics",
        source=f"{_CODE}, its sequential form",
    )
    history_weight: float = hparam(
        1.0,
        help="weight of a token of an earlier edit against one of ordinary text",
        source=f"{_CODE} (1)",
        validator=positive,
    )
    mom2_corpus: str = hparam(
        AUTO,
        help="corpus of both moments: bundled, text of this package; self, text that the model writes; a file; a "
        "dataset id; auto: bundled if the model reads it well, otherwise self",
        source=f"{_CODE}: Wikipedia",
    )
    mom2_tokens: int = hparam(
        0, help="minimum tokens of the moment of the inputs; 0: ten for each direction", symbol="n_A",
        validator=not_negative,
    )  # fmt: skip
    gradient_tokens: int = hparam(
        0, help="minimum tokens of the moment of the output gradients; 0: ten for each direction", symbol="n_B",
        validator=not_negative,
    )  # fmt: skip
    mom2_seconds: float = hparam(
        0.0,
        help="time limit for collecting each moment; if it is too short, a half, a quarter, … of the tokens is read, "
        "with a warning; 0: no limit",
        validator=not_negative,
    )


def layers_by_depth(n_layers: int) -> tuple[int, ...]:
    """The published layers, 19 to 23 of 32, at the same relative depth: five or fewer, at least one."""
    first, last = round(19 / 32 * n_layers), round(23 / 32 * n_layers)
    last = min(last, n_layers - 1)
    return tuple(range(min(first, last), last + 1))
