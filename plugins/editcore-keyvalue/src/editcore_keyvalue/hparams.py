"""The hyper-parameters that the family shares; each method gives its own defaults. Light: no torch."""

from typing import Literal

from attrs import frozen, validators

from editcore_hooks import hparam

positive = validators.gt(0)
not_negative = validators.ge(0)


@frozen
class KeyValueHparams:
    """Contexts, value optimisation and second moment; the defaults are those of ROME's published code."""

    v_steps: int = hparam(20, help="forwards of the value optimisation", source="code", validator=positive)
    v_lr: float = hparam(0.5, help="Adam's step size for the value", source="code", validator=positive)
    v_weight_decay: float = hparam(
        0.5, help="weight of the change's norm over the value's squared norm", source="code", validator=not_negative
    )
    clamp: float = hparam(
        4.0, help="bound of the change's norm as a multiple of the value's", source="code", validator=positive
    )
    kl: float = hparam(
        0.0625,
        help="weight of the divergence on '{subject} is a'",
        symbol="λ",
        source="Meng et al. 2022, equation 4; code",
        validator=not_negative,
    )
    v_stop: Literal["loss", "argmax", "never"] = hparam(
        "loss",
        help="when to stop before v_steps: loss, below 0.05; argmax, once every target token is the likeliest in every "
        "context (sooner, with a smaller margin); never",
        source="code",
    )
    context_lengths: tuple[int, ...] = hparam(
        (5, 10), help="lengths in tokens of the sampled contexts", source="Meng et al. 2022, appendix E.5; code"
    )
    context_count: int = hparam(
        10,
        help="contexts sampled of each length",
        source="Meng et al. 2022, appendix E.5; code",
        validator=not_negative,
    )
    context_templates: tuple[str, ...] = hparam(
        (), help="contexts to use instead of sampled ones, each with one {} for the prompt"
    )
    mom2_corpus: str = hparam(
        "self",
        help="corpus of the second moment: self, a file or a dataset id",
        symbol="C",
        source="Meng et al. 2022, equation 2",
    )
    mom2_tokens: int = hparam(
        0,
        help="least tokens of the second moment; 0: ten a direction",
        source="arXiv:2506.04226",
        validator=not_negative,
    )
    mom2_seconds: float = hparam(180.0, help="longest time to collect it when there is none yet", validator=positive)
    mom2_ridge: float = hparam(
        1e-6, help="ridge on the second moment, relative to its mean diagonal", symbol="ε", validator=not_negative
    )
