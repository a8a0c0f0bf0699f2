"""The settings of ICE. Where the paper and its released code differ, the source says whose a value is."""

from typing import Final, Literal

from attrs import frozen, validators

from editcore_ft.hparams import Constraint, TrainingHparams, not_negative, positive
from editcore_hooks import hparam

_PAPER: Final = "Qi et al. 2025, arXiv:2406.11194"
_CODE: Final = f"code of {_PAPER}"
TEMPLATES: Final = (
    "{}",
    "Note: {}",
    "Keep this in mind. {}",
    "From the latest record: {}",
    "A reader confirms it. {}",
)


@frozen
class IceHparams(TrainingHparams):
    """L = L_FT + λ L_ICE: the target after the question, and the answer as it is after a context."""

    ice_weight: float = hparam(
        1.0,
        help="weight of L_ICE beside the loss of the target; 0 is ft-m on these layers",
        symbol="λ",
        source=_PAPER,
        validator=not_negative,
    )
    form: Literal["divergence", "samples"] = hparam(
        "divergence",
        help="divergence: KL(p with the context ‖ p without) at every sampled token, with the whole distribution; "
        "samples: −log p of the sampled tokens without the context",
        symbol="L_ICE",
        source=_PAPER,
    )
    target: Literal["dynamic", "static"] = hparam(
        "dynamic",
        help="whose distribution with the context is learnt: that of the present weights at every step, or that of the "
        "weights before the edit",
        source=_PAPER,
    )
    update_interval: int = hparam(1, help="steps between two drawings of samples", source=_CODE, validator=positive)
    temperature: float = hparam(
        100.0,
        help="temperature of the samples; the distributions that are learnt have none",
        symbol="τ",
        source=_CODE,
        validator=positive,
    )
    top_k: int | None = hparam(
        50,
        help="number of likeliest tokens to draw from; none: all. At the published temperature they are almost alike",
        source=f"{_CODE}, by the default of its library",
        validator=validators.optional(positive),
    )
    sample_length: int = hparam(3, help="tokens of a sample", source=_CODE, validator=positive)
    sample_count: int = hparam(1, help="samples for each context", source=_CODE, validator=positive)
    sample_after: Literal["target", "prompt"] = hparam(
        "target",
        help="what a sample goes on from: the target, so that it does not have to state the fact itself, or the prompt",
        source=f"{_CODE} (target); {_PAPER} (prompt, in the definition)",
    )
    in_context: bool = hparam(
        True, help="whether the samples and their distributions have read a context; false: ablation", source=_PAPER
    )
    context_source: Literal["auto", "case", "templates", "model"] = hparam(
        "auto",
        help="origin of the contexts. case: the request's own; templates; model: the model itself writes on from the "
        "fact, or in a chat says it in other words; auto: the request's own where it has some, otherwise templates",
        source=f"{_PAPER} (texts of another model, given on the case)",
    )
    context_templates: tuple[str, ...] = hparam(
        TEMPLATES, help="contexts, each with one {} for the sentence that states the fact", source="this package"
    )
    context_count: int = hparam(5, help="contexts at most", source=_PAPER, validator=positive)
    context_length: int = hparam(24, help="tokens of a context that the model writes", validator=positive)
    context_nll: bool = hparam(
        False,
        help="add the loss of the target after each context, in the mean and with its gradient",
        source=f"{_CODE} (true); absent from the paper",
    )
    grad_clip: float | None = hparam(
        None,
        help="largest entry of a gradient; none: any",
        source=f"{_PAPER}, algorithm 1 (5e-4); {_CODE} (none)",
        validator=validators.optional(positive),
    )
    constraint: Constraint = hparam(
        "linf",
        help="linf: no entry moves further than linf_radius; l2: no matrix further than l2_radius; none",
        source=_CODE,
        validator=validators.in_(("linf", "l2", "none")),
    )
    lr: float = hparam(7e-4, help="Adam's step size", symbol="η", source=_CODE, validator=positive)
    stop_loss: float = hparam(
        0.0,
        help="loss of each request below which a batch is skipped and training ends; 0: all steps are taken",
        source=_CODE,
        validator=not_negative,
    )
    batch_size: int = hparam(3, help="requests a step, each in all its contexts", source=_CODE, validator=positive)
