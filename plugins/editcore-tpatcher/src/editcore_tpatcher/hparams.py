"""The settings of T-Patcher; defaults are those of the published code unless a comment says otherwise."""

from attrs import frozen, validators

from editcore_hooks import hparam
from editcore_keyvalue.hparams import EOS_HELP, EOS_SOURCE, OTHERS_HELP

_CODE = "code of Huang et al. 2023"
_PAPER = "Huang et al. 2023"
_positive = validators.gt(0)
_not_negative = validators.ge(0)


@frozen
class TPatcherHparams:
    """Neurons, their loss, the memory that they must not fire on, and the end of training."""

    layer: int | None = hparam(
        None,
        help="block whose MLP gets the neurons; none: the last, as published",
        symbol="l",
        source="this package, see its README",
        validator=validators.optional(_not_negative),
    )
    most_neurons: int = hparam(
        5, help="neurons an edit at most: one for each mistaken token of the target", source=_CODE, validator=_positive
    )
    amplifier: float = hparam(10.0, help="factor of the values, trained too", symbol="a", source=_CODE)
    # Published: 1. Noise of that size stays in the value, because training moves each entry by little more than it.
    value_init: float = hparam(
        0.0, help="standard deviation of a value before the factor, at the start", validator=_not_negative
    )
    smoothing: float = hparam(
        0.1,
        help="label smoothing of the edit loss",
        source=_CODE,
        validator=validators.and_(_not_negative, validators.lt(1)),
    )
    fire_weight: float = hparam(
        1.0, help="weight of the activation loss", symbol="l_a", source=_PAPER, validator=_not_negative
    )
    memory_weight: float = hparam(
        10.0, help="weight of the memory losses", symbol="c_m", source=_CODE, validator=_not_negative
    )
    fire_margin: float = hparam(
        0.0, help="pre-activation that a neuron should have at its mistake", symbol="γ_a", source=_CODE
    )
    apart_margin: float = hparam(
        3.0, help="pre-activation that a memory should stay below the mistake's", symbol="γ₁", source=_CODE
    )
    silent_margin: float | None = hparam(
        None,
        help="pre-activation that a memory should stay below; none: -3, or lower where the activation leaks there",
        symbol="γ₂",
        source=_CODE,
        validator=validators.optional(validators.le(0)),
    )
    worst_fire: int = hparam(5, help="largest terms of the activation loss", source=_CODE, validator=_positive)
    worst_memory: int = hparam(1000, help="largest terms of a memory loss", source=_CODE, validator=_positive)
    lr: float = hparam(1e-2, help="Adam's step size", symbol="η", source=_CODE, validator=_positive)
    weight_decay: float = hparam(0.01, help="Adam's weight decay", source=_CODE, validator=_not_negative)
    clip: float = hparam(5.0, help="largest norm of a gradient", source=_CODE, validator=_positive)
    eos: bool | None = hparam(None, help=EOS_HELP, source=EOS_SOURCE)
    steps: int = hparam(2000, help="steps at most", source=_CODE, validator=_positive)
    first_check: int = hparam(100, help="step from which on training may end", source=_CODE, validator=_positive)
    check_every: int = hparam(
        25, help="steps between checks, at which the step size may be halved", source=_CODE, validator=_positive
    )
    memory_corpus: str = hparam("auto", help="text of the memory: auto, bundled, self, or a file")
    memory_tokens: int = hparam(
        4096,
        help="states of the memory; the published memory has those of 40,000 examples",
        validator=validators.ge(16),
    )
    others: tuple[str, ...] = hparam((), help="other subjects for the same question, whose states join the memory")
    other_count: int = hparam(
        64,
        help=OTHERS_HELP,
        validator=_not_negative,
    )
    context_templates: tuple[str, ...] = hparam(
        (), help="contexts of the prompt in training, in addition to none, each with one {} for the prompt"
    )
    context_count: int = hparam(
        0, help="contexts sampled from the unedited model if none are given", validator=_not_negative
    )
    context_length: int = hparam(10, help="length of a sampled context in tokens", validator=validators.ge(2))
