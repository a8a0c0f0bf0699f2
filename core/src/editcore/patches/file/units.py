"""The form `ffn_units`: neurons appended to MLPs. Names and shapes of its parts; closed, and checked without torch.

An MLP of units gives what its own neurons give, and beside it, for an input x, (d,):

    plain   Σᵢ act(kᵢ · x + bᵢ) vᵢ
    gated   Σᵢ act(gᵢ · x + bᵢ) (kᵢ · x) vᵢ

with the activation that the MLP has.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from editcore.patches.forms.form import Shape
from editcore_hooks import Payload, Site
from editcore_hooks.values import Stack, Tensor

KIND: Final = "ffn_units"
PARTS: Final = ("keys", "values", "biases", "gate")
_NAME: Final = re.compile(r"(decoder|encoder)\.(0|[1-9]\d{0,5})\.(keys|values|biases|gate)")


@frozen
class Units:
    """n neurons of one MLP: `keys` and `values` (n, d), `biases` (n,), `gate` (n, d) of a gated MLP; float32."""

    keys: Tensor = field(eq=False)
    values: Tensor = field(eq=False)
    biases: Tensor | None = field(default=None, eq=False)
    gate: Tensor | None = field(default=None, eq=False)

    @property
    def count(self) -> int:
        return int(self.keys.shape[0])


def units_payload(units: Mapping[Site, Units]) -> Payload:
    """Units for a method's Update, by their block, as `Site("block", 3)`."""
    tensors = {}
    for site, some in units.items():
        for part in PARTS:
            value = getattr(some, part)
            if value is not None:
                tensors[f"{site.stack}.{site.layer}.{part}"] = value.detach().float()
    return Payload(KIND, {}, tensors)


def units_of(core: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[Site, Units]:
    """The units of a sealed patch by block."""
    parts: dict[Site, dict[str, Tensor]] = {}
    for name in core["payload"]["parts"]:
        site, part = _placed(name)
        parts.setdefault(site, {})[part] = tensors[f"payload/{name}"]
    return {site: Units(**parts[site]) for site in sorted(parts, key=lambda site: (site.stack, site.layer or 0))}


def count_units(core: Mapping[str, Any]) -> dict[str, int]:
    """The number of units by stack and layer, `decoder.3`, as the manifest says."""
    parts: Mapping[str, Any] = core["payload"]["parts"]
    return {
        name.removesuffix(".keys"): part["shape"][0] for name, part in sorted(parts.items()) if name.endswith(".keys")
    }


def units_fault(data: Any, parts: Mapping[str, tuple[str, Shape]]) -> str | None:
    """The fault of a payload of units, its parts given as dtype and shape, or None."""
    if data != {}:
        return "has units with data beside their parts"
    by_place: dict[str, dict[str, Shape]] = {}
    for name, (dtype, shape) in parts.items():
        if not _NAME.fullmatch(name):
            return f"has the part {name!r}, which does not match STACK.LAYER.{{{','.join(PARTS)}}}"
        if dtype != "F32":
            return f"has {dtype} in its part {name}, but units are F32"
        place, _, part = name.rpartition(".")
        by_place.setdefault(place, {})[part] = shape
    if not by_place:
        return "has no units"
    for place, shapes in by_place.items():
        keys = shapes.get("keys", ())
        if len(keys) != 2 or 0 in keys:
            return f"has no keys (n, d) in {place}"
        wanted = {"keys": keys, "values": keys, "biases": keys[:1], "gate": keys}
        wrong = [part for part, shape in shapes.items() if shape != wanted[part]]
        if wrong or "values" not in shapes:
            return f"has {(wrong or ['values'])[0]} in {place} that do not fit keys {keys}"
    return None


def _placed(name: str) -> tuple[Site, str]:
    stack, layer, part = name.split(".")
    named: Stack = "encoder" if stack == "encoder" else "decoder"
    return Site("block", int(layer), named), part


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a part of the payload that holds an infinite value or NaN, or None."""
    parts = (name for name in sorted(tensors) if name.startswith("payload/"))
    return next((name for name in parts if not bool(tensors[name].isfinite().all())), None)
