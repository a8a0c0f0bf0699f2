"""From requests to a sealed patch: choose the method, locate, compute, transform, seal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from attrs import field, frozen

from editcore.editing.about import describe_base, describe_run
from editcore.editing.seeding import seed_all
from editcore.editing.state import fold_state
from editcore.editing.untouched import untouched
from editcore.patches.deltas import StoredUpdate, to_stored
from editcore.patches.patch import Patch
from editcore.patches.sealing import Target, seal
from editcore.plugins.calls import run_compute_update, run_locate, stage_manager
from editcore.plugins.hparams import Resolved, merge
from editcore.plugins.transforms import apply_transforms, make_transforms
from editcore_hooks import EditMethod, EditRequest, Location, LowRank, Site, Update, UsageError

if TYPE_CHECKING:
    from editcore.editing.session import Session


@frozen
class Options:
    """How to edit. `hparams` are layers of values over the method's preset, each with the name of its source."""

    method: str = "rome"
    hparams: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    transforms: tuple[str, ...] = ()
    locator: str | None = None
    title: str | None = None


@frozen
class Run:
    """A method made ready for one session."""

    method: EditMethod
    resolved: Resolved
    options: Options = field(repr=False)


def prepare(session: "Session", options: Options) -> Run:
    """Find the method and resolve its hyper-parameters. Raises `PluginError`, `UsageError`."""
    cls = session.registry.method(options.method)
    preset = ("preset", cls.preset(session.facts()))
    resolved = merge(cls.Hparams, preset, *options.hparams)
    return Run(cls(resolved.hparams), resolved, options)


def compute_patch(session: "Session", requests: Sequence[EditRequest], options: Options) -> Patch:
    """One patch of all `requests`, on the model as it stands.

    A method without the capability `batch` is run once a request, each seeing the edits before it, and its low-rank
    updates are put side by side. Raises what the method refuses, and `UsageError` when updates cannot be joined.
    """
    if not requests:
        raise UsageError("there is nothing to edit", hint="give --prompt, --subject and --target, or --requests FILE")
    run = prepare(session, options)
    if len(requests) == 1 or "batch" in run.method.capabilities:
        return _seal(session, run, requests, *_compute(session, run, requests))
    steps: list[tuple[Location, Update]] = []
    patches: list[Patch] = []
    with session.progress(f"{options.method} edits", len(requests)) as progress:
        for request in requests:
            with session.patched(*patches):
                location, update = _compute(session, run, [request])
                patches.append(_seal(session, run, [request], location, update))
            steps.append((location, update))
            progress.advance()
    return _join(session, run, requests, steps, patches)


def _compute(session: "Session", run: Run, requests: Sequence[EditRequest]) -> tuple[Location, Update]:
    registry = session.registry
    locator = registry.locator(run.options.locator)() if run.options.locator else None
    manager = stage_manager(registry, run.method, locator)
    state = fold_state(session, run.method)
    with untouched(session.model, f"the method {run.method.name}"):
        seed_all(session.seed)
        location = run_locate(manager, session, requests, state)
        update = run_compute_update(manager, session, requests, location, state)
        update = apply_transforms(make_transforms(registry, run.options.transforms), session, update)
    return location, update


def _seal(session: "Session", run: Run, requests: Sequence[EditRequest], location: Location, update: Update) -> Patch:
    targets, sites = {}, {}
    for site, tensor_update in update.tensors.items():
        key = session.anatomy.key_of(session.anatomy.name(site), session.checkpoint.entries)
        targets[key] = _target(session, key, to_stored(tensor_update, session.anatomy.transposed(site)))
        sites[key] = site
    return _sealed(session, run, requests, targets, sites, update, [dict(update.notes)])


def _sealed(
    session: "Session",
    run: Run,
    requests: Sequence[EditRequest],
    targets: Mapping[str, Target],
    sites: Mapping[str, Site],
    update: Update,
    notes: Sequence[Mapping[str, Any]],
) -> Patch:
    kind = "weights" if update.payload is None else "memory"
    patch = seal(
        targets,
        describe_base(session),
        describe_run(session, run, requests, sites, notes),
        kind=kind,
        payload=update.payload,
        assets=[{"kind": a.kind, "sha256": a.sha256, "required_at": "compute"} for a in update.assets],
        state_increment=update.state_increment,
    )
    return patch


def _target(session: "Session", key: str, stored: StoredUpdate) -> Target:
    entry = session.checkpoint.entries[key]
    return Target(stored, entry.dtype, entry.shape, session.checkpoint.base_sha256(key))


def _join(
    session: "Session",
    run: Run,
    requests: Sequence[EditRequest],
    steps: Sequence[tuple[Location, Update]],
    patches: Sequence[Patch],
) -> Patch:
    """The low-rank updates of single edits side by side: Σ Lᵢ Rᵢ = [L₁ … Lₙ] [R₁; …; Rₙ]."""
    forms = {target["form"] for patch in patches for target in patch.targets.values()}
    if forms != {"low_rank"} or any(update.state_increment for _, update in steps):
        raise UsageError(
            f"{run.method.name} edits one request at a time, and its updates cannot be joined",
            hint="write one patch a request: -o FOLDER",
        )
    targets: dict[str, Target] = {}
    for key in sorted({key for patch in patches for key in patch.targets}):
        having = [patch for patch in patches if key in patch.targets]
        left = torch.cat([patch.tensors[f"{key}/left"] for patch in having], 1)  # (rows, Σ r)
        right = torch.cat([patch.tensors[f"{key}/right"] for patch in having], 0)  # (Σ r, columns)
        # to_stored makes it dense where the ranks add up to more than the matrix has.
        targets[key] = _target(session, key, to_stored(LowRank(left, right), transposed=False))
    sites = {
        session.anatomy.key_of(session.anatomy.name(site), session.checkpoint.entries): site
        for _, update in steps
        for site in update.tensors
    }
    assets = tuple({asset.sha256: asset for _, update in steps for asset in update.assets}.values())
    notes = [dict(update.notes) for _, update in steps]
    return _sealed(session, run, requests, targets, sites, Update(assets=assets), notes)
