"""Differences of any two patches, model folders or written stacks: in their manifests and in every tensor."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from attrs import frozen

from editcore.models.loading.source import find
from editcore.patches.arithmetic.geometry import Spectrum, compacted, directions, inner, principal_angles, spectrum
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.compare.diff_bits import BitFigures
from editcore.patches.compare.diff_manifest import FieldDifference, Side, manifest_differences
from editcore.patches.compare.diff_pairs import Pair, Status, pairs_of_both, pairs_of_folders, pairs_of_patches
from editcore.patches.exchange.stack_export import StackExport, read_export
from editcore.patches.file.patch import Patch, PatchHeader
from editcore_hooks import UsageError


@frozen
class DeltaFigures:
    """Frobenius norm of a delta, the same over the norm of the base, and how many directions hold 99 % of its square.

    `relative_norm` is None without a base, `effective_rank` None when it is over 64 in a matrix too large to decompose.
    """

    norm: float
    relative_norm: float | None
    effective_rank: int | None


@frozen
class TensorDifference:
    """One tensor. Figures are of what each side changes of `base`, the common one or side a; None: nothing.

    Where a side sets the bits of the tensor, `bits` tells how many elements differ; without the base it is all that is
    told of that side.

    `distance` is ‖δa - δb‖; `left_angles` and `right_angles` are the principal angles in degrees between column and
    row spaces, smallest first.
    """

    tensor: str
    status: Status
    base: Literal["base", "a"]
    a: DeltaFigures | None = None
    b: DeltaFigures | None = None
    distance: float | None = None
    cosine: float | None = None
    left_angles: tuple[float, ...] = ()
    right_angles: tuple[float, ...] = ()
    bits: BitFigures | None = None


@frozen
class Difference:
    """The differences; both are empty if there are none."""

    manifest: tuple[FieldDifference, ...]
    tensors: tuple[TensorDifference, ...]

    def __bool__(self) -> bool:
        return bool(self.manifest or self.tensors)


def diff(a: Path | str, b: Path | str, model: Path | str | None = None) -> Difference:
    """Compare patch files, models by folder or hub id, and what `stack export` wrote, which counts as the sum of its
    patches; `model` is the base of patches, for norms relative to it.

    Raises `UsageError` when there is no such file, `RefusedFileError`, and `WrongBaseError` when a patch and a folder
    do not belong together.
    """
    one, two = open_side(a), open_side(b)
    base = None if model is None else Checkpoint.open(find(str(model)).folder)
    return Difference(manifest_differences(one, two), tuple(tensor_difference(pair) for pair in _pairs(one, two, base)))


def open_side(name: Path | str) -> Side:
    """The header of a patch file, a written stack, or a model: its folder, or an id."""
    path = Path(name)
    if path.suffix == ".json":
        return read_export(path)
    if path.suffix == ".safetensors" and not path.is_dir():
        if not path.is_file():
            raise UsageError(f"there is no {name}", hint="give patch files, model folders or exported stacks")
        return Patch.read_header(path)
    return Patch.read_header(path) if path.is_file() else Checkpoint.open(find(str(name)).folder)


def tensor_difference(pair: Pair) -> TensorDifference:
    """The figures of one tensor."""
    (a, b), shape = compacted((pair.a, pair.b), pair.shape)
    spectra = [None if delta is None else spectrum(delta, shape, pair.tensor) for delta in (a, b)]
    one, two = (None if found is None else _figures(found, pair.base_norm) for found in spectra)
    alone = TensorDifference(pair.tensor, pair.status, pair.base, one, two, bits=pair.bits)
    if a is None or b is None or spectra[0] is None or spectra[1] is None or one is None or two is None:
        return alone
    product = inner(a, b, shape)
    size = one.norm * two.norm
    bases = [directions(delta, found) for delta, found in zip((a, b), spectra, strict=True) if found]
    return TensorDifference(
        pair.tensor,
        pair.status,
        pair.base,
        one,
        two,
        max(0.0, one.norm**2 + two.norm**2 - 2 * product) ** 0.5,
        max(-1.0, min(1.0, product / size)) if size else 0.0,
        tuple(principal_angles(bases[0][0], bases[1][0]).tolist()),
        tuple(principal_angles(bases[0][1], bases[1][1]).tolist()),
        pair.bits,
    )


def _pairs(a: Side, b: Side, base: Checkpoint | None) -> Iterator[Pair]:
    if isinstance(a, Checkpoint):
        return pairs_of_folders(a, b) if isinstance(b, Checkpoint) else map(_swapped, pairs_of_both(_patches(b), a))
    if isinstance(b, Checkpoint):
        return pairs_of_both(_patches(a), b)
    return pairs_of_patches(_patches(a), _patches(b), base)


def _patches(side: PatchHeader | StackExport) -> list[PatchHeader]:
    return [side] if isinstance(side, PatchHeader) else side.headers()


def _swapped(pair: Pair) -> Pair:
    names: dict[Status, Status] = {"only in a": "only in b", "only in b": "only in a"}
    status = names.get(pair.status, pair.status)
    bits = None if pair.bits is None else BitFigures(pair.bits.b, pair.bits.a, pair.bits.between)
    return Pair(pair.tensor, status, pair.shape, pair.b, pair.a, pair.base, pair.base_norm, bits)


def _figures(found: Spectrum, base_norm: float | None) -> DeltaFigures:
    relative = found.norm / base_norm if base_norm and math.isfinite(base_norm) else None
    return DeltaFigures(found.norm, relative, found.effective_rank)
