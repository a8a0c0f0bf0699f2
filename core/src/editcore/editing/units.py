"""Units on a live model: a side branch on each MLP that they are appended to."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from editcore.patches.units import KIND, count_units
from editcore_hooks import Patch, PatchKind, Session

if TYPE_CHECKING:
    from editcore.editing.session import Session as OpenSession


class FfnUnits(PatchKind):
    """Neurons appended to MLPs. In memory they run beside the MLP; `editcore.editing.folding` puts them into files."""

    name = KIND
    summary = "neurons appended to MLPs"
    kind: ClassVar[Literal["modules", "memory"]] = "modules"
    reads_branches = True  # a neuron reads one token

    def attach(self, session: Session, patch: Patch) -> str:
        """Raises `WrongBaseError` when the whole base is not the one that the patch was made for."""
        import torch

        from editcore.models.mlp import as_stored, mlp_of, neurons, require_fit
        from editcore.models.offload import device_of
        from editcore.models.side_branches import Branch
        from editcore.patches.resolving import require_base
        from editcore.patches.units import units_of

        opened = cast("OpenSession", session)
        require_base(patch, opened.checkpoint)  # type: ignore[arg-type] # a sealed patch, whoever made it
        stored: torch.dtype = getattr(torch, opened.loaded.stored_dtype)
        device = device_of(opened.model)

        branches = []
        for block, units in units_of(patch.core, patch.tensors).items():
            mlp = mlp_of(opened.anatomy, block)
            require_fit(mlp, block, tuple(units.keys.shape), units.gate is not None)
            parts = units.keys, units.values, units.biases, units.gate
            # Rounded as a folded checkpoint stores them: what is measured in memory is what will be deployed.
            rounded = (None if part is None else as_stored(part, stored, str(block)).to(device) for part in parts)
            compute = neurons(mlp.activation, *rounded)  # type: ignore[arg-type] # keys and values are there
            reads, adds_to = (opened.model.get_submodule(path) for path in (mlp.inner[0], mlp.out))
            branches.append(Branch(reads, adds_to, compute))
        opened.live.branches.put(patch.patch_id, branches)
        return patch.patch_id

    def detach(self, session: Session, handle: str) -> None:
        cast("OpenSession", session).live.branches.take(handle)

    def describe(self, patch: Patch) -> Mapping[str, Any]:
        return {"units": count_units(patch.core)}
