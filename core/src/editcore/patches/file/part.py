"""A tensor of the file, as the manifest promises it."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from editcore.patches.file.refusal import Fault, is_hash, name_fault, refuse
from editcore.patches.forms.form import Shape
from editcore.storage.safetensors_reader import DTYPE_BITS


@frozen
class Part:
    """Dtype, shape, and the hash of the stored bytes. Raises `Fault` where they are none."""

    dtype: str
    shape: Shape
    sha256: str

    def __attrs_post_init__(self) -> None:
        if not is_dtype(self.dtype) or not is_shape(self.shape) or not is_hash(self.sha256):
            raise Fault("is not described by dtype, shape and sha256")


def read_parts(value: Any, where: str) -> dict[str, Part]:
    """Parts by name, of a target, a payload or a state. Raises `RefusedFileError`."""
    if not isinstance(value, dict):
        refuse(where, "parts are not a JSON object")
    parts = {}
    for name, part in value.items():
        if fault := name_fault(name):
            refuse(where, fault)
        try:
            parts[name] = _part(part)
        except Fault as error:
            refuse(where, f"part {name} {error}")
    return parts


def prefixed(prefix: str, parts: Mapping[str, Part]) -> dict[str, Part]:
    """The same under the names of tensors."""
    return {f"{prefix}/{name}": part for name, part in parts.items()}


def _part(value: Any) -> Part:
    if (
        not isinstance(value, dict)
        or set(value) != {"dtype", "shape", "sha256"}
        or not isinstance(value["shape"], list)
    ):
        raise Fault("is not described by dtype, shape and sha256")
    return Part(value["dtype"], tuple(value["shape"]), value["sha256"])


def is_shape(value: tuple[Any, ...]) -> bool:
    return all(type(size) is int and size >= 0 for size in value)


def is_dtype(value: Any) -> bool:
    return isinstance(value, str) and value in DTYPE_BITS
