"""Sums over large tensors, of which no more than a piece is held in float64."""

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

PIECE: Final = 2**17
"""Elements of which up to four float64 copies are held at a time: 4 MiB."""


def frobenius(tensor: "torch.Tensor") -> float:
    """The norm in float64, of which no more than a piece is held."""
    pieces = tensor.reshape(-1).split(PIECE)  # type: ignore[no-untyped-call]
    return math.sqrt(sum(float(piece.double().square().sum()) for piece in pieces))


def largest(tensor: "torch.Tensor") -> float:
    """The largest absolute value; 0 of an empty tensor."""
    return float(tensor.abs().max()) if tensor.numel() else 0.0
