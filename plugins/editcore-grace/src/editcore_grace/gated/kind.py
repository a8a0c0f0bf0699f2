"""The kind of patch that a gate with its map is. Light: no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from editcore_grace.place import described, place_fault, site_of
from editcore_hooks import Anatomy, MemoryKind, Patch, Session, Site, Widths

if TYPE_CHECKING:
    from editcore.authoring.memories import Memory

DATA = {"form", "role", "layer", "stack", "replace"}


class GatedKind(MemoryKind):
    """One gate and one map for all edits of a patch at one layer, and the texts that they were made for."""

    name = "grace.gated"
    summary = "a gate beside one layer: where it opens, a small map or a memory network replaces the output"
    carried = (
        "A gate beside one layer of a language model. Where it opens for a prompt, a small trained map "
        "replaces the layer's output."
    )

    def memory(self, session: Session, patch: Patch) -> "Memory":
        from editcore.authoring.records import records_of
        from editcore_grace.gated.memory import Gated, Given
        from editcore_grace.gated.sides import PARTS, Side

        data = patch.core["payload"]["data"]
        side = Side.of(data["form"], [patch.tensors[f"payload/{name}"] for name in PARTS[data["form"]]])
        prompts = tuple(prompt for prompt, _ in records_of(patch.tensors))
        return Gated(site_of(data), data["replace"], [Given(side, prompts)])

    def check(self, core: Mapping[str, Any], tensors: Mapping[str, Any] | None = None) -> str | None:
        from editcore.authoring.records import records_fault

        data = core["payload"]["data"]
        if not isinstance(data, dict) or set(data) != DATA or data["form"] not in SHAPES:
            return "its data are not form, role, layer, stack and replace"
        if fault := place_fault(data) or records_fault(core, tensors, 2):
            return fault
        parts = {name: (part["dtype"], tuple(part["shape"])) for name, part in core["payload"]["parts"].items()}
        shapes = SHAPES[data["form"]]
        found: dict[str, int] = {}
        if set(parts) != {*shapes, "text", "offsets"}:
            return f"its parts are not {', '.join(shapes)}, text and offsets"
        for name, sizes in shapes.items():
            dtype, shape = parts[name]
            if dtype != "F32" or len(shape) != len(sizes) or 0 in shape:
                return f"its part {name} is not F32 of {len(sizes)} dimensions"
            if any(found.setdefault(size, n) != n for size, n in zip(sizes, shape, strict=True)):
                return f"its part {name} does not fit the others"
        if found["keys"] != 1 and data["form"] == "defer":
            return "its gate has not one key"
        if tensors is None or all(bool(tensors[f"payload/{name}"].isfinite().all()) for name in shapes):
            return None
        return "it holds values that are not finite"

    def places(self, patch: Patch, anatomy: Anatomy) -> Mapping[Site, Widths]:
        data, parts = patch.core["payload"]["data"], patch.core["payload"]["parts"]
        out = "constant" if data["form"] == "defer" else "values"  # (out,) or (keys, out)
        return {site_of(data): (parts["keys"]["shape"][1], parts[out]["shape"][-1])}

    def describe(self, patch: Patch) -> Mapping[str, Any]:
        from editcore.authoring.records import count_records

        data = patch.core["payload"]["data"]
        return {"edits": count_records(patch.core), "form": data["form"], **described(data)}

    def taken_back(self, patch: Patch) -> str:
        n = len(patch.about.get("requests") or ())
        edits = f"its {n} edits share one gate and go together" if n > 1 else "its edit goes"
        return f"{edits}; the others answer as if it had never been attached"

    def diff(self, a: Patch, b: Patch) -> Mapping[str, tuple[Any, Any]]:
        from editcore.authoring.records import compare_records

        return {**super().diff(a, b), **compare_records(a.tensors, b.tensors)}


SHAPES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "defer": {"keys": ("keys", "in"), "bias": (), "down": ("rank", "in"), "up": ("out", "rank"), "constant": ("out",)},
    "memory-network": {"keys": ("keys", "in"), "bias": (), "values": ("keys", "out")},
}
"""Names of the sizes of each part, by form."""
