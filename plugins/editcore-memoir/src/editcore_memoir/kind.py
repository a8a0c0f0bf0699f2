"""The kind of patch that an increment of a residual memory is. Light: no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from editcore_hooks import Anatomy, MemoryKind, Patch, Session, Site, Widths

if TYPE_CHECKING:
    from editcore.authoring.memories import Memory

DATA: Final = ("layer", "stack", "token", "active", "permutation")


class ResidualKind(MemoryKind):
    """Masks of edits at one down projection, and what they added to the columns of the memory beside it."""

    name = "memoir.residual"
    summary = "a residual memory beside one MLP matrix: each prompt uses the columns of the nearest edit, or none"
    unapplied = "which columns act depends on the prompt, which a plain load of the folder would not do"
    carried = (
        "A residual memory beside one matrix of a language model. A prompt that is like that of an edit uses "
        "its columns; every other prompt uses none."
    )

    def memory(self, session: Session, patch: Patch) -> "Memory":
        from editcore_hooks import Site
        from editcore_memoir.memory import Residual, Written

        data = patch.core["payload"]["data"]
        parts = {name.removeprefix("payload/"): tensor for name, tensor in patch.tensors.items()}
        site = Site("mlp_out", data["layer"], stack=data["stack"])
        return Residual(site, [Written.of(data, parts)], session.device)

    def check(self, core: Mapping[str, Any], tensors: Mapping[str, Any] | None = None) -> str | None:
        from editcore.authoring.records import count_records, records_fault

        data = core["payload"]["data"]
        if fault := _data_fault(data) or records_fault(core, tensors, 2):
            return fault
        parts = {name: (part["dtype"], tuple(part["shape"])) for name, part in core["payload"]["parts"].items()}
        if set(parts) != {"text", "offsets", "masks", "thresholds", "columns", "matrix", "mean"}:
            return "its parts are not text, offsets, masks, thresholds, columns, matrix and mean"
        if len(parts["mean"][1]) != 1 or len(parts["columns"][1]) != 1 or len(parts["matrix"][1]) != 2:
            return "its mean and columns are not vectors, or its matrix has other than two dimensions"
        n, (d,), (u,), d_out = count_records(core), parts["mean"][1], parts["columns"][1], parts["matrix"][1][1]
        wanted = {"masks": ("U8", (n, -(-d // 8))), "columns": ("I64", (u,)), "mean": ("F32", (d,))}
        wanted |= {"matrix": ("F32", (u, d_out)), "thresholds": ("F32", (n,))}
        for name, form in wanted.items():
            if parts[name] != form:
                return f"its part {name} does not fit the others"
        if data["active"] > d:
            return f"its masks have {data['active']} of {d} columns"
        return None if tensors is None else _tensors_fault(data, tensors, d)

    def places(self, patch: Patch, anatomy: Anatomy) -> Mapping[Site, Widths]:
        data, parts = patch.core["payload"]["data"], patch.core["payload"]["parts"]
        widths = parts["mean"]["shape"][0], parts["matrix"]["shape"][1]
        return {Site("mlp_out", data["layer"], data["stack"]): widths}

    def describe(self, patch: Patch) -> Mapping[str, Any]:
        from editcore.authoring.records import count_records

        data, parts = patch.core["payload"]["data"], patch.core["payload"]["parts"]
        (d,), (u,) = parts["mean"]["shape"], parts["columns"]["shape"]
        return {
            "edits": count_records(patch.core),
            "place": f"{data['stack']}.{data['layer']}.mlp_out",
            "columns": f"{data['active']} of {d} an edit, {u} written",
            "recognised by": {"last": "the last prompt token", "mean": "the mean of the prompt"}[data["token"]],
        }

    def diff(self, a: Patch, b: Patch) -> Mapping[str, tuple[Any, Any]]:
        from editcore.authoring.records import compare_records

        return {**super().diff(a, b), **compare_records(a.tensors, b.tensors)}

    def taken_back(self, patch: Patch) -> str:
        from editcore.authoring.records import count_records

        n = count_records(patch.core)
        edits = f"its {n} edits go together" if n > 1 else "its edit goes"
        return (
            f"{edits}, with all that it wrote; a later edit that shares columns was trained beside it and may answer "
            "otherwise"
        )


def _data_fault(data: Any) -> str | None:
    if not isinstance(data, dict) or set(data) != set(DATA):
        return f"its data are not {', '.join(DATA)}"
    if any(type(data[name]) is not int or data[name] < 0 for name in ("layer", "active", "permutation")):
        return "its layer, active and permutation are not numbers from 0"
    if data["active"] < 1 or data["stack"] not in ("decoder", "encoder") or data["token"] not in ("last", "mean"):
        return "its data do not say how a prompt is recognised"
    return None


def _tensors_fault(data: Mapping[str, Any], tensors: Mapping[str, Any], d: int) -> str | None:
    from editcore_memoir.fingerprints import pack, unpack

    packed, columns = tensors["payload/masks"], tensors["payload/columns"]
    if not all(bool(tensors[f"payload/{name}"].isfinite().all()) for name in ("matrix", "mean", "thresholds")):
        return "it holds values that are not finite"
    if not bool(((tensors["payload/thresholds"] > 0) & (tensors["payload/thresholds"] <= 1)).all()):
        return "its thresholds are not above 0 and at most 1"
    masks = unpack(packed, d)
    if not bool((pack(masks) == packed).all()) or not bool((masks.sum(-1) == data["active"]).all()):
        return f"its masks do not have {data['active']} columns each"
    if columns.tolist() != masks.any(0).nonzero()[:, 0].tolist():
        return "its columns are not those of its masks"
    return None
