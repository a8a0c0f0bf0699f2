"""The kind of patch that edits in a scoped memory are. Light: no torch."""

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from editcore_hooks import Anatomy, MemoryKind, Patch, Session, Site, Widths

if TYPE_CHECKING:
    from editcore.authoring.memories import Memory

NETS = ("centre", "spread", "project", "query")


class ScopedKind(MemoryKind):
    """Texts of edits with what the trained nets made of them, and what the nets need to decide on a prompt."""

    name = "serac.scoped"
    summary = "a memory of edits: a trained scope decides by prompt whether a counterfactual model answers"
    unapplied = "a scope decides on each prompt, which a plain load of the folder would not do"
    carried = (
        "A memory of edits of a language model. A trained scope decides by prompt whether a counterfactual "
        "model answers with one of them."
    )

    def memory(self, session: Session, patch: Patch) -> "Memory":
        from editcore.authoring.records import records_of
        from editcore_serac.memory import Entry, Scoped, split
        from editcore_serac.reading import places

        data = patch.core["payload"]["data"]
        parts = {name.removeprefix("payload/"): tensor for name, tensor in patch.tensors.items()}
        where = places(session, data["layer"])
        slots = split(parts["starts"].tolist(), parts["keys"], parts["values"])
        entries = [
            Entry(prompt, vector, *slot)
            for (prompt, _), vector, slot in zip(records_of(patch.tensors), parts["vectors"], slots, strict=True)
        ]
        # nets by their bytes: a patch that only claims to be of the same training is no part of the set
        same = (data["layer"], data["threshold"], *(parts[name].numpy().tobytes() for name in NETS))
        nets = {name: parts[name] for name in NETS}
        return Scoped(where.reads, where.acts, nets, entries, data["threshold"], same)

    def check(self, core: Mapping[str, Any], tensors: Mapping[str, Any] | None = None) -> str | None:
        from editcore.authoring.records import count_records, records_fault

        if fault := _data_fault(core["payload"]["data"]):
            return fault
        if fault := records_fault(core, tensors, 2):
            return fault
        parts = {name: (part["dtype"], tuple(part["shape"])) for name, part in core["payload"]["parts"].items()}
        if set(parts) != {"text", "offsets", "vectors", "keys", "values", "starts", *NETS}:
            return "its parts are not text, offsets, vectors, keys, values, starts and nets"
        if any(len(parts[name][1]) != 2 for name in ("vectors", "keys", "values")):
            return "its vectors, keys and values are not matrices"
        n, (m, r), (p, d) = count_records(core), parts["keys"][1], (parts["vectors"][1][1], parts["values"][1][1])
        wanted = {"vectors": (n, p), "keys": (m, r), "values": (m, d), "starts": (n + 1,)}
        wanted |= {"centre": (2 * d,), "spread": (2 * d,), "project": (2 * d, p), "query": (d, r)}
        for name, shape in wanted.items():
            if parts[name] != ("I64" if name == "starts" else "F32", shape):
                return f"its part {name} does not fit the others"
        if tensors is None:
            return None
        starts = tensors["payload/starts"].tolist()
        if starts[0] != 0 or starts[-1] != m or any(end - begin < 2 for begin, end in pairwise(starts)):
            return "its starts do not divide keys and values among the edits"
        if not all(bool(tensors[f"payload/{name}"].isfinite().all()) for name in wanted if name != "starts"):
            return "it holds values that are not finite"
        return None if bool((tensors["payload/spread"] > 0).all()) else "its spread is not above 0"

    def places(self, patch: Patch, anatomy: Anatomy) -> Mapping[Site, Widths]:
        data, d = patch.core["payload"]["data"], patch.core["payload"]["parts"]["values"]["shape"][1]
        return {Site("block", layer): (d, d) for layer in (data["layer"], anatomy.n_layers - 1)}

    def describe(self, patch: Patch) -> Mapping[str, Any]:
        from editcore.authoring.records import count_records

        data = patch.core["payload"]["data"]
        return {
            "edits": count_records(patch.core),
            "compared by": f"the states of block {data['layer']}",
            "threshold": data["threshold"],
            "nets": data["nets"],
        }

    def diff(self, a: Patch, b: Patch) -> Mapping[str, tuple[Any, Any]]:
        from editcore.authoring.records import compare_records

        return {**super().diff(a, b), **compare_records(a.tensors, b.tensors)}


def _data_fault(data: Any) -> str | None:
    if not isinstance(data, dict) or set(data) != {"layer", "threshold", "nets"}:
        return "its data are not layer, threshold and nets"
    if type(data["layer"]) is not int or data["layer"] < 0:
        return "its layer is not a number from 0"
    if type(data["threshold"]) is not float or not 0 < data["threshold"] < 1:
        return "its threshold is not between 0 and 1"
    return None if isinstance(data["nets"], str) and len(data["nets"]) == 64 else "its nets have no hash"
