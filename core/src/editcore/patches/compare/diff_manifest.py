"""The manifests of two patches, model folders or exported stacks, field by field. Needs no torch but for memories."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.exchange.stack_export import StackExport
from editcore.patches.file.kinds import as_patch, owner_of
from editcore.patches.file.patch import Patch, PatchHeader

_PART_HASH: Final = re.compile(r"core\.payload\.parts\..*\.sha256")
Side = PatchHeader | Checkpoint | StackExport


@frozen
class FieldDifference:
    """A field, named with dots, and its value on both sides; None where a side does not have it."""

    field: str
    a: Any
    b: Any


def manifest_differences(a: Side, b: Side) -> tuple[FieldDifference, ...]:
    """Every field that differs, first what the owner of their kind says, which then stands for the hashes of parts.

    Of two different things only what both have is compared: base and applied patches.
    """
    mixed = type(a) is not type(b)
    one, two = (dict(_flat(_common(side) if mixed else _whole(side))) for side in (a, b))
    names = dict.fromkeys([*one, *two])
    fields = (FieldDifference(name, one.get(name), two.get(name)) for name in names if one.get(name) != two.get(name))
    own = tuple(_of_one_kind(a, b))
    return (*own, *(field for field in fields if not (own and _PART_HASH.fullmatch(field.field))))


def _of_one_kind(a: Side, b: Side) -> Iterator[FieldDifference]:
    """The difference of two patches of one kind, from the owner of the kind."""
    if not (isinstance(a, PatchHeader) and isinstance(b, PatchHeader)) or a.kind == "weights" or b.kind == "weights":
        return
    kind = a.core["payload"]["kind"]
    owner = owner_of(a.core, a.about) if kind == b.core["payload"]["kind"] else None
    if owner is not None:
        # A memory is a set of records, which are in its tensors.
        sides = (Patch.load(a.path), Patch.load(b.path)) if owner.kind == "memory" else (a, b)
        for name, (one, two) in owner.diff(*map(as_patch, sides)).items():
            yield FieldDifference(f"{kind}.{name}", one, two)


def _whole(side: Side) -> Mapping[str, Any]:
    if isinstance(side, PatchHeader):
        return {"patch_id": side.patch_id, "core": side.core, "about": side.about}
    if isinstance(side, StackExport):
        titles = {header.patch_id: header.title for header in side.headers()}
        return {**_common(side), "titles": titles, "result_sha256": dict(side.results)}
    return {**_common(side), "config": side.config}


def _common(side: Side) -> Mapping[str, Any]:
    fields = ("weights_root", "config_sha256", "tokenizer_sha256")
    if isinstance(side, PatchHeader):
        base = side.annotation("base")
        return {"base": {name: base.get(name) for name in fields}, "patches": [side.patch_id]}
    if isinstance(side, StackExport):
        base = side.headers()[0].annotation("base")  # the file itself names no more than the weights
        named = {name: base.get(name) for name in fields} | {"weights_root": side.base["weights_root"]}
        return {"base": named, "patches": list(side.patch_ids)}
    values = (side.weights_root(), side.config_sha256, side.tokenizer_sha256)
    return {"base": dict(zip(fields, values, strict=True)), "patches": list(side.patch_ids)}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested objects by their dotted name; a list of plain values is a leaf."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for position, inner in enumerate(value):
            yield from _flat(inner, f"{name}.{position}")
    else:
        yield name, value
