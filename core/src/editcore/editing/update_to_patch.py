"""Updates, which name sites, as patches, which name the tensors of a checkpoint."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from editcore.editing.annotation import describe_base, describe_run
from editcore.patches.file.kinds import payload_fault
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import StoredUpdate, to_stored
from editcore_hooks import EditRequest, LowRank, Payload, PluginError, Site, Update, UsageError

if TYPE_CHECKING:
    from editcore.editing.prepared import PreparedMethod
    from editcore.session.open_session import OpenSession


def seal_update(
    session: "OpenSession", run: "PreparedMethod", requests: Sequence[EditRequest], update: Update
) -> Patch:
    """The patch of one update. Raises `UsageError` for a site that the checkpoint has no tensor for."""
    targets, sites = {}, {}
    for site, tensor_update in update.tensors.items():
        key = session.anatomy.key_of(session.anatomy.name(site), session.checkpoint.entries)
        targets[key] = _target(session, key, to_stored(tensor_update, session.anatomy.transposed(site)))
        sites[key] = site
    return _sealed(session, run, requests, targets, sites, update, [dict(update.notes)])


def join_patches(
    session: "OpenSession",
    run: "PreparedMethod",
    requests: Sequence[EditRequest],
    updates: Sequence[Update],
    patches: Sequence[Patch],
) -> Patch:
    """The low-rank updates of single edits side by side: Σ Lᵢ Rᵢ = [L₁ … Lₙ] [R₁; …; Rₙ]."""
    forms = {target.form for patch in patches for target in patch.targets.values()}
    if not forms or not all(form.factored for form in forms) or any(update.state_increment for update in updates):
        raise UsageError(
            f"{run.method.name} edits one request at a time, and its updates cannot be joined",
            hint="write one patch a request: -o FOLDER",
        )
    targets: dict[str, Target] = {}
    for key in sorted({key for patch in patches for key in patch.targets}):
        having = [patch for patch in patches if key in patch.targets]
        factors = [patch.targets[key].form.factors(patch.parts_of(key)) for patch in having]
        left = torch.cat([each[0] for each in factors], 1)  # (rows, Σ r)
        right = torch.cat([each[1] for each in factors], 0)  # (Σ r, columns)
        # to_stored makes it dense where the ranks add up to more than the matrix has.
        targets[key] = _target(session, key, to_stored(LowRank(left, right), transposed=False))
    sites = {
        session.anatomy.key_of(session.anatomy.name(site), session.checkpoint.entries): site
        for update in updates
        for site in update.tensors
    }
    assets = tuple({asset.sha256: asset for update in updates for asset in update.assets}.values())
    notes = [dict(update.notes) for update in updates]
    return _sealed(session, run, requests, targets, sites, Update(assets=assets), notes)


def _sealed(
    session: "OpenSession",
    run: "PreparedMethod",
    requests: Sequence[EditRequest],
    targets: Mapping[str, Target],
    sites: Mapping[str, Site],
    update: Update,
    notes: Sequence[Mapping[str, Any]],
) -> Patch:
    patch = seal(
        targets,
        describe_base(session),
        describe_run(session, run, requests, sites, notes),
        kind="weights" if update.payload is None else _kind_of(session, run, update.payload),
        payload=update.payload,
        assets=[
            {"kind": asset.kind, "sha256": asset.sha256, "required_at": "compute"}
            for asset in (*update.assets, *([run.profile.asset] if run.profile is not None else []))
        ],
        state_increment=update.state_increment,
    )
    # the session's plugins need not be those of the process, which `seal` asks
    if fault := payload_fault(patch.core, patch.about, patch.tensors, session.registry):
        raise PluginError(f"the update of {run.method.name} is refused: {fault}", hint="report it to its author")
    return patch


def _kind_of(session: "OpenSession", run: "PreparedMethod", payload: Payload) -> str:
    distribution, _ = session.registry.source_of(type(run.method))
    owner = session.registry.patch_kinds.find(payload.kind, distribution)
    return "memory" if owner is None else owner.kind


def _target(session: "OpenSession", key: str, stored: StoredUpdate) -> Target:
    entry = session.checkpoint.entries[key]
    return Target(stored, entry.dtype, entry.shape, session.checkpoint.base_sha256(key))
