"""Folding units into a checkpoint: each MLP gets its units as further neurons, and zero units up to one width for all.

A zero unit has a zero value, so it adds nothing whatever the activation makes of its zero key. One width, because a
configuration holds one number for all layers.
"""

import json
from collections.abc import Iterator, Sequence

import torch
from attrs import frozen

from editcore.models.anatomy.mlp import Mlp, as_stored, mlp_of, require_fit
from editcore.models.anatomy.model_map import Anatomy
from editcore.models.anatomy.skeleton import skeleton
from editcore.models.anatomy.structure import is_transposed
from editcore.patches.change.widening import rewrite
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.resolving import require_base
from editcore.patches.file.patch import Patch
from editcore.patches.file.units import Units, units_of
from editcore.storage import durable
from editcore.storage.canonical import read_object
from editcore.storage.safetensors_writer import Streamed
from editcore.storage.tensors import blob_of, tensor_of
from editcore_hooks import Architecture, Site, UsageError


@frozen
class Folded:
    """The width of every MLP before and after, in neurons."""

    before: int
    after: int


@frozen
class _Neurons:
    """Units of one MLP side by side and zeros after them: `keys`, `values`, `gate` (m, d), `biases` (m,)."""

    keys: torch.Tensor
    values: torch.Tensor
    gate: torch.Tensor
    biases: torch.Tensor


@frozen
class _Piece:
    """The values for a parameter along `axis` before position `at`, in stored orientation."""

    name: str
    axis: int
    at: int
    values: torch.Tensor


def fold(checkpoint: Checkpoint, patches: Sequence[Patch], architectures: Sequence[type[Architecture]]) -> Folded:
    """Write units into the folder itself, which nobody sees yet; afterwards it is a checkpoint of its own.

    Raises `UsageError` when the family has no number for the width of its MLPs or a bias has no place,
    `WrongBaseError`, and `RefusedFileError` for numbers that the stored dtype does not hold.
    """
    for patch in patches:
        require_base(patch, checkpoint)
    anatomy = Anatomy.of(skeleton(checkpoint.folder), architectures)
    name = _width_name(anatomy, architectures)
    units = [units_of(patch.core, patch.tensors) for patch in sorted(patches, key=lambda patch: patch.patch_id)]
    blocks = {Site("block", i, stack): found for stack, found in anatomy.stacks.items() for i in range(found.n_layers)}
    if stray := sorted(str(block) for some in units for block in some if block not in blocks):
        raise UsageError(f"there is no {stray[0]} in {checkpoint.folder}", hint="use the base of the patch")
    by_block = {block: [some[block] for some in units if block in some] for block in blocks}
    more = max(sum(each.count for each in some) for some in by_block.values())
    replaced: dict[str, Streamed] = {}
    for block, some in by_block.items():
        mlp = mlp_of(anatomy, block)
        for each in some:
            require_fit(mlp, block, tuple(each.keys.shape), each.gate is not None)
        pieces: dict[str, list[_Piece]] = {}
        for piece in _pieces(anatomy, mlp, _side_by_side(some, more, mlp.hidden_size)):
            pieces.setdefault(anatomy.key_of(piece.name, checkpoint.entries), []).append(piece)
        replaced |= {key: _widened(checkpoint, key, found) for key, found in pieces.items()}
    before, after = anatomy.mlp_width, anatomy.mlp_width + more
    config = _with_width(checkpoint, name, after)
    rewrite(checkpoint, replaced)
    durable.write_atomically(checkpoint.folder / "config.json", [config])
    _require_width(checkpoint, architectures, after, name)
    return Folded(before, after)


def _width_name(anatomy: Anatomy, architectures: Sequence[type[Architecture]]) -> str:
    """The name of the MLPs' width in the configuration of the family."""
    table = next((table for table in architectures if table.name == anatomy.family), None)
    if table is None:
        raise UsageError(
            f"it is unknown how the configuration of a {anatomy.model.config.model_type} names the width of its MLPs",
            hint="keep the units in memory, or register an architecture with `width`",
        )
    if table.width is None:
        raise UsageError(
            f"the code of a {table.name} fixes the width of its MLPs, and config.json cannot change it",
            hint="keep the units in memory",
        )
    return table.width


