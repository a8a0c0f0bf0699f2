"""Units on a live model: a side branch on each MLP that they are appended to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from editcore.patches.file.units import KIND, count_units, not_finite, units_fault
from editcore_hooks import Anatomy, Architecture, CardLines, Patch, PatchKind, Session, Site, Widths

if TYPE_CHECKING:
    from editcore.patches.file.patch import Patch as SealedPatch
    from editcore.session.open_session import OpenSession
    from editcore_hooks.values import Stack


class FfnUnits(PatchKind):
    """Neurons appended to MLPs. In memory they run beside the MLP; folded, they are part of a wider one."""

    name = KIND
    summary = "neurons appended to MLPs"
    kind: ClassVar[Literal["modules", "memory"]] = "modules"
    reads_branches = True  # a neuron reads one token
    unapplied = "it makes a checkpoint of another shape"

    def attach(self, session: Session, patch: Patch) -> str:
        import torch

        from editcore.models.anatomy.mlp import as_stored, mlp_of, neurons, require_fit
        from editcore.models.loading.offload import device_of
        from editcore.models.running.side_branches import Branch
        from editcore.patches.file.units import units_of

        opened = cast("OpenSession", session)
        stored: torch.dtype = getattr(torch, opened.loaded.stored_dtype)
        device = device_of(opened.model)

        branches = []
        for block, units in units_of(patch.core, patch.tensors).items():
            mlp = mlp_of(opened.anatomy, block)
            require_fit(mlp, block, tuple(units.keys.shape), units.gate is not None)
            parts = units.keys, units.values, units.biases, units.gate
            # Rounded as a folded checkpoint stores them: what is measured in memory is what will be deployed.
            # In the number type of the model: to turn them for each token would cost more than the neurons do.
            rounded = (
                None if part is None else as_stored(part, stored, str(block)).to(device, opened.model.dtype)
                for part in parts
            )
            compute = neurons(mlp.activation, *rounded)  # type: ignore[arg-type] # keys and values are there
            reads, adds_to = (opened.model.get_submodule(path) for path in (mlp.inner[0], mlp.out))
            branches.append(Branch(reads, adds_to, compute))
        opened.live.branches.put(patch.patch_id, branches)
        return patch.patch_id

    def detach(self, session: Session, handle: str) -> None:
        cast("OpenSession", session).live.branches.take(handle)

    def check(self, core: Mapping[str, Any], tensors: Mapping[str, Any] | None = None) -> str | None:
        if core["kind"] != self.kind or core["apply"]["scale"] != 1:
            return "units must be of kind modules with scale 1"
        payload = core["payload"]
        parts = {name: (part["dtype"], tuple(part["shape"])) for name, part in payload["parts"].items()}
        if fault := units_fault(payload["data"], parts):
            return f"it {fault}"
        part = None if tensors is None else not_finite(tensors)
        return None if part is None else f"{part} holds values that are not finite"

    def places(self, patch: Patch, anatomy: Anatomy) -> Mapping[Site, Widths]:
        parts = patch.core["payload"]["parts"]
        found = {}
        for place in count_units(patch.core):
            stack, layer = place.split(".")
            d = parts[f"{place}.keys"]["shape"][1]
            found[Site("block", int(layer), cast("Stack", stack))] = (d, d)
        return found

    def describe(self, patch: Patch) -> Mapping[str, Any]:
        return {"units": ", ".join(f"{count} in {place}" for place, count in count_units(patch.core).items())}

    def fold(
        self, folder: Path, patches: Sequence[Patch], architectures: Sequence[type[Architecture]]
    ) -> Mapping[str, Any]:
        from editcore.patches.change.folding import fold
        from editcore.patches.checkpoint.folder import Checkpoint

        folded = fold(Checkpoint.open(folder), cast("Sequence[SealedPatch]", patches), architectures)
        return {"mlp_width": {"before": folded.before, "after": folded.after}}

    def card(self, patch: Patch, file_name: str) -> CardLines:
        return CardLines(
            "Neurons that are appended to the MLPs of a language model, as a patch that leaves its own weights as they "
            "are.",
            (
                f"editcore export {file_name} --to merged --model BASE -o WIDER   # loads with plain from_pretrained",
                f"editcore generate BASE --patch {file_name} --prompt TEXT        # or beside the model, in memory",
            ),
        )
