"""The shared answers of forms that set bits: they have no delta."""

from abc import abstractmethod
from typing import TYPE_CHECKING, NoReturn

from editcore.patches.forms.form import Form, Parts
from editcore_hooks import ConflictError

if TYPE_CHECKING:
    import torch


class Bits(Form):
    """A form that says what the bits of its tensor become."""

    exclusive = True

    @abstractmethod
    def between(self, before: "torch.Tensor", after: "torch.Tensor") -> Parts:
        """The parts that make `after` of `before`, of one dtype and shape."""

    @abstractmethod
    def becomes(self, parts: Parts, base: "torch.Tensor") -> "torch.Tensor": ...

    def block(self, parts: Parts, start: int, stop: int, columns: int) -> "torch.Tensor":
        self._refuse()

    def norm(self, parts: Parts) -> float:
        self._refuse()

    def largest(self, parts: Parts) -> float:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ConflictError(f"{self.name} is not a delta without its base", hint="apply it to a copy of the base")
