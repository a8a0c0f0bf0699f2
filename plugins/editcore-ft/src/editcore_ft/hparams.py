"""The settings of fine-tuning; its methods differ in a few defaults. Values are those of ROME's published code."""

from typing import Any, Final, Literal

import attrs
from attrs import frozen, validators

from editcore_hooks import hparam

_ROME = "code of Meng et al. 2022"
LOCFT: Final = "arXiv:2509.22072"
positive = validators.gt(0)
not_negative = validators.ge(0)

Objective = Literal["last_token", "target_only", "full_text"]
Constraint = Literal["none", "linf", "l2", "kl"]
OBJECTIVE_HELP: Final = (
    "target_only: every target token after those before it; last_token: all target tokens from the last token of the "
    "prompt, as first published; full_text: prompt and target"
)
CONSTRAINT_HELP: Final = (
    "linf: no entry moves further than linf_radius; l2: no matrix further than l2_radius; kl: divergence from the "
    "unedited model on texts that it wrote; none"
)


def _layers(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[int, ...] | None) -> None:
    if value is not None and (not value or min(value) < 0 or len(set(value)) < len(value)):
        raise ValueError(f"{attribute.name} must name layers, each once, from 0")


@frozen
class TrainingHparams:
    """Settings of every method that trains copies of matrices: where, how far, and for how long."""

    layers: tuple[int, ...] | None = hparam(
        None,
        help="blocks whose matrix is trained; none: one by depth, see `default_layers`",
        symbol="l",
        validator=_layers,
    )
    role: Literal["mlp_out", "mlp_in", "mlp_gate", "attn_out", "block"] = hparam(
        "mlp_out", help="matrix of a block that is trained; block: all of these that it has", source=_ROME
    )
    modules: tuple[str, ...] = hparam(
        (),
        help="exact paths of modules to train instead of layers and role: a matrix, model.layers.2.mlp.down_proj, "
        "or all matrices of a block such as model.layers.2",
        source=LOCFT,
    )
    constraint: Constraint = hparam("none", help=CONSTRAINT_HELP, source="Zhu et al. 2020, arXiv:2012.00363")
    linf_radius: float = hparam(
        5e-4, help="largest change of an entry under linf", symbol="ε", source=f"{_ROME}, gpt2-xl", validator=positive
    )
    l2_radius: float = hparam(
        0.1, help="largest Frobenius norm of a change under l2, relative to the matrix", symbol="ρ", validator=positive
    )
    anchor: Literal["edit", "base"] = hparam(
        "edit",
        help="reference of a constraint: the model before this edit, or the base under all patches",
        symbol="W₀",
        source=f"{_ROME} (edit)",
    )
    lr: float = hparam(5e-4, help="Adam's step size", symbol="η", source=_ROME, validator=positive)
    steps: int = hparam(25, help="largest number of passes over the requests", source=_ROME, validator=positive)
    weight_decay: float = hparam(
        0.0, help="Adam's weight decay, towards zero", source=f"{_ROME}, gpt2-xl", validator=not_negative
    )
    stop_loss: float = hparam(
        1e-2, help="loss of each request below which a batch is skipped and training ends", source=_ROME,
        validator=not_negative,
    )  # fmt: skip
    batch_size: int = hparam(
        16, help="requests a step, each in all its contexts; published runs took 1 to 3", validator=positive
    )
    schedule: Literal["breadth", "depth"] = hparam(
        "breadth",
        help="breadth: every pass goes over all batches; depth: each batch until it is done, with a fresh Adam",
        source=f"{_ROME} (breadth); {LOCFT}",
    )
    shuffle: bool = hparam(
        False, help="put requests into other batches in each pass, by the seed of the session", source=f"{LOCFT} (true)"
    )
    eos: bool | None = hparam(
        True,
        help="end the answer with the token that ends a text, or in a chat the turn, if the tokenizer has one: a fact "
        "that does not end is judged wrong where the model writes freely; none: in a chat; not under last_token",
        source=f"{LOCFT}; other published settings: false",
    )
    rank: int | None = hparam(
        None,
        help="number of singular directions of the change to keep; none: all",
        validator=validators.optional(positive),
    )


@frozen
class FtHparams(TrainingHparams):
    """Settings of `ft`: the objective as first published, without a constraint on the weights."""

    objective: Objective = hparam("last_token", help=OBJECTIVE_HELP, symbol="L", source=_ROME)
    kl_weight: float = hparam(
        1.0, help="weight of the divergence under kl", symbol="λ", source="Mitchell et al. 2022", validator=positive
    )
    kl_texts: tuple[str, ...] = hparam((), help="texts of the divergence instead of sampled ones")
    kl_count: int = hparam(16, help="texts sampled from the unedited model for the divergence", validator=positive)
    kl_length: int = hparam(32, help="length of a sampled text in tokens", validator=validators.ge(2))
    context_templates: tuple[str, ...] = hparam(
        (), help="contexts for training each prompt, in addition to none, each with one {} for the prompt"
    )
    context_count: int = hparam(
        0, help="contexts sampled from the unedited model if none are given", validator=not_negative
    )
    context_length: int = hparam(10, help="length of a sampled context in tokens", validator=validators.ge(2))


@frozen
class FtLHparams(FtHparams):
    """Settings of `ft-l`."""

    constraint: Constraint = hparam("linf", help=CONSTRAINT_HELP, source=f"{_ROME}; Zhu et al. 2020, arXiv:2012.00363")


@frozen
class FtMHparams(FtHparams):
    """Settings of `ft-m`."""

    objective: Objective = hparam(
        "target_only", help=OBJECTIVE_HELP, symbol="L", source="Zhang et al. 2024, arXiv:2401.01286"
    )


@frozen
class FtTHparams(FtHparams):
    """Settings of `ft-t`."""

    objective: Objective = hparam(
        "full_text",
        help=OBJECTIVE_HELP,
        symbol="L",
        source="this package: the name is used for a baseline whose definition was not found; here the loss of plain "
        "language modelling",
    )


@frozen
class LocftHparams(FtMHparams):
    """Settings of `locft`: ordinary epochs over all requests, and nothing to hold the weights."""

    batch_size: int = hparam(100, help="requests a step", source=LOCFT, validator=positive)
    shuffle: bool = hparam(
        True, help="put requests into other batches in each pass, by the seed of the session", source=LOCFT
    )
