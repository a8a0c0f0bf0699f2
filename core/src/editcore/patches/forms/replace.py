"""`replace`: the bytes of the result, whatever was there."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from editcore.patches.forms.bits import Bits
from editcore.patches.forms.form import FLOATS, Dtypes, Parts, Shape

if TYPE_CHECKING:
    import torch


class Replace(Bits):
    """`stored` of the dtype and the shape of the target."""

    name = "replace"
    dtypes: ClassVar[Dtypes] = {"stored": FLOATS}

    def shape_fault(self, shape: Shape, parts: Mapping[str, Shape]) -> str | None:
        if parts["stored"] != shape:
            return f"has a replacement {parts['stored']} for a tensor {shape}"
        return None

    def base_fault(self, dtypes: Mapping[str, str], base_dtype: str) -> str | None:
        if dtypes["stored"] != base_dtype:
            return f"is replaced by {dtypes['stored']}, and its base is {base_dtype}"
        return None

    def becomes(self, parts: Parts, base: "torch.Tensor") -> "torch.Tensor":
        return parts["stored"].clone()

    def between(self, before: "torch.Tensor", after: "torch.Tensor") -> Parts:
        return {"stored": after}


REPLACE = Replace()
