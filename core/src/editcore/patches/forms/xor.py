"""`xor`: bits that are exclusive-or'd with those of the base."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from editcore.patches.forms.bits import Bits
from editcore.patches.forms.form import Dtypes, Parts, Shape
from editcore.storage.safetensors_reader import DTYPE_BITS

if TYPE_CHECKING:
    import torch


class Xor(Bits):
    """`bits` of the shape of the target, as wide as the base dtype."""

    name = "xor"
    dtypes: ClassVar[Dtypes] = {"bits": ("U16", "U32", "U64")}
    needs_base = True

    def shape_fault(self, shape: Shape, parts: Mapping[str, Shape]) -> str | None:
        if parts["bits"] != shape:
            return f"has bits {parts['bits']} for a tensor {shape}"
        return None

    def base_fault(self, dtypes: Mapping[str, str], base_dtype: str) -> str | None:
        if DTYPE_BITS[dtypes["bits"]] != DTYPE_BITS[base_dtype]:
            return f"has bits of another width than {base_dtype}"
        return None

    def becomes(self, parts: Parts, base: "torch.Tensor") -> "torch.Tensor":
        return (_integers(base) ^ _integers(parts["bits"])).view(base.dtype)

    def between(self, before: "torch.Tensor", after: "torch.Tensor") -> Parts:
        import torch

        unsigned = {2: torch.uint16, 4: torch.uint32, 8: torch.uint64}[before.element_size()]
        return {"bits": (_integers(before) ^ _integers(after)).view(unsigned)}

    def changed(self, parts: Parts) -> "torch.Tensor":
        return parts["bits"]


def _integers(tensor: "torch.Tensor") -> "torch.Tensor":
    """The same bits in the signed integers of that width, which is what torch computes with."""
    import torch

    return tensor.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()])


XOR = Xor()