def _side_by_side(units: Sequence[Units], more: int, d: int) -> _Neurons:
    """The units of one MLP in ascending patch id, and zeros up to `more`."""
    rest = more - sum(some.count for some in units)
    zeros = torch.zeros(rest, d)
    biases = [torch.zeros(some.count) if some.biases is None else some.biases for some in units]
    return _Neurons(
        torch.cat([*(some.keys for some in units), zeros]),
        torch.cat([*(some.values for some in units), zeros]),
        torch.cat([*(some.gate for some in units if some.gate is not None), zeros]),
        torch.cat([*biases, torch.zeros(rest)]),
    )


def _pieces(anatomy: Anatomy, mlp: Mlp, neurons: _Neurons) -> Iterator[_Piece]:
    """The places of neurons: keys and gate become rows of the inward projections, values columns of the outward one."""
    no_biases = torch.zeros_like(neurons.biases)
    inward = [(mlp.inner[-1], neurons.keys, neurons.biases, mlp.width)]
    if mlp.gated:
        place = 2 * mlp.width if mlp.fused else mlp.width
        inward = [
            (mlp.inner[0], neurons.gate, neurons.biases, mlp.width),
            (mlp.inner[-1], neurons.keys, no_biases, place),
        ]
    for path, rows, biases, at in inward:
        module = anatomy.model.get_submodule(path)
        turned = is_transposed(module)
        yield _Piece(f"{path}.weight", int(turned), at, rows.T if turned else rows)
        if module.bias is not None:
            yield _Piece(f"{path}.bias", 0, at, biases)
        elif bool(biases.any()):
            raise UsageError(f"{path} has no bias, but the units have one", hint="keep the units in memory")
    turned = is_transposed(anatomy.model.get_submodule(mlp.out))
    yield _Piece(f"{mlp.out}.weight", int(not turned), mlp.width, neurons.values if turned else neurons.values.T)


def _widened(checkpoint: Checkpoint, key: str, pieces: Sequence[_Piece]) -> Streamed:
    entry = checkpoint.entries[key]
    axis = pieces[0].axis
    shape = list(entry.shape)
    shape[axis] += sum(piece.values.shape[axis] for piece in pieces)

    def produce() -> bytes:
        stored = tensor_of(entry.dtype, entry.shape, checkpoint.read(key))
        found, start = [], 0
        for piece in sorted(pieces, key=lambda piece: piece.at):
            found += [stored.narrow(axis, start, piece.at - start), as_stored(piece.values, stored.dtype, key)]
            start = piece.at
        found.append(stored.narrow(axis, start, entry.shape[axis] - start))
        return blob_of(torch.cat(found, axis)).data

    return Streamed(entry.dtype, tuple(shape), produce)


def _with_width(checkpoint: Checkpoint, name: str, width: int) -> bytes:
    path = checkpoint.folder / "config.json"
    config = read_object(path, str(path), "copy or download the checkpoint again")
    # A text model in a multimodal one has a configuration of its own.
    section = config["text_config"] if isinstance(config.get("text_config"), dict) else config
    section[name] = width
    return json.dumps(config, indent=2, ensure_ascii=False).encode() + b"\n"


def _require_width(checkpoint: Checkpoint, architectures: Sequence[type[Architecture]], width: int, name: str) -> None:
    """Whether the new configuration makes MLPs of that width: releases of a family may read another number."""
    found = {stack.mlp_width for stack in Anatomy.of(skeleton(checkpoint.folder), architectures).stacks.values()}
    if found != {width}:
        raise UsageError(
            f"with {name} = {width} this version of transformers makes MLPs of {sorted(found)} neurons",
            hint="keep the units in memory",
        )
