"""One hash of all that a stage returned, to the last bit of every tensor."""

import hashlib
from collections.abc import Mapping
from os import PathLike
from typing import Any

import attrs

from editcore_hooks import PluginError


def digest(value: Any) -> str:
    """sha256 over an Update, a Location, a Report or anything made of values, containers and tensors.

    Raises `PluginError` on something that is neither.
    """
    state = hashlib.sha256()
    _feed(state, value)
    return state.hexdigest()


def _feed(state: Any, value: Any) -> None:
    # Every item is preceded by its kind and length, so that no two values give one byte sequence.
    if value is None or isinstance(value, (bool, int, float, str, bytes, PathLike)):
        _mark(state, type(value).__name__, repr(value))
    elif isinstance(value, Mapping):
        _mark(state, "mapping", str(len(value)))
        for key in sorted(value, key=lambda key: (type(key).__name__, str(key))):
            _feed(state, key)
            _feed(state, value[key])
    elif isinstance(value, (list, tuple)):
        _mark(state, "sequence", str(len(value)))
        for item in value:
            _feed(state, item)
    elif isinstance(value, (set, frozenset)):
        _feed(state, ("set", *sorted(value, key=repr)))
    elif attrs.has(type(value)):
        _mark(state, "attrs", type(value).__qualname__)
        for field in attrs.fields(type(value)):
            _feed(state, getattr(value, field.name))
    else:
        _feed_array(state, value)


def _mark(state: Any, kind: str, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    state.update(f"{kind}:{len(data)}:".encode())
    state.update(data)


def _feed_array(state: Any, value: Any) -> None:
    import numpy
    import torch

    if isinstance(value, torch.Tensor):
        data = value.detach().to("cpu").contiguous()
        _mark(state, "tensor", f"{value.dtype} {tuple(value.shape)}")
        # Bytes, since numpy knows no bfloat16 and equal numbers may differ in bits (NaN, −0).
        state.update(data.reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, (numpy.ndarray, numpy.generic)) and value.dtype != object:
        array = numpy.ascontiguousarray(value)
        _mark(state, "array", f"{array.dtype} {array.shape}")
        state.update(array.tobytes())
    else:
        raise PluginError(f"a stage returned {type(value).__name__!r}, which is not a value of the contract")
