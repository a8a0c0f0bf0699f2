"""The settings of WISE. Distances are in units of the model's own, so that they fit any model; see `scale.py`."""

from typing import Literal

from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import EOS_HELP, EOS_SOURCE

_PAPER = "Wang et al. 2024, arXiv:2405.14768"
_positive = validators.gt(0)
_not_negative = validators.ge(0)
_share = validators.and_(_positive, validators.le(1))


@frozen
class WiseHparams:
    """The side matrix, the router, the loss, and how shards are divided and merged."""

    layer: int | None = hparam(
        None,
        help="block whose MLP down projection gets a side matrix; none: at 0.87 of the depth",
        symbol="l",
        source=_PAPER,
        validator=validators.optional(_not_negative),
    )
    unit: Literal["model", "absolute"] = hparam(
        "model",
        help="unit of alpha, beta, gamma, linf and lr: what the model itself does on text that it writes, or 1 as "
        "published",
    )
    alpha: float = hparam(
        0.05, help="distance that an irrelevant prompt should stay below", symbol="α", validator=_not_negative
    )
    beta: float = hparam(0.2, help="distance that the edit's prompt should exceed", symbol="β", validator=_positive)
    gamma: float = hparam(
        0.1, help="distance between the two that is wanted at least", symbol="γ", validator=_not_negative
    )
    act_ratio: float = hparam(
        0.7,
        help="share of the smallest distance of a shard's edits from which on a prompt is answered by the shard",
        source=f"{_PAPER} (0.88)",
        validator=_share,
    )
    spare_alike: int = hparam(
        48,
        help="common names that the prompt is asked about after training: the threshold is raised, to 0.88 of the "
        "smallest distance at most, until hardly any of them reaches it; 0: none",
        validator=_not_negative,
    )
    lr: float = hparam(
        0.3, help="step size of gradient descent", symbol="η", source=f"{_PAPER} (1.0)", validator=_positive
    )
    eos: bool | None = hparam(None, help=EOS_HELP, source=EOS_SOURCE)
    steps: int = hparam(70, help="steps of an edit at most", source=_PAPER, validator=_positive)
    stop_loss: float = hparam(0.02, help="loss at which an edit is done", source=_PAPER, validator=_not_negative)
    mask_ratio: float = hparam(
        0.2, help="share of the entries that a shard may change", symbol="ρ", source=_PAPER, validator=_share
    )
    linf: float = hparam(50.0, help="largest change of an entry", source=f"{_PAPER} (1.0)", validator=_positive)
    shard_edits: int = hparam(
        10,
        help="edits that share a shard, before the next one begins",
        source=f"{_PAPER} (500)",
        validator=_positive,
    )
    merge: int = hparam(
        0,
        help="full shards that are merged into one; 0 or 1: none",
        source=f"{_PAPER} (2)",
        validator=_not_negative,
    )
    density: float = hparam(
        0.53, help="share of a shard's changes that a merge keeps, the largest", source=_PAPER, validator=_share
    )
    retrieve: bool = hparam(
        True, help="route among all merged shards; without it all full shards are merged into one", source=_PAPER
    )
    replay: bool = hparam(
        False,
        help="keep the distances of earlier edits apart too: those of other shards small, those of this one large",
        source=_PAPER,
    )
    irrelevant: tuple[str, ...] = hparam(
        (), help="irrelevant prompts, such as a case's locality; none: text and subjects that the model makes up"
    )
    irrelevant_count: int = hparam(
        16, help="texts that the model writes as irrelevant prompts if none are given", validator=_not_negative
    )
    other_count: int = hparam(
        16,
        help="other subjects of the same question, known names and made up ones, if no irrelevant prompts are given",
        validator=_not_negative,
    )
    context_templates: tuple[str, ...] = hparam(
        (), help="contexts of the prompt in training, in addition to none, each with one {} for the prompt"
    )
    context_count: int = hparam(
        10,
        help="contexts sampled from the unedited model if none are given",
        source=_PAPER,
        validator=_not_negative,
    )
    context_length: int = hparam(
        10, help="length of a sampled context in tokens", source=_PAPER, validator=validators.ge(2)
    )
