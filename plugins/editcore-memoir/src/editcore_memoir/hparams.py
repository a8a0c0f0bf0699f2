"""The settings of MEMOIR. Where a default is not the published one, the README says what was measured."""

from typing import Final, Literal

from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import EOS_HELP, EOS_SOURCE, OTHERS_HELP

_CODE: Final = "configuration of arXiv:2506.07899"
_positive = validators.gt(0)
_not_negative = validators.ge(0)
_share = validators.and_(validators.gt(0), validators.le(1))


@frozen
class MemoirHparams:
    """Where the memory is, how a prompt is recognised, and how its columns are trained."""

    layer: int | None = hparam(
        None, help="block whose MLP gets the memory; none: at 27/31 of the depth", symbol="l",
        source=f"{_CODE}, Llama 3 8B (27 of 32)", validator=validators.optional(_not_negative),
    )  # fmt: skip
    share: float = hparam(
        4096 / 14336, help="share of the columns that a prompt uses", symbol="k / d", source=f"{_CODE}, Llama 3 8B",
        validator=_share,
    )  # fmt: skip
    token: Literal["last", "mean"] = hparam(
        "last",
        help="what recognises a prompt: the input at its last token, or the mean over its tokens",
        source=f"{_CODE} (mean)",
    )
    threshold: float = hparam(
        0.25, help="overlap with the prompt of an edit from which it answers, in `unit`", symbol="τ",
        source=f"{_CODE} (0.4 for questions)", validator=_share,
    )  # fmt: skip
    unit: Literal["others", "absolute"] = hparam(
        "others",
        help="unit of the threshold: from 0, the largest overlap with a prompt that should stay, to 1, equal masks; or "
        "the share of equal columns as published",
        source=f"{_CODE} (absolute)",
    )
    others: tuple[str, ...] = hparam((), help="other subjects, whose answers to the same questions should stay")
    other_count: int = hparam(16, help=OTHERS_HELP, validator=_not_negative)
    background: int = hparam(
        100, help="unrelated prompts: their mean input is subtracted, and their answers should stay", source=_CODE,
        validator=_positive,
    )  # fmt: skip
    permutation: int = hparam(0, help="seed of the permutation of columns", symbol="π", validator=_not_negative)
    eos: bool | None = hparam(None, help=EOS_HELP, source=EOS_SOURCE)
    steps: int = hparam(30, help="largest number of passes over the requests", source=_CODE, validator=_positive)
    lr: float = hparam(1.0, help="step size of gradient descent", symbol="η", source=_CODE, validator=_positive)
    clip: float = hparam(1.0, help="largest norm of a gradient", source=_CODE, validator=_positive)
    weight_decay: float = hparam(1e-5, help="decay towards zero", source=_CODE, validator=_not_negative)
    stop_loss: float = hparam(
        2e-2, help="loss of each request below which a batch is skipped and training ends", source=_CODE,
        validator=_not_negative,
    )  # fmt: skip
    batch_size: int = hparam(1, help="requests a step, each in all its contexts", source=_CODE, validator=_positive)
    context_templates: tuple[str, ...] = hparam(
        (), help="contexts for training each prompt, in addition to none, each with one {} for the prompt"
    )
    context_count: int = hparam(
        10, help="contexts sampled from the unedited model if none are given", source=_CODE, validator=_not_negative
    )
    context_length: int = hparam(10, help="length of a sampled context in tokens", validator=validators.ge(2))
