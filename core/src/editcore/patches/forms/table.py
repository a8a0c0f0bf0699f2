"""The closed table of forms: how a target's parts describe its delta. Shapes and dtypes here, values in `deltas`."""

import math
from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

Shape = tuple[int, ...]

FLOATS: Final = ("F32", "F16", "BF16", "F64")
"""Stored dtypes that take a weight patch."""

MAX_ELEMENTS: Final = 2**40
"""A thousand times the largest tensor there is; a few bytes of `sparse` can claim any."""

EXCLUSIVE: Final = ("xor", "replace")
"""Forms that say what the bits become, not what is added: each excludes every other patch on its tensor."""


@frozen
class Form:
    """Parts by name with the dtypes each may have, and the rule that their shapes keep for a target's shape."""

    dtypes: Mapping[str, tuple[str, ...]]
    fault: Callable[[Shape, Mapping[str, Shape]], str | None]


def _low_rank(shape: Shape, parts: Mapping[str, Shape]) -> str | None:
    left, right = parts["left"], parts["right"]
    if len(shape) != 2 or len(left) != 2 or len(right) != 2:
        return "is low_rank but not two-dimensional"
    if (left[0], right[1]) != shape or left[1] != right[0]:
        return f"has factors {left} and {right} that do not multiply to {shape}"
    if not 1 <= left[1] <= min(shape):
        return f"has rank {left[1]}, which a matrix {shape} cannot have"
    return None


def _dense(shape: Shape, parts: Mapping[str, Shape]) -> str | None:
    if not shape or parts["delta"] != shape:
        return f"has a delta {parts['delta']} for a tensor {shape}"
    return None


def _sparse(shape: Shape, parts: Mapping[str, Shape]) -> str | None:
    index, values = parts["index"], parts["values"]
    if len(shape) != 2 or len(values) != 1 or index != (2, values[0]):
        return f"has an index {index} and values {values} that do not fit a matrix {shape}"
    return None


def _rows(shape: Shape, parts: Mapping[str, Shape]) -> str | None:
    index, values = parts["index"], parts["values"]
    if len(shape) != 2 or len(index) != 1 or values != (index[0], shape[1]):
        return f"has an index {index} and values {values} that are not rows of a matrix {shape}"
    return None


def _xor(shape: Shape, parts: Mapping[str, Shape]) -> str | None:
    if parts["bits"] != shape:
        return f"has bits {parts['bits']} for a tensor {shape}"
    return None


def _replace(shape: Shape, parts: Mapping[str, Shape]) -> str | None:
    if parts["stored"] != shape:
        return f"has a replacement {parts['stored']} for a tensor {shape}"
    return None


FORMS: Final[Mapping[str, Form]] = {
    "low_rank": Form({"left": ("F32",), "right": ("F32",)}, _low_rank),
    "dense": Form({"delta": ("F32", "F64")}, _dense),
    "sparse": Form({"index": ("I64",), "values": ("F32", "F64")}, _sparse),
    "rows": Form({"index": ("I64",), "values": ("F32", "F64")}, _rows),
    "xor": Form({"bits": ("U16", "U32", "U64")}, _xor),
    "replace": Form({"stored": FLOATS}, _replace),
}


def form_fault(form: str, shape: Shape, parts: Mapping[str, tuple[str, Shape]]) -> str | None:
    """The fault of the parts (name to dtype and shape) of a target of `shape`, or None; the form must be known."""
    rule = FORMS[form]
    if 0 in shape:
        return f"is an empty tensor {shape}"
    if math.prod(shape) > MAX_ELEMENTS:
        return f"is a tensor {shape} that no file holds"
    if set(parts) != set(rule.dtypes):
        return f"has the parts {sorted(parts)}, but {form} has {sorted(rule.dtypes)}"
    for name, (dtype, _) in parts.items():
        if dtype not in rule.dtypes[name]:
            return f"has {dtype} in its part {name}, but {form} has {' or '.join(rule.dtypes[name])} there"
    return rule.fault(shape, {name: part_shape for name, (_, part_shape) in parts.items()})
