"""Squash: several weight patches of one base in one file, with the result of applying them all."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal

import attrs
import torch
from attrs import field, frozen

from editcore.patches.arithmetic.combining import Combined, Step, combine, dense_sum, smallest
from editcore.patches.arithmetic.merging import merge
from editcore.patches.file.merged_annotation import contents, gather
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import Delta
from editcore.patches.forms.dense import DENSE
from editcore.text.ids import short
from editcore_hooks import ConflictError, UsageError, WrongBaseError

Rule = Literal["sum", "ties", "dare"]


@frozen
class Squashed:
    """`exact` names the targets that come out bit for bit as from all the sources; `residuals` is relative, by target,
    to what the rule gives."""

    patch: Patch
    residuals: Mapping[str, float]
    exact: tuple[str, ...]
    notices: tuple[str, ...] = field(factory=tuple)


def squash(
    patches: Sequence[Patch],
    rule: Rule = "sum",
    density: float = 0.5,
    max_rank: int | None = None,
    seed: int = 0,
) -> Squashed:
    """One patch in place of several.

    `density` and `seed` are those of `ties` and `dare`. Raises `UsageError` for fewer than two, `WrongBaseError` when
    they are not of one base, `RefusedFileError` when one overflows float32, `ConflictError` for other kinds than
    weights, for a patch that is in twice and for one that excludes others on a tensor.
    """
    if len(patches) < 2:
        raise UsageError("a squash needs two patches or more", hint="editcore squash P1 P2 -o P")
    if max_rank is not None and max_rank < 1:
        raise UsageError(f"a rank of {max_rank} is too small", hint="pass --max-rank 1 or more")
    # The order of the arithmetic, whatever the order in which they were named.
    ordered = sorted(patches, key=lambda patch: patch.patch_id)
    _refuse_kinds(ordered)
    _refuse_twice(ordered)
    for patch in ordered:
        patch.delta_norms()  # raises for what overflows
    notices = _require_one_base(ordered)
    scales = {patch.scale for patch in ordered}
    # A scale that all share stays one of the whole patch: the products are then those of the sources.
    scale = scales.pop() if len(scales) == 1 else 1.0
    combined: dict[str, Combined] = {}
    targets: dict[str, Target] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for key in sorted({key for patch in ordered for key in patch.targets}):
            touching = [patch for patch in ordered if key in patch.targets]
            target = touching[0].targets[key]
            combined[key] = _combined(key, touching, target.shape, scale, rule, density, max_rank)
            of_base = target.base_dtype, target.shape, target.base_sha256
            targets[key] = Target(combined[key].update, *of_base, combined[key].groups)
    exact = tuple(key for key, found in combined.items() if found.exact)
    residuals = {key: found.residual for key, found in combined.items() if not found.exact}
    settings: dict[str, Any] = {"rule": rule, "max_rank": max_rank, "exact": list(exact), "residuals": residuals}
    if rule != "sum":
        settings |= {"density": density, "seed": seed}
    about = {
        **gather(ordered),
        "title": f"{len(ordered)} patches squashed",
        "method": {"name": "squash", "distribution": "editcore", "version": version("editcore")},
        "squash": settings,
        "result_sha256": _results(ordered, exact),
    }
    ids = {patch.patch_id for patch in ordered}
    patch = seal(
        targets,
        ordered[0].annotation("base"),
        about,
        requires=[name for patch in ordered for name in patch.requires if name not in ids],
        assets=_assets(ordered),
        scale=scale,
    )
    return Squashed(patch, residuals, exact, (*notices, *_lost_state(ordered)))


def _combined(
    key: str,
    touching: Sequence[Patch],
    shape: tuple[int, ...],
    scale: float,
    rule: Rule,
    density: float,
    max_rank: int | None,
) -> Combined:
    sources = [_steps(patch, key, scale) for patch in touching]
    steps = [step for source in sources for step in source]
    if len(steps) > 1 and any(step.delta.form.exclusive for step in steps):
        raise ConflictError(f"a patch of {key} excludes others on it", hint="leave one of them out of the squash")
    if rule == "sum" or steps[0].delta.form.exclusive:
        return combine(steps, shape, max_rank)
    merged = merge(rule, [dense_sum([step.delta for step in source], shape) for source in sources], density)
    update = smallest(merged)
    if max_rank is None or not update.form.full:
        return Combined(update, exact=False)
    dense = Delta(DENSE, {"delta": merged})
    return combine([Step("", dense)], shape, max_rank)


def _steps(patch: Patch, key: str, scale: float) -> list[Step]:
    """The summands of one patch, with the scale that is left to them when `scale` is the whole patch's."""
    target = patch.targets[key]
    own = 1.0 if scale == patch.scale else patch.scale
    if not target.groups:
        return [Step(patch.patch_id, Delta(target.form, patch.parts_of(key), own))]
    groups = zip(target.groups, patch.deltas(key), strict=True)
    return [Step(group.patch_id, Delta(target.form, delta.parts, own * group.scale)) for group, delta in groups]


