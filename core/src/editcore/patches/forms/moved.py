"""`moved`: what a tensor has over another one. Not a form of the file: it is never stored."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from editcore.patches.forms.form import Dtypes, Form, Parts, Shape
from editcore.patches.forms.norms import PIECE

if TYPE_CHECKING:
    import torch


class Moved(Form):
    """delta = `after` less `before`, both as they are stored: no tensor is made of it."""

    name = "moved"
    dtypes: ClassVar[Dtypes] = {}

    def shape_fault(self, shape: Shape, parts: Mapping[str, Shape]) -> str | None:
        return "is moved, which no file holds"

    def block(self, parts: Parts, start: int, stop: int, columns: int) -> "torch.Tensor":
        after, before = (parts[name].reshape(-1, columns)[start:stop] for name in ("after", "before"))
        return after.double() - before.double()

    def norm(self, parts: Parts) -> float:
        split = (parts[name].reshape(-1).split(PIECE) for name in ("after", "before"))  # type: ignore[no-untyped-call]
        pieces = zip(*split, strict=True)
        return math.sqrt(sum(float((after.double() - before.double()).square().sum()) for after, before in pieces))

    def largest(self, parts: Parts) -> float:
        return float((parts["after"].double() - parts["before"].double()).abs().max())


MOVED = Moved()
