"""One tensor that a patch changes, as the core says it: what the base has there, and in which form the change is."""

from collections.abc import Mapping
from typing import Any, Self

from attrs import evolve, field, frozen

from editcore.patches.file.part import Part, is_dtype, is_shape, read_parts
from editcore.patches.file.refusal import Fault, is_hash, is_number, name_fault, refuse
from editcore.patches.forms.form import Form, Shape
from editcore.patches.forms.table import UPGRADE, form_named
from editcore_hooks import RefusedFileError


@frozen
class Group:
    """After a squash: the run of `rank` factors that came from one patch."""

    patch_id: str
    rank: int
    scale: float

    def __attrs_post_init__(self) -> None:
        if not is_hash(self.patch_id) or type(self.rank) is not int or self.rank < 1:
            raise Fault("has groups that are not patch_id, rank and scale of low_rank factors")
        if not is_number(self.scale):
            raise Fault("has a group whose scale is not a number")


@frozen
class CoreTarget:
    """The form and its parts, what the base has in this place, and `groups` after a squash.

    Raises `Fault` where they do not fit together.
    """

    form: Form
    parts: Mapping[str, Part]
    shape: Shape
    base_dtype: str
    base_sha256: str
    groups: tuple[Group, ...] = field(default=())

    def __attrs_post_init__(self) -> None:
        described = {name: (part.dtype, part.shape) for name, part in self.parts.items()}
        dtypes = {name: part.dtype for name, part in self.parts.items()}
        fault = self.form.fault(self.shape, described) or self.form.base_fault(dtypes, self.base_dtype)
        if fault is not None:
            raise Fault(fault)
        if self.groups and not self.form.factored:
            raise Fault("has groups that are not patch_id, rank and scale of low_rank factors")
        if len({group.patch_id for group in self.groups}) < len(self.groups):
            raise Fault("has two groups of one patch")
        if self.groups and sum(group.rank for group in self.groups) != self.rank:
            raise Fault("has groups whose ranks do not add up to that of its factors")

    @property
    def rank(self) -> int:
        """The number of factors; 0 for a form without any."""
        return self.form.rank({name: part.shape for name, part in self.parts.items()})

    @classmethod
    def read(cls, key: str, value: Any, where: str) -> Self:
        """The target `key` of the core of `where`. Raises `RefusedFileError`."""
        if fault := name_fault(key):
            refuse(where, fault)
        fields = {"form", "parts", "shape", "base_dtype", "base_sha256"}
        if not isinstance(value, dict) or not fields <= set(value):
            refuse(where, f"target {key} is not described by {sorted(fields)}")
        if unknown := set(value) - fields - {"groups"}:
            raise RefusedFileError(f"target {key} of {where} has unknown fields {sorted(unknown)}", hint=UPGRADE)
        form = form_named(value["form"], f"target {key} of {where}")
        shape, dtype, sha256 = value["shape"], value["base_dtype"], value["base_sha256"]
        if not isinstance(shape, list) or not is_shape(tuple(shape)) or not is_dtype(dtype) or not is_hash(sha256):
            refuse(where, f"target {key} has an invalid shape, base_dtype or base_sha256")
        parts = read_parts(value["parts"], where)
        try:
            target = cls(form, parts, tuple(shape), dtype, sha256)
            return evolve(target, groups=_groups(value["groups"], form)) if "groups" in value else target
        except Fault as error:
            refuse(where, f"target {key} {error}")


def _groups(value: Any, form: Form) -> tuple[Group, ...]:
    plain = isinstance(value, list) and all(
        isinstance(group, dict) and set(group) == {"patch_id", "rank", "scale"} for group in value
    )
    if not plain or not form.factored:
        raise Fault("has groups that are not patch_id, rank and scale of low_rank factors")
    if not value:
        raise Fault("has groups whose ranks do not add up to that of its factors")
    return tuple(Group(**group) for group in value)
