"""The kinds of patch that facts in the prompt are. Light: no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from editcore_hooks import Anatomy, MemoryKind, Patch, Session, Site, Widths

if TYPE_CHECKING:
    from editcore.authoring.memories import PromptMemory
    from editcore_hooks.values import Stack

FORMS = ("ike", "sentences")
LEAST = 0.5
"""Cosine from which two facts with other targets are shown as conflicts, whatever their floor."""


class FactsKind(MemoryKind):
    """Facts with the states of the model that they were made for."""

    name = "ike.facts"
    summary = "facts that are put before similar prompts, compared by the states of the model"
    unapplied = "the facts are put into prompts, which a plain load of the folder would not do"
    carried = "Facts that are put before similar prompts of a language model."

    def memory(self, session: Session, patch: Patch) -> "PromptMemory":
        from editcore.authoring.records import records_of
        from editcore_ike.encoding import named, own
        from editcore_ike.memory import Facts, Rule

        data, tensors = patch.core["payload"]["data"], patch.tensors
        encoder = data["encoder"]
        encode = own(session, encoder) if isinstance(encoder, int) else named(encoder)
        key = str(encoder) if isinstance(encoder, int) else encoder["sha256"]
        rule = Rule(data["form"], data["facts"], data["floor"], key)
        parts = (tensors["payload/vectors"], tensors["payload/centre"])
        return Facts(session, rule, encode, records_of(tensors), *parts)

    def check(self, core: Mapping[str, Any], tensors: Mapping[str, Any] | None = None) -> str | None:
        from editcore.authoring.records import count_records, records_fault

        data = core["payload"]["data"]
        if not isinstance(data, dict) or set(data) != {"form", "facts", "floor", "encoder"}:
            return "its data are not form, facts, floor and encoder"
        if data["form"] not in FORMS or type(data["facts"]) is not int or data["facts"] < 1:
            return "its data do not say how facts are put into a prompt"
        if type(data["floor"]) not in (int, float) or not -1 <= data["floor"] <= 1:
            return "its floor is not a cosine"
        if fault := self.encoder_fault(data["encoder"]):
            return fault
        if fault := records_fault(core, tensors, 3):
            return fault
        parts = {name: (part["dtype"], tuple(part["shape"])) for name, part in core["payload"]["parts"].items()}
        if set(parts) != {"text", "offsets", "vectors", "centre"}:
            return "its parts are not text, offsets, vectors and centre"
        (dtype, shape), centre = parts["vectors"], parts["centre"]
        if dtype != "F32" or len(shape) != 2 or shape[0] != count_records(core) or centre != ("F32", shape[1:]):
            return "its vectors are not F32 with a row for each text"
        if tensors is None:
            return None
        if not all(bool(tensors[f"payload/{name}"].isfinite().all()) for name in ("vectors", "centre")):
            return "it holds values that are not finite"
        return None

    def encoder_fault(self, encoder: Any) -> str | None:
        """The fault of what the data say of the encoder: a block of the model itself."""
        return None if type(encoder) is int and encoder >= 0 else "its encoder is not a block of the model"

    def places(self, patch: Patch, anatomy: Anatomy) -> Mapping[Site, Widths]:
        payload = patch.core["payload"]
        stack: Stack = "encoder" if anatomy.model.config.is_encoder_decoder else "decoder"
        return {Site("block", payload["data"]["encoder"], stack): (None, payload["parts"]["vectors"]["shape"][1])}

    def describe(self, patch: Patch) -> Mapping[str, Any]:
        from editcore.authoring.records import count_records

        data = patch.core["payload"]["data"]
        encoder = data["encoder"]
        by = f"the states of block {encoder}" if isinstance(encoder, int) else f"the encoder {encoder['name']}"
        return {"facts": count_records(patch.core), "form": data["form"], "floor": data["floor"], "compared by": by}

    def diff(self, a: Patch, b: Patch) -> Mapping[str, tuple[Any, Any]]:
        from editcore.authoring.records import compare_records
        from editcore_ike.rivals import rivals

        found = {**super().diff(a, b), **compare_records(a.tensors, b.tensors)}
        data, other = a.core["payload"]["data"], b.core["payload"]["data"]
        if data["encoder"] == other["encoder"]:
            found |= rivals(a.tensors, b.tensors, max(data["floor"], other["floor"], LEAST))
        return found


class TextsKind(FactsKind):
    """Facts with the vectors of a sentence encoder: they work on any model."""

    name = "ike.texts"
    summary = "facts that are put before similar prompts of any model, compared by a sentence encoder"
    any_base = True

    def places(self, patch: Patch, anatomy: Anatomy) -> Mapping[Site, Widths]:
        return {}

    def encoder_fault(self, encoder: Any) -> str | None:
        named = isinstance(encoder, dict) and set(encoder) == {"name", "sha256"}
        if named and all(isinstance(value, str) for value in encoder.values()) and len(encoder["sha256"]) == 64:
            return None
        return "its encoder has no name and hash"
