"""Units on a live model: a side branch on each MLP that they are appended to."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from editcore.patches.file.units import KIND, count_units
from editcore_hooks import Patch, PatchKind

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession


class FfnUnits(PatchKind):
    """Neurons appended to MLPs. In memory they run beside the MLP; `editcore.applying.folding` puts them into files."""

    name = KIND
    summary = "neurons appended to MLPs"
    kind: ClassVar[Literal["modules", "memory"]] = "modules"
    reads_branches = True  # a neuron reads one token

    def attach(self, session: "OpenSession", patch: Patch) -> str:
        """Raises `WrongBaseError` when the whole base is not the one that the patch was made for."""
        import torch

        from editcore.models.anatomy.mlp import as_stored, mlp_of, neurons, require_fit
        from editcore.models.loading.offload import device_of
        from editcore.models.running.side_branches import Branch
        from editcore.patches.checkpoint.resolving import require_base
        from editcore.patches.file.units import units_of

        require_base(patch, session.checkpoint)  # type: ignore[arg-type] # a sealed patch, whoever made it
        stored: torch.dtype = getattr(torch, session.loaded.stored_dtype)
        device = device_of(session.model)

        branches = []
        for block, units in units_of(patch.core, patch.tensors).items():
            mlp = mlp_of(session.anatomy, block)
            require_fit(mlp, block, tuple(units.keys.shape), units.gate is not None)
            parts = units.keys, units.values, units.biases, units.gate
            # Rounded as a folded checkpoint stores them: what is measured in memory is what will be deployed.
            rounded = (None if part is None else as_stored(part, stored, str(block)).to(device) for part in parts)
            compute = neurons(mlp.activation, *rounded)  # type: ignore[arg-type] # keys and values are there
            reads, adds_to = (session.model.get_submodule(path) for path in (mlp.inner[0], mlp.out))
            branches.append(Branch(reads, adds_to, compute))
        session.live.branches.put(patch.patch_id, branches)
        return patch.patch_id

    def detach(self, session: "OpenSession", handle: str) -> None:
        session.live.branches.take(handle)

    def describe(self, patch: Patch) -> Mapping[str, Any]:
        return {"units": count_units(patch.core)}
