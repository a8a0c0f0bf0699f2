"""The kind of patch that routed low-rank blocks are. Light: no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from editcore_hooks import Anatomy, MemoryKind, Patch, Session, Site, Widths

if TYPE_CHECKING:
    from editcore.authoring.memories import Memory

ROLES: Final = ("mlp_in", "mlp_gate", "mlp_out", "attn_out")
FIXED: Final = ("text", "offsets", "keys", "radii", "block")


class RoutedKind(MemoryKind):
    """Keys and radii of edits at the output of one block, and the low-rank blocks that answer for them."""

    name = "melo.routed"
    summary = "low-rank blocks beside later matrices; a vector database routes each prompt to one of them, or none"
    unapplied = "which block acts depends on the prompt, which a plain load of the folder would not do"
    carried = (
        "Low-rank blocks beside a language model. A prompt that is near that of an edit is routed to its "
        "block; every other prompt to none."
    )

    def memory(self, session: Session, patch: Patch) -> "Memory":
        from editcore.authoring.records import records_of
        from editcore_hooks import Site
        from editcore_melo.routed import Blocks, Routed

        data = patch.core["payload"]["data"]
        parts = {name.removeprefix("payload/"): tensor for name, tensor in patch.tensors.items()}
        labels = tuple(target.strip() for _, target in records_of(patch.tensors))
        sites = [Site(role, layer, stack) for role, layer, stack in data["sites"]]
        factors = {site: (parts[f"{i}.in"], parts[f"{i}.out"]) for i, site in enumerate(sites)}
        held = Blocks(parts["keys"], parts["radii"], labels, parts["block"], factors)
        return Routed(Site("block", data["layer"], data["stack"]), data["rank"], [held], session.device)

    def check(self, core: Mapping[str, Any], tensors: Mapping[str, Any] | None = None) -> str | None:
        from editcore.authoring.records import records_fault

        data = core["payload"]["data"]
        if fault := _data_fault(data) or records_fault(core, tensors, 2) or _parts_fault(core, data):
            return fault
        if tensors is None:
            return None
        floats = [name for name in core["payload"]["parts"] if name not in ("text", "offsets", "block")]
        if not all(bool(tensors[f"payload/{name}"].isfinite().all()) for name in floats):
            return "it holds values that are not finite"
        if not bool((tensors["payload/radii"] > 0).all()):
            return "it has radii that are not above 0"
        used = sorted(set(tensors["payload/block"].tolist()))
        n = core["payload"]["parts"]["0.in"]["shape"][0]
        return None if used == list(range(n)) else "its edits do not use its blocks, each at least once"

    def places(self, patch: Patch, anatomy: Anatomy) -> Mapping[Site, Widths]:
        data, parts = patch.core["payload"]["data"], patch.core["payload"]["parts"]
        acts = {
            Site(role, layer, stack): (parts[f"{i}.in"]["shape"][2], parts[f"{i}.out"]["shape"][1])
            for i, (role, layer, stack) in enumerate(data["sites"])
        }
        return {Site("block", data["layer"], data["stack"]): (None, parts["keys"]["shape"][1]), **acts}

    def describe(self, patch: Patch) -> Mapping[str, Any]:
        from editcore.authoring.records import count_records

        data, parts = patch.core["payload"]["data"], patch.core["payload"]["parts"]
        return {
            "edits": count_records(patch.core),
            "blocks": parts["0.in"]["shape"][0],
            "rank": data["rank"],
            "looked up at": f"{data['stack']}.{data['layer']}.block",
            "act at": [f"{stack}.{layer}.{role}" for role, layer, stack in data["sites"]],
        }

    def diff(self, a: Patch, b: Patch) -> Mapping[str, tuple[Any, Any]]:
        from editcore.authoring.records import compare_records

        return {**super().diff(a, b), **compare_records(a.tensors, b.tensors)}


def _data_fault(data: Any) -> str | None:
    if not isinstance(data, dict) or set(data) != {"layer", "stack", "rank", "sites"}:
        return "its data are not layer, stack, rank and sites"
    if type(data["layer"]) is not int or data["layer"] < 0 or data["stack"] not in ("decoder", "encoder"):
        return "it names no block of a decoder or an encoder"
    if type(data["rank"]) is not int or data["rank"] < 1:
        return "its rank is not a number from 1"
    sites = data["sites"]
    if not isinstance(sites, list) or not sites or not all(map(_is_site, sites)):
        return "its sites are not matrices of blocks"
    if len({tuple(site) for site in sites}) < len(sites):
        return "its sites are not matrices of blocks, each once"
    early = [site for site in sites if site[2] == data["stack"] and site[1] <= data["layer"]]
    if early or (data["stack"] == "decoder" and any(site[2] == "encoder" for site in sites)):
        return "its sites run before the block where prompts are looked up"
    return None


def _is_site(site: Any) -> bool:
    if not isinstance(site, list) or len(site) != 3:
        return False
    role, layer, stack = site
    return role in ROLES and type(layer) is int and layer >= 0 and stack in ("decoder", "encoder")


def _parts_fault(core: Mapping[str, Any], data: Mapping[str, Any]) -> str | None:
    from editcore.authoring.records import count_records

    parts = {name: (part["dtype"], tuple(part["shape"])) for name, part in core["payload"]["parts"].items()}
    factors = [f"{i}.{side}" for i in range(len(data["sites"])) for side in ("in", "out")]
    if set(parts) != {*FIXED, *factors}:
        return "its parts are not text, offsets, keys, radii, block and the factors of its sites"
    n = count_records(core)
    if parts["radii"] != ("F32", (n,)) or parts["block"] != ("I64", (n,)):
        return "its radii and blocks are not one for each text"
    if parts["keys"][0] != "F32" or len(parts["keys"][1]) != 2 or parts["keys"][1][0] != n:
        return "its keys are not F32 with a row for each text"
    count = parts["0.in"][1][:1]
    for name in factors:
        dtype, shape = parts[name]
        if (
            dtype != "F32"
            or len(shape) != 3
            or shape[:1] != count
            or shape[1 if name.endswith("in") else 2] != data["rank"]
        ):
            return f"its part {name} does not hold F32 factors of its blocks"
    return None
