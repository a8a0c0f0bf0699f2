"""The kind of patch that parts of side matrices are. Light: no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from editcore_hooks import Anatomy, MemoryKind, Patch, Session, Site, Widths
from editcore_wise.faults import data_fault, shapes_fault, values_fault

if TYPE_CHECKING:
    from editcore.authoring.memories import Memory


class SideKind(MemoryKind):
    """Sparse changes of a side copy of one MLP down projection, by shard, and the distances that a router goes by.

    It cannot be folded: the weights would answer every prompt with the changes, and the router is what spares the rest.
    """

    name = "wise.side"
    summary = "side copies of one MLP matrix: a router decides by prompt which of them answers"
    unapplied = "a router decides on each prompt, which a plain load of the folder would not do"
    carried = (
        "Changes of a side copy of one matrix of a language model. A router decides by prompt whether the copy answers."
    )

    def memory(self, session: Session, patch: Patch) -> "Memory":
        from editcore.authoring.models import mlp_of
        from editcore_wise.payload import parts_of, rule_of
        from editcore_wise.side import Side

        rule = rule_of(patch)
        activation = mlp_of(session.anatomy, Site("block", rule.layer)).activation
        return Side(rule, activation, parts_of(patch))

    def check(self, core: Mapping[str, Any], tensors: Mapping[str, Any] | None = None) -> str | None:
        from editcore.authoring.records import count_records, records_fault

        data = core["payload"]["data"]
        if fault := data_fault(data) or records_fault(core, tensors, 2):
            return fault
        parts = {name: (part["dtype"], tuple(part["shape"])) for name, part in core["payload"]["parts"].items()}
        if fault := shapes_fault(data, parts, count_records(core)):
            return fault
        return None if tensors is None else values_fault(data, tensors)

    def places(self, patch: Patch, anatomy: Anatomy) -> Mapping[Site, Widths]:
        data = patch.core["payload"]["data"]
        d_out, d_in = data["shape"]
        return {Site("mlp_out", data["layer"]): (d_in, d_out)}

    def describe(self, patch: Patch) -> Mapping[str, Any]:
        from editcore.authoring.records import count_records

        payload = patch.core["payload"]
        data, entries = payload["data"], payload["parts"]["values"]["shape"][0]
        return {
            "edits": count_records(patch.core),
            "place": f"decoder.{data['layer']}.mlp_out",
            "shards": [shard["name"] for shard in data["shards"]],
            "entries": f"{entries:,} of {data['shape'][0] * data['shape'][1]:,}",
            "act_ratio": data["act_ratio"],
            "shard_edits": data["shard_edits"],
            "merge": data["merge"],
            "retrieve": data["retrieve"],
        }

    def diff(self, a: Patch, b: Patch) -> Mapping[str, tuple[Any, Any]]:
        from editcore.authoring.records import compare_records
        from editcore_wise.comparing import compare_shards

        return {**super().diff(a, b), **compare_records(a.tensors, b.tensors), **compare_shards(a, b)}

    def taken_back(self, patch: Patch) -> str:
        """Within a patch edits share entries of the matrix; between patches only the shard that both add to is
        shared."""
        edits = len(patch.about.get("requests") or ())
        together = f"its {edits} edits go together" if edits > 1 else "its edit goes"
        return (
            f"{together}, and every entry of the side matrix is as without it; edits that were made after it in the "
            "same shard were fitted with it there, and may answer otherwise now"
        )
