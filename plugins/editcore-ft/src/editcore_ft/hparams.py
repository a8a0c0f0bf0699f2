"""The settings that FT, FT-L and FT-M share; they differ in two defaults. Values are those of ROME's published code."""

from typing import Any, Literal

import attrs
from attrs import frozen, validators

from editcore_hooks import hparam

_ROME = "code of Meng et al. 2022"
_positive = validators.gt(0)
_not_negative = validators.ge(0)

_OBJECTIVE_HELP = (
    "target_only: every target token after those before it; last_token: all target tokens from the last token of the "
    "prompt, as first published; full_text: prompt and target"
)
_CONSTRAINT_HELP = (
    "linf: no entry moves further than linf_radius; l2: no matrix further than l2_radius; kl: divergence from the "
    "unedited model on texts that it wrote; none"
)


def _layers(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[int, ...] | None) -> None:
    if value is not None and (not value or min(value) < 0 or len(set(value)) < len(value)):
        raise ValueError(f"{attribute.name} must name layers, each once, from 0")


@frozen
class FtHparams:
    """Settings of `ft`: the objective as first published, without a constraint on the weights."""

    layers: tuple[int, ...] | None = hparam(
        None,
        help="blocks whose matrix is trained; none: one by depth, see `default_layers`",
        symbol="l",
        validator=_layers,
    )
    role: Literal["mlp_out", "mlp_in", "mlp_gate", "attn_out"] = hparam(
        "mlp_out", help="matrix of a block that is trained", source=_ROME
    )
    objective: Literal["last_token", "target_only", "full_text"] = hparam(
        "last_token", help=_OBJECTIVE_HELP, symbol="L", source=_ROME
    )
    constraint: Literal["none", "linf", "l2", "kl"] = hparam(
        "none", help=_CONSTRAINT_HELP, source="Zhu et al. 2020, arXiv:2012.00363"
    )
    linf_radius: float = hparam(
        5e-4, help="largest change of an entry under linf", symbol="ε", source=f"{_ROME}, gpt2-xl", validator=_positive
    )
    l2_radius: float = hparam(
        0.1, help="largest Frobenius norm of a change under l2, relative to the matrix", symbol="ρ", validator=_positive
    )
    kl_weight: float = hparam(
        1.0, help="weight of the divergence under kl", symbol="λ", source="Mitchell et al. 2022", validator=_positive
    )
    kl_texts: tuple[str, ...] = hparam((), help="texts of the divergence instead of sampled ones")
    kl_count: int = hparam(16, help="texts sampled from the unedited model for the divergence", validator=_positive)
    kl_length: int = hparam(32, help="length of a sampled text in tokens", validator=validators.ge(2))
    anchor: Literal["edit", "base"] = hparam(
        "edit",
        help="reference of a constraint: the model before this edit, or the base under all patches",
        symbol="W₀",
        source=f"{_ROME} (edit)",
    )
    lr: float = hparam(5e-4, help="Adam's step size", symbol="η", source=_ROME, validator=_positive)
    steps: int = hparam(25, help="largest number of passes over the requests", source=_ROME, validator=_positive)
    weight_decay: float = hparam(
        0.0, help="Adam's weight decay, towards zero", source=f"{_ROME}, gpt2-xl", validator=_not_negative
    )
    stop_loss: float = hparam(
        1e-2, help="loss of each request below which a batch is skipped and training ends", source=_ROME,
        validator=_not_negative,
    )  # fmt: skip
    batch_size: int = hparam(
        16, help="requests a step, each in all its contexts; published runs took 1 to 3", validator=_positive
    )
    schedule: Literal["breadth", "depth"] = hparam(
        "breadth",
        help="breadth: every pass goes over all batches; depth: each batch until it is done, with a fresh Adam",
        source=f"{_ROME} (breadth); arXiv:2509.22072",
    )
    context_templates: tuple[str, ...] = hparam(
        (), help="contexts for training each prompt, in addition to none, each with one {} for the prompt"
    )
    context_count: int = hparam(
        0, help="contexts sampled from the unedited model if none are given", validator=_not_negative
    )
    context_length: int = hparam(10, help="length of a sampled context in tokens", validator=validators.ge(2))
    rank: int | None = hparam(
        None,
        help="number of singular directions of the change to keep; none: all",
        validator=validators.optional(_positive),
    )


@frozen
class FtLHparams(FtHparams):
    """Settings of `ft-l`."""

    constraint: Literal["none", "linf", "l2", "kl"] = hparam(
        "linf", help=_CONSTRAINT_HELP, source=f"{_ROME}; Zhu et al. 2020, arXiv:2012.00363"
    )


@frozen
class FtMHparams(FtHparams):
    """Settings of `ft-m`."""

    objective: Literal["last_token", "target_only", "full_text"] = hparam(
        "target_only", help=_OBJECTIVE_HELP, symbol="L", source="Zhang et al. 2024, arXiv:2401.01286"
    )
