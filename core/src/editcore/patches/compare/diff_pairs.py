"""The deltas of two sides, tensor by tensor: of patches from their factors, of folders from their stored bytes.

Nothing is held but the tensor at hand as stored, before and with each side's change, however many a folder has.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from attrs import field, frozen

from editcore.models.anatomy.keys import aliases
from editcore.patches.arithmetic.combining import dense_sum
from editcore.patches.change.exclusive import require_alone
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.resolving import require_base
from editcore.patches.compare.diff_bits import BitFigures, Changed, compare_bits, moved
from editcore.patches.file.patch import PatchHeader
from editcore.patches.forms.deltas import Delta
from editcore.patches.forms.dense import DENSE
from editcore.patches.forms.form import Shape
from editcore.patches.forms.norms import frobenius
from editcore.patches.forms.replace import REPLACE
from editcore.storage.tensors import view_of
from editcore.text.ids import short
from editcore_hooks import ConflictError

Named = tuple[PatchHeader, str]
"""A patch, and its own name for a tensor."""
Status = Literal["changed", "only in a", "only in b", "other shape or dtype"]


@frozen
class Pair:
    """A tensor and how each side changes it (None: not at all), against `base`: the common one, or side a itself.

    `base_norm` is that of the tensor before, None where no base is known. `bits` is there where a side sets the bits of
    the tensor; without a base such a side has no delta, and `bits` alone says what it does.
    """

    tensor: str
    status: Status
    shape: tuple[int, ...]
    a: Delta | None = field(default=None, repr=False)
    b: Delta | None = field(default=None, repr=False)
    base: Literal["base", "a"] = "base"
    base_norm: float | None = None
    bits: BitFigures | None = None


def pairs_of_patches(
    a: Sequence[PatchHeader], b: Sequence[PatchHeader], model: Checkpoint | None = None
) -> Iterator[Pair]:
    """Every tensor that the patches of the sides change differently; `model` is their base, if norms relative to it are
    wanted.

    Raises `WrongBaseError` when it is not.
    """
    for patch in (*a, *b) if model is not None else ():
        require_base(patch, model)  # type: ignore[arg-type]
    one, two = _touching(a), _touching(b)
    names = {key: next((name for name in (key, *aliases(key)) if name in two), None) for key in one}
    for key, other in names.items():
        shape = _shape(one[key])
        if other is None:
            yield _pair(key, "only in a", shape, _changed(one[key]), None, _base_of(*one[key][0], model))
        elif shape != _shape(two[other]):
            yield Pair(key, "other shape or dtype", shape)
        elif _content(one[key]) != _content(two[other]):
            yield _pair(key, "changed", shape, _changed(one[key]), _changed(two[other]), _base_of(*one[key][0], model))
    for key in sorted(two.keys() - set(names.values())):
        yield _pair(key, "only in b", _shape(two[key]), None, _changed(two[key]), _base_of(*two[key][0], model))


def pairs_of_folders(a: Checkpoint, b: Checkpoint) -> Iterator[Pair]:
    """Every tensor whose stored bytes differ: against the base where both have one tensor there, else b against a."""
    for key in dict.fromkeys([*a.entries, *b.entries]):
        one, two = a.entries.get(key), b.entries.get(key)
        if one is None or two is None:
            entry = one or two
            assert entry is not None
            yield Pair(key, "only in b" if one is None else "only in a", entry.shape)
        elif (one.dtype, one.shape) != (two.dtype, two.shape):
            yield Pair(key, "other shape or dtype", one.shape)
        elif a.sha256(key) != b.sha256(key):
            common = a.base_sha256(key) == b.base_sha256(key)
            base = view_of(one.dtype, one.shape, a.read_base(key) if common else a.read(key))
            deltas = (_moved(a, key, base), _moved(b, key, base)) if common else (None, moved(base, _stored(b, key)))
            yield Pair(key, "changed", one.shape, *deltas, "base" if common else "a", frobenius(base))


def pairs_of_both(a: Sequence[PatchHeader], b: Checkpoint) -> Iterator[Pair]:
    """The changes of a patch and those that a folder of its base has already. Raises `WrongBaseError`."""
    names: dict[str, list[Named]] = {}
    for patch in sorted(a, key=lambda patch: patch.patch_id):
        for name, key in require_base(patch, b).keys.items():
            names.setdefault(key, []).append((patch, name))
    for key in dict.fromkeys([*names, *b.stack.targets]):
        entry = b.entries[key]
        base = view_of(entry.dtype, entry.shape, b.read_base(key))
        patched = _changed(names[key]) if key in names else None
        now = _stored(b, key)
        one, _, bits = compare_bits(patched, None, base)
        if patched is not None and bits is not None:
            bits = compare_bits(patched, Changed(None, (Delta(REPLACE, REPLACE.between(base, now)),)), base)[2]
        two = moved(base, now)
        if one is not None or two is not None or bits is not None:
            status: Status = "only in b" if one is None else "only in a" if two is None else "changed"
            yield Pair(key, status, entry.shape, one, two, base_norm=frobenius(base), bits=bits)


def _moved(side: Checkpoint, key: str, base: torch.Tensor) -> Delta | None:
    """The change of the tensor against its own base; an unchanged tensor is not read."""
    return None if side.sha256(key) == side.base_sha256(key) else moved(base, _stored(side, key))


def _pair(
    key: str, status: Status, shape: Shape, a: Changed | None, b: Changed | None, base: torch.Tensor | None
) -> Pair:
    one, two, bits = compare_bits(a, b, base)
    return Pair(key, status, shape, one, two, base_norm=None if base is None else frobenius(base), bits=bits)


def _touching(patches: Sequence[PatchHeader]) -> dict[str, list[Named]]:
    """Tensor, by the name that the first of the patches has for it, to those that change it, in the order of the
    arithmetic.

    Another name or another shape within one patch is another tensor. Raises `ConflictError` where two patches give one
    name different shapes: they have no common base.
    """
    found: dict[str, list[Named]] = {}
    for patch in sorted(patches, key=lambda patch: patch.patch_id):
        for name, target in patch.targets.items():
            others = [other for other in aliases(name) if _is_same(found.get(other, []), patch, target.shape)]
            key = name if name in found or not others else others[0]
            if key in found and _shape(found[key]) != target.shape:
                first, _ = found[key][0]
                raise ConflictError(
                    f"patches {short(first.patch_id)} and {short(patch.patch_id)} give {key} different shapes",
                    hint="compare patches of one base",
                )
            found.setdefault(key, []).append((patch, name))
    return found


def _is_same(named: Sequence[Named], patch: PatchHeader, shape: Shape) -> bool:
    """Whether a tensor of other patches may be the one of that shape which `patch` calls by another name."""
    return bool(named) and _shape(named) == shape and all(one.patch_id != patch.patch_id for one, _ in named)


def _shape(named: Sequence[Named]) -> Shape:
    patch, name = named[0]
    return patch.targets[name].shape


def _content(named: Sequence[Named]) -> list[object]:
    return [(patch.scale, patch.targets[name]) for patch, name in named]


def _changed(named: Sequence[Named]) -> Changed:
    """The joint change of one tensor by several patches: low-rank deltas stay factors, side by side."""
    patch, name = named[0]
    deltas = [delta for one, own in named for delta in one.deltas(own)]
    if len(deltas) > 1 and not all(delta.form.factored for delta in deltas):
        require_alone(name, {one.patch_id: one.targets[own].form for one, own in named})
        deltas = [Delta(DENSE, {"delta": dense_sum(deltas, _shape(named))})]
    return Changed(patch.targets[name], deltas)


def _stored(checkpoint: Checkpoint, key: str) -> torch.Tensor:
    """The tensor as it is now."""
    entry = checkpoint.entries[key]
    return view_of(entry.dtype, entry.shape, checkpoint.read(key))


def _base_of(patch: PatchHeader, key: str, model: Checkpoint | None) -> torch.Tensor | None:
    """The tensor of the base that a target of `patch` means, where the base is at hand."""
    if model is None:
        return None
    found = require_base(patch, model).keys[key]
    entry = model.entries[found]
    return view_of(entry.dtype, entry.shape, model.read_base(found))
