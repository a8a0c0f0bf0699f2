"""The running mean and variance of features over all edits so far, kept as what each edit adds to them.

The feature of a token is x = [h; g], input and output gradient of a module; modules of one shape share their counts.
Every patch keeps those of its own tokens, and any set of patches can be put together in any order.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import torch
from attrs import frozen
from torch import Tensor

EPSILON: Final = 1e-8


@frozen(eq=False)
class Moments:
    """Over `count` rows (): the mean (w,) and the sum of squared distances from it (w,), float64."""

    count: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> "Moments":
        """Moments of rows (T, w)."""
        rows = rows.double()
        mean = rows.mean(0)
        return cls(torch.tensor(float(len(rows)), dtype=torch.float64), mean, (rows - mean).square().sum(0))

    def plus(self, other: "Moments") -> "Moments":
        """Moments of the rows of both, by Chan's formula."""
        count = self.count + other.count
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * other.count / count,
            self.squares + other.squares + apart.square() * self.count * other.count / count,
        )

    def normalised(self, rows: Tensor) -> Tensor:
        """(x − μ) / σ of rows (T, w). The variance is that of the rows seen, which one row alone has too."""
        return (rows.double() - self.mean) / ((self.squares / self.count).sqrt() + EPSILON)


def together(parts: Iterable[Moments]) -> Moments:
    first, *others = parts
    for other in others:
        first = first.plus(other)
    return first


def increment(moments: Mapping[str, Moments]) -> dict[str, Tensor]:
    """Moments by shape as the tensors that a patch keeps, float32: a tenth of a millionth is no matter of a scale."""
    return {
        f"{part}.{shape}": getattr(each, part).float().reshape(-1)
        for shape, each in moments.items()
        for part in ("count", "mean", "squares")
    }


def all_moments(increments: Sequence[Mapping[str, Any]]) -> dict[str, Moments]:
    """The moments of all `increments`, by shape."""
    found: dict[str, list[Moments]] = {}
    for each in increments:
        for name in each:
            if name.startswith("count."):
                shape = name.removeprefix("count.")
                count, mean, squares = (each[f"{part}.{shape}"].double() for part in ("count", "mean", "squares"))
                found.setdefault(shape, []).append(Moments(count[0], mean, squares))
    return {shape: together(parts) for shape, parts in found.items()}
