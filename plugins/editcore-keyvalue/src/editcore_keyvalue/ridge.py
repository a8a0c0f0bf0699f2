"""The multiple of the identity to add to C, from its spectrum and its number of tokens.

C over n tokens has an error of its own in each of its f directions: the smallest eigenvalues come out too small, and an
update grows along them without bound. The best estimate that shrinks C towards a multiple of the identity,
(1 - ρ) C + ρ tr(C)/f I, has in closed form (oracle approximating shrinkage, Chen et al. 2010, equation 23)

    ρ = ((1 - 2/f) tr(C²) + tr(C)²) / ((n + 1 - 2/f) (tr(C²) - tr(C)²/f))

so that a flat spectrum or few tokens ask for more. Only ε = ρ / (1 - ρ) counts: the scale of C is taken up by weights.
"""

from typing import Final

from torch import Tensor

from editcore_keyvalue.moments import Moment

LARGEST: Final = 10.0
"""ε above which C is the identity in all but name."""


def ridge_of(moment: Moment, setting: float | None) -> float:
    """ε relative to the mean of the diagonal of C: as set or, for None, from the spectrum."""
    return by_spectrum(moment.mean, moment.count) if setting is None else setting


def by_spectrum(second_moment: Tensor, tokens: int) -> float:
    """ε for C (f, f) over so many tokens, rounded to two digits: machines differ in the last bits of C."""
    c = second_moment.double()
    f = len(c)
    trace, square = float(c.diagonal().sum()), float((c * c).sum())  # tr(C), tr(C²)
    dispersion = square - trace**2 / f
    if dispersion <= 1e-12 * square:  # C is a multiple of the identity, and stays one
        return LARGEST
    rho = ((1 - 2 / f) * square + trace**2) / ((tokens + 1 - 2 / f) * dispersion)
    return LARGEST if rho >= LARGEST / (1 + LARGEST) else float(f"{rho / (1 - rho):.1e}")
