"""The deltas of two sides, tensor by tensor: of patches from their factors, of folders from their stored bytes.

Nothing is held but the tensor at hand, as stored and each side's change of it in float32, however many a folder has.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from attrs import field, frozen

from editcore.models.keys import aliases
from editcore.patches.checkpoint import Checkpoint
from editcore.patches.deltas import Delta, frobenius
from editcore.patches.diff_bits import BitFigures, Changed, compare_bits, moved
from editcore.patches.patch import PatchHeader
from editcore.patches.resolving import require_base
from editcore.patches.tensors import tensor_of

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


def pairs_of_patches(a: PatchHeader, b: PatchHeader, model: Checkpoint | None = None) -> Iterator[Pair]:
    """Every tensor that the patches change differently; `model` is their base, if norms relative to it are wanted.

    Raises `WrongBaseError` when it is not.
    """
    for side in (a, b) if model is not None else ():
        require_base(side, model)  # type: ignore[arg-type]
    names = {key: next((name for name in (key, *aliases(key)) if name in b.targets), None) for key in a.targets}
    for key, other in names.items():
        shape = tuple(a.targets[key]["shape"])
        if other is None:
            yield _pair(key, "only in a", _changed(a, key), None, _base_of(a, key, model))
        elif shape != tuple(b.targets[other]["shape"]):
            yield Pair(key, "other shape or dtype", shape)
        elif (a.scale, a.targets[key]) != (b.scale, b.targets[other]):
            yield _pair(key, "changed", _changed(a, key), _changed(b, other), _base_of(a, key, model))
    for key in b.targets.keys() - set(names.values()):
        yield _pair(key, "only in b", None, _changed(b, key), _base_of(b, key, model))


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
            base = tensor_of(one.dtype, one.shape, a.read_base(key) if common else a.read(key))
            deltas = moved(base, _stored(a, key)) if common else None, moved(base, _stored(b, key))
            yield Pair(key, "changed", one.shape, *deltas, "base" if common else "a", frobenius(base))


def pairs_of_both(a: PatchHeader, b: Checkpoint) -> Iterator[Pair]:
    """What a patch changes and what a folder of its base has changed already. Raises `WrongBaseError`."""
    names = {key: name for name, key in require_base(a, b).keys.items()}
    for key in dict.fromkeys([*names, *b.stack.targets]):
        entry = b.entries[key]
        base = tensor_of(entry.dtype, entry.shape, b.read_base(key))
        patched = _changed(a, names[key]) if key in names else None
        now = _stored(b, key)
        one, _, bits = compare_bits(patched, None, base)
        if patched is not None and bits is not None:
            bits = compare_bits(patched, Changed({}, (Delta("replace", {"stored": now}),)), base)[2]
        two = moved(base, now)
        if one is not None or two is not None or bits is not None:
            status: Status = "only in b" if one is None else "only in a" if two is None else "changed"
            yield Pair(key, status, entry.shape, one, two, base_norm=frobenius(base), bits=bits)


def _pair(key: str, status: Status, a: Changed | None, b: Changed | None, base: torch.Tensor | None) -> Pair:
    shape = tuple((a or b).target["shape"])  # type: ignore[union-attr] # one of them changes it
    one, two, bits = compare_bits(a, b, base)
    return Pair(key, status, shape, one, two, base_norm=None if base is None else frobenius(base), bits=bits)


def _changed(patch: PatchHeader, name: str) -> Changed:
    return Changed(patch.targets[name], patch.deltas(name))


def _stored(checkpoint: Checkpoint, key: str) -> torch.Tensor:
    """The tensor as it is now."""
    entry = checkpoint.entries[key]
    return tensor_of(entry.dtype, entry.shape, checkpoint.read(key))


def _base_of(patch: PatchHeader, key: str, model: Checkpoint | None) -> torch.Tensor | None:
    """The tensor of the base that a target of `patch` means, where the base is at hand."""
    if model is None:
        return None
    found = require_base(patch, model).keys[key]
    entry = model.entries[found]
    return tensor_of(entry.dtype, entry.shape, model.read_base(found))
