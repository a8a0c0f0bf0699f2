"""Geometry of two deltas of one tensor: inner product, cosine, directions, angles. Factors stay factors.

A low-rank delta L R, (d, r) times (r, k), is never multiplied out: what is asked of it follows from QR and Gram
matrices of its factors, in O((d + k) r²) instead of O(d k).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import torch
from attrs import field, frozen

from editcore.patches.forms.deltas import Delta, norm
from editcore.patches.forms.dense import DENSE
from editcore.patches.forms.norms import PIECE
from editcore.patches.forms.support import Support

NOISE: Final = 1e-6
"""Singular values below this share of the largest are rounding: factors are float32."""
ENERGY: Final = 0.99
"""An effective rank is the number of directions that hold this share of the squared norm."""
_SKETCH: Final = 64
_SIDE: Final = 1024
_ELEMENTS: Final = 2**22
"""A matrix with a longer smaller side, or more elements, is sketched: taken apart whole it costs minutes, or many times
its memory."""


def inner(one: Delta, two: Delta, shape: Sequence[int]) -> float:
    """⟨δ₁, δ₂⟩ = Σ δ₁ ∘ δ₂ of two deltas, scales included, of a tensor of `shape`."""
    scale = one.scale * two.scale
    if not one.form.factored:
        one, two = two, one
    if one.form.factored and two.form.factored:
        (left_one, right_one), (left_two, right_two) = one.factors, two.factors
        left = left_one.double().T @ left_two.double()  # (r₁, r₂)
        right = right_one.double() @ right_two.double().T  # (r₁, r₂)
        return scale * float((left * right).sum())  # ⟨L₁R₁, L₂R₂⟩ = Σ (L₁ᵀL₂) ∘ (R₁R₂ᵀ)
    if one.form.placed and two.form.placed:
        supports = one.support, two.support
        if all(support.columns is not None for support in supports):
            return scale * _inner_of_places(*supports, shape[1])
    total, (rows, columns) = 0.0, _matrix(shape)
    step = max(1, PIECE // max(1, columns))
    for start in _touched(two, rows, step):
        stop = min(start + step, rows)
        block = two.block(start, stop, columns)  # (b, k)
        if one.form.factored:
            left, right = one.factors
            projected = block @ right.double().T  # (b, r)
            total += float((left[start:stop].double() * projected).sum())
        else:
            total += float((one.block(start, stop, columns) * block).sum())
    return scale * total


def _inner_of_places(one: Support, two: Support, width: int) -> float:
    """The sum over single places that both name; each names them in ascending order."""
    places = [support.places(width) for support in (one, two)]
    if not all(len(some) for some in places):
        return 0.0
    at = torch.searchsorted(*places).clamp(max=len(places[0]) - 1)
    same = places[0][at] == places[1]
    return float((one.values[at][same].double() * two.values[same].double()).sum())


def compacted(deltas: Sequence[Delta | None], shape: Sequence[int]) -> tuple[tuple[Delta | None, ...], tuple[int, ...]]:
    """The same deltas without the rows and columns that none of them touches, which change no norm and no angle: a
    patch of a few bytes can claim a tensor that no memory holds. As they are where one of them touches everything."""
    present = [delta for delta in deltas if delta is not None]
    if not present or not all(delta.form.placed for delta in present):
        return tuple(deltas), tuple(shape)
    supports = [delta.support for delta in present]
    rows = torch.cat([support.rows for support in supports]).unique()  # type: ignore[no-untyped-call]
    across = [support.columns for support in supports if support.columns is not None]
    if len(across) < len(supports):  # whole rows touch every column, and bring them along
        columns, width = None, shape[1]
    else:
        columns = torch.cat(across).unique()  # type: ignore[no-untyped-call]
        width = len(columns)
    found = tuple(None if delta is None else _on(delta, rows, columns) for delta in deltas)
    return found, (len(rows), width)


def _on(delta: Delta, rows: torch.Tensor, columns: torch.Tensor | None) -> Delta:
    return Delta(delta.form, delta.form.renumbered(delta.parts, rows, columns), delta.scale)


def _touched(delta: Delta, rows: int, step: int) -> Sequence[int]:
    """Starts of the blocks in which a delta is not zero."""
    if not delta.form.placed:
        return range(0, rows, step)
    blocks: list[int] = torch.unique(delta.support.rows // step).tolist()  # type: ignore[no-untyped-call]
    return [block * step for block in blocks]


def cosine(one: Delta, two: Delta, shape: Sequence[int]) -> float:
    """⟨δ₁, δ₂⟩ / (‖δ₁‖ ‖δ₂‖), in [-1, 1]; 0 when one of them is zero."""
    size = norm(one) * norm(two)
    return max(-1.0, min(1.0, inner(one, two, shape) / size)) if size else 0.0


@frozen
class Spectrum:
    """Singular directions of a delta above the noise: `left` (d, n), `values` (n), `right` (n, k), largest first.

    `total` is the squared norm of the whole delta; `partial` says that more directions exist than were computed.
    """

    left: torch.Tensor = field(eq=False)
    values: torch.Tensor = field(eq=False)
    right: torch.Tensor = field(eq=False)
    total: float
    partial: bool = False

    @property
    def norm(self) -> float:
        return math.sqrt(self.total)

    @property
    def effective_rank(self) -> int | None:
        """The number of directions that hold 99 % of the squared norm; None if that is more than were computed."""
        held = self.values.square().cumsum(0)
        enough = (held >= ENERGY * self.total * (1 - 1e-9)).nonzero()
        if self.total == 0:
            return 0
        return int(enough[0]) + 1 if len(enough) else None


def spectrum(delta: Delta, shape: Sequence[int], name: str = "a tensor") -> Spectrum:
    """The directions of a delta: from factors, from the rows that it touches, or of the matrix itself.

    A dense matrix whose smaller side is over 1024, or with more than 2²² elements, is sketched: its 64 largest
    directions, with a fixed seed. Raises `RefusedFileError` where `norm` does.
    """
    norm(delta, name)
    if delta.form.factored:
        factors = delta.factors
        q_left, r_left = torch.linalg.qr(factors[0].double())  # (d, r), (r, r)
        q_right, r_right = torch.linalg.qr(factors[1].double().T)  # (k, r), (r, r)
        left, values, right = torch.linalg.svd(delta.scale * r_left @ r_right.T, full_matrices=False)
        return _above_noise(q_left @ left, values, right @ q_right.T)
    rows, columns = _matrix(shape)
    if delta.form.full:
        if min(rows, columns) > _SIDE or rows * columns > _ELEMENTS:
            return _sketch(delta, rows, columns)
        return _above_noise(*torch.linalg.svd(delta.scale * delta.block(0, rows, columns), full_matrices=False))
    support = delta.support
    if support.columns is None:
        dense = Delta(DENSE, {"delta": support.values}, delta.scale)
        found = spectrum(dense, support.values.shape, name)
        left = _spread(found.left, support.rows, rows)
        return Spectrum(left, found.values, found.right, found.total, found.partial)
    places = [torch.unique(each) for each in (support.rows, support.columns)]  # type: ignore[no-untyped-call]
    (small,), (height, width) = compacted([delta], shape)
    assert small is not None
    if min(height, width) > _SIDE or height * width > _ELEMENTS:
        found = _sketch(small, height, width)
    else:
        block = small.scale * small.block(0, height, width)
        found = _above_noise(*torch.linalg.svd(block, full_matrices=False))
    left, right = _spread(found.left, places[0], rows), _spread(found.right.T, places[1], columns).T
    return Spectrum(left, found.values, right, found.total, found.partial)


def _spread(some: torch.Tensor, at: torch.Tensor, length: int) -> torch.Tensor:
    """Rows (n, m) put at their places among zeros (length, m)."""
    if len(at) == length:
        return some
    whole = torch.zeros(length, some.shape[1], dtype=torch.float64)
    whole[at] = some.double()
    return whole


def _sketch(delta: Delta, rows: int, columns: int) -> Spectrum:
    """The largest directions of a matrix M (d, k), of which a block of rows, or its places, are held at a time.

    A range finder with two power steps: Y = (M Mᵀ)² M Ω, whose columns span them.
    """
    step = max(1, PIECE // columns)

    def blocks() -> Iterator[tuple[slice, torch.Tensor]]:
        for start in range(0, rows, step):
            some = slice(start, min(start + step, rows))
            yield some, (delta.scale * delta.block(some.start, some.stop, columns)).float()  # (b, k)

    places = delta.support if delta.form.placed else None
    if places is not None:
        values = (delta.scale * places.values.double()).float()

    def times(right: torch.Tensor) -> torch.Tensor:
        if places is not None and places.columns is not None:
            return _of_places(places.rows, places.columns, values, right, rows)
        product = torch.empty(rows, right.shape[1])
        for some, block in blocks():
            product[some] = block @ right  # (b, k) (k, n)
        return product  # (d, n)

    def turned_times(left: torch.Tensor) -> torch.Tensor:
        if places is not None and places.columns is not None:
            return _of_places(places.columns, places.rows, values, left, columns)
        product = torch.zeros(columns, left.shape[1])
        for some, block in blocks():
            product.addmm_(block.T, left[some])  # (k, b) (b, n)
        return product  # (k, n)

    draw = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(times(torch.randn(columns, _SKETCH, generator=draw)))[0]
    for _ in range(2):
        basis = torch.linalg.qr(times(torch.linalg.qr(turned_times(basis))[0]))[0]  # (d, 64)
    left, sizes, right = torch.linalg.svd(turned_times(basis).T.double(), full_matrices=False)
    found = _above_noise(basis.double() @ left, sizes, right)
    return Spectrum(found.left, found.values, found.right, norm(delta) ** 2, partial=True)


def _of_places(
    at: torch.Tensor, other: torch.Tensor, values: torch.Tensor, factor: torch.Tensor, length: int
) -> torch.Tensor:
    """A sparse matrix, or it turned, times a factor (k, n), a stretch of its places at a time."""
    product = torch.zeros(length, factor.shape[1])
    for some in torch.arange(len(at)).split(max(1, PIECE // factor.shape[1])):  # type: ignore[no-untyped-call]
        product.index_add_(0, at[some], values[some, None] * factor[other[some]])
    return product  # (length, n)


def directions(delta: Delta, found: Spectrum) -> tuple[torch.Tensor, torch.Tensor]:
    """Orthonormal columns (d, n) and rows turned (k, n) to take angles of.

    All that factors hold. Of a dense delta those that carry it: its rounding reaches into every direction there is.
    """
    count = found.effective_rank if delta.form.full else None
    return found.left[:, :count], found.right[:count].T


def principal_angles(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    """Angles in degrees, smallest first, between the spans of two matrices of orthonormal columns (d, m) and (d, n).

    Björck and Golub 1973: the cosines are the singular values of QᵀP. Small angles are taken from the sines, since
    near 1 a cosine keeps only half of the digits. Empty when one span is.
    """
    if not one.shape[1] or not two.shape[1]:
        return torch.zeros(0, dtype=torch.float64)
    small, large = sorted((one, two), key=lambda basis: basis.shape[1])
    cosines = torch.linalg.svdvals(large.T @ small).clamp(0, 1)  # (m,), largest first
    sines = torch.linalg.svdvals(small - large @ (large.T @ small)).clamp(0, 1).flip(0)  # smallest first
    return torch.where(cosines > math.sqrt(0.5), sines.asin(), cosines.acos()).rad2deg()


def overlap(one: torch.Tensor, two: torch.Tensor) -> float:
    """‖QᵀP‖² / min(m, n), in [0, 1]: 1 when one span lies in the other, 0 when they are orthogonal."""
    least = min(one.shape[1], two.shape[1])
    return min(1.0, float((one.T @ two).square().sum()) / least) if least else 0.0


def _above_noise(left: torch.Tensor, values: torch.Tensor, right: torch.Tensor) -> Spectrum:
    kept = int((values > NOISE * values[:1]).sum()) if len(values) else 0
    return Spectrum(left[:, :kept], values[:kept], right[:kept], float(values.square().sum()))


def _matrix(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns as the arithmetic counts them: a vector is one column, a stack of matrices longer rows."""
    columns = shape[-1] if len(shape) > 1 else 1
    return math.prod(shape) // max(1, columns), columns
