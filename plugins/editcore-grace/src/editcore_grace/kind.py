"""The kind of patch that a codebook is. Light: no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from editcore_grace.place import described, place_fault, site_of
from editcore_hooks import Anatomy, MemoryKind, Patch, Session, Site, Widths

if TYPE_CHECKING:
    from editcore.authoring.memories import Memory


class CodebookKind(MemoryKind):
    """Keys, values and radii of edits at one layer, with the texts that they were made for."""

    name = "grace.codebook"
    summary = "a codebook beside one layer: entries replace its output for prompts near their key"
    carried = (
        "A codebook beside one layer of a language model. It replaces the layer's output for prompts near its keys."
    )

    def memory(self, session: Session, patch: Patch) -> "Memory":
        from editcore.authoring.records import records_of
        from editcore_grace.codebook import Codebook

        data, tensors = patch.core["payload"]["data"], patch.tensors
        keys, values, radii = (tensors[f"payload/{name}"] for name in ("keys", "values", "radii"))
        labels = [target.strip() for _, target in records_of(tensors)]
        return Codebook(site_of(data), data["replace"], data["expand"], keys, values, radii, labels)

    def check(self, core: Mapping[str, Any], tensors: Mapping[str, Any] | None = None) -> str | None:
        from editcore.authoring.records import count_records, records_fault

        data = core["payload"]["data"]
        if fault := _data_fault(data):
            return fault
        if fault := records_fault(core, tensors, 2):
            return fault
        n = count_records(core)
        parts = {name: (part["dtype"], tuple(part["shape"])) for name, part in core["payload"]["parts"].items()}
        if set(parts) != {"keys", "values", "radii", "text", "offsets"}:
            return "its parts are not keys, values, radii, text and offsets"
        for name in ("keys", "values", "radii"):
            dtype, shape = parts[name]
            if dtype != "F32" or shape[:1] != (n,) or len(shape) != (1 if name == "radii" else 2):
                return f"its part {name} is not F32 with a row for each of {n} texts"
        if tensors is None:
            return None
        if not all(bool(tensors[f"payload/{name}"].isfinite().all()) for name in ("keys", "values", "radii")):
            return "it holds values that are not finite"
        return None if bool((tensors["payload/radii"] > 0).all()) else "it has radii that are not above 0"

    def places(self, patch: Patch, anatomy: Anatomy) -> Mapping[Site, Widths]:
        data, parts = patch.core["payload"]["data"], patch.core["payload"]["parts"]
        return {site_of(data): (parts["keys"]["shape"][1], parts["values"]["shape"][1])}

    def describe(self, patch: Patch) -> Mapping[str, Any]:
        from editcore.authoring.records import count_records

        return {"entries": count_records(patch.core), **described(patch.core["payload"]["data"])}

    def diff(self, a: Patch, b: Patch) -> Mapping[str, tuple[Any, Any]]:
        from editcore.authoring.records import compare_records
        from editcore_grace.overlaps import overlaps

        found = {**super().diff(a, b), **compare_records(a.tensors, b.tensors)}
        if a.core["payload"]["data"] == b.core["payload"]["data"]:
            found |= overlaps(a.tensors, b.tensors)
        return found


def _data_fault(data: Any) -> str | None:
    if not isinstance(data, dict) or set(data) != {"role", "layer", "stack", "replace", "expand"}:
        return "its data are not role, layer, stack, replace and expand"
    if type(data["expand"]) is not bool:
        return "its data do not say what is replaced"
    return place_fault(data)
