"""The settings of the transforms and of the budget."""

import math

from attrs import frozen, validators

from editcore_hooks import hparam

_part = validators.and_(validators.gt(0.0), validators.le(1.0))
_limit = validators.optional(validators.gt(0.0))


@frozen
class RectHparams:
    keep: float = hparam(
        0.4,
        help="share of the entries that keep their change: those that change most for their size",
        symbol="k",
        source="Gu et al. 2024, arXiv:2401.04700, section 5",
        validator=_part,
    )


@frozen
class PruneHparams:
    base: float = hparam(
        math.e,
        help="base of the logarithm by which singular values above the limit shrink; smaller shrinks less",
        symbol="α",
        source="Ma et al. 2024, arXiv:2405.16821, section 4.3",
        validator=validators.gt(1.0),
    )


@frozen
class Budget:
    """Limits of a stack of edits; those that are not set do not hold."""

    norm: float | None = hparam(
        None, help="largest change of a tensor by all patches together, in norms of the tensor", validator=_limit
    )
    kl: float | None = hparam(
        None,
        help="largest divergence from the base, in nats a token, on texts that the base wrote; in memory only",
        validator=_limit,
    )
    texts: int = hparam(16, help="texts that the base writes to measure the divergence", validator=validators.gt(1))
    tokens: int = hparam(32, help="tokens of each text", validator=validators.gt(1))