def _refuse_kinds(patches: Sequence[Patch]) -> None:
    for patch in patches:
        if patch.kind != "weights":
            raise ConflictError(
                f"patch {short(patch.patch_id)} is of kind {patch.kind}, which cannot be added to another",
                hint="leave it out, and apply it beside the squashed one",
            )


def _refuse_twice(patches: Sequence[Patch]) -> None:
    seen: set[str] = set()
    for patch in patches:
        inside = contents(patch)
        if again := sorted(seen & inside):
            raise ConflictError(f"patch {short(again[0])} would be in the squash twice", hint="name it once")
        seen |= inside


def _require_one_base(patches: Sequence[Patch]) -> tuple[str, ...]:
    first = patches[0]
    roots = [patch.annotation("base").get("weights_root") for patch in patches]
    for patch, root in zip(patches, roots, strict=True):
        if isinstance(root, str) and isinstance(roots[0], str) and root != roots[0]:
            raise WrongBaseError(
                f"patch {short(patch.patch_id)} was made for {patch.annotation('base').get('name')} with weights root "
                f"{root}, patch {short(first.patch_id)} for {first.annotation('base').get('name')} with {roots[0]}",
                hint="squash patches of one base",
            )
    known: dict[str, tuple[Patch, Any]] = {}
    for patch in patches:
        for key, target in patch.targets.items():
            found = target.shape, target.base_dtype, target.base_sha256
            other, expected = known.setdefault(key, (patch, found))
            if found != expected:
                raise WrongBaseError(
                    f"{key} is {found} in the base of patch {short(patch.patch_id)} and {expected} in that of "
                    f"patch {short(other.patch_id)}",
                    hint="squash patches of one base",
                )
    silent = [short(patch.patch_id) for patch, root in zip(patches, roots, strict=True) if not isinstance(root, str)]
    return (f"{', '.join(silent)} does not name its whole base: only its targets were compared",) if silent else ()


def _results(patches: Sequence[Patch], exact: Sequence[str]) -> dict[str, str]:
    """Hashes of results that stay what they were: of targets that only one of the patches touches."""
    results = {}
    for key in exact:
        touching = [patch for patch in patches if key in patch.targets]
        recorded = touching[0].annotation("result_sha256").get(key)
        if len(touching) == 1 and isinstance(recorded, str):
            results[key] = recorded
    return results


def _assets(patches: Sequence[Patch]) -> list[Mapping[str, str]]:
    assets = dict.fromkeys(asset for patch in patches for asset in patch.checked.assets)
    return [attrs.asdict(asset) for asset in assets]


def _lost_state(patches: Sequence[Patch]) -> tuple[str, ...]:
    methods = sorted({str(patch.annotation("state").get("method")) for patch in patches if "state" in patch.about})
    if not methods:
        return ()
    return (f"the state of {', '.join(methods)} is dropped: later edits on the squashed patch start without it",)
