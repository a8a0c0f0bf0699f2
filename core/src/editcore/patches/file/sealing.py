"""Sealing: what a method computed becomes a patch with an id, which from then on cannot change."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from attrs import frozen

from editcore.patches.file import manifest as manifests
from editcore.patches.file.core import RULE, Core, state_parts
from editcore.patches.file.kinds import payload_fault
from editcore.patches.file.patch import Patch, plain_names
from editcore.patches.file.refusal import refuse
from editcore.patches.forms.deltas import StoredUpdate
from editcore.patches.forms.form import FLOATS, Shape
from editcore.storage.canonical import canonical, load_json
from editcore.storage.safetensors_writer import Blob
from editcore.storage.tensors import blob_of
from editcore_hooks import EditcoreError, Payload, PluginError


@frozen
class Target:
    """One tensor to change: the update in stored orientation, and what the base has there; `groups` after a squash."""

    update: StoredUpdate
    base_dtype: str
    base_shape: Shape
    base_sha256: str
    groups: tuple[Mapping[str, Any], ...] = ()


def seal(
    targets: Mapping[str, Target],
    base: Mapping[str, Any],
    about: Mapping[str, Any],
    kind: str = "weights",
    payload: Payload | None = None,
    requires: Sequence[str] = (),
    assets: Sequence[Mapping[str, str]] = (),
    scale: float = 1.0,
    state_increment: Mapping[str, torch.Tensor] | None = None,
) -> Patch:
    """Make a patch of `targets` by checkpoint key, or of a `payload`; `base` and the state go into the annotation.

    Assets are `{"kind", "sha256", "required_at": "compute" | "apply"}`. Raises `EditcoreError` when an update does not
    fit its tensor or is not finite, `PluginError` when a name or a mixture of kinds breaks the contract.
    """
    tensors: dict[str, torch.Tensor] = {}
    core: dict[str, Any] = {
        "kind": kind,
        "apply": {"rule": RULE, "scale": float(scale)},
        "targets": {key: _target(key, target, tensors) for key, target in sorted(targets.items())},
        "requires": sorted(set(requires)),
        "assets": sorted(
            ({name: asset[name] for name in ("kind", "sha256", "required_at")} for asset in assets),
            key=lambda asset: (asset["kind"], asset["sha256"], asset["required_at"]),
        ),
    }
    if payload is not None:
        parts = _parts("payload", payload.tensors, tensors)
        core["payload"] = {"kind": payload.kind, "data": dict(payload.data), "parts": parts}
    annotation = {**plain_names(about), "base": dict(base)}
    if state_increment:
        method = annotation.get("method")
        name = method.get("name", "") if isinstance(method, Mapping) else ""
        annotation["state"] = {"method": name, "parts": _parts("state", state_increment, tensors)}
    # What is sealed is what a reader will see: tuples as lists, 1.0 as 1, and NaN refused now, not when saving.
    core, annotation = load_json(canonical(core), "the update"), load_json(canonical(annotation), "the annotation")
    try:
        checked = Core.read(core, "the update")
        expected = checked.parts | state_parts(annotation, "the update")
        if fault := payload_fault(core, annotation):
            refuse("the update", fault)
    except EditcoreError as error:
        raise PluginError(error.message, hint="the method breaks the contract; report it to its author") from error
    if fault := payload_fault(core, annotation, tensors):
        raise EditcoreError(f"the update is refused: {fault}", hint=_hint(fault))
    if set(expected) != set(tensors):
        raise PluginError("two tensors of the update have one name", hint="report it to the author of the method")
    return Patch(manifests.patch_id_of(core), core, annotation, tensors, checked=checked)


def _target(key: str, target: Target, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    if target.base_dtype not in FLOATS:
        raise EditcoreError(
            f"{key} is stored as {target.base_dtype}: a quantised or integer tensor takes no weight patch",
            hint="use a base in float32, float16 or bfloat16",
        )
    if fault := target.update.fault(target.base_shape):
        raise EditcoreError(f"the update of {key} {fault}", hint=_hint(fault))
    return {
        "form": target.update.form.name,
        "parts": _parts(key, target.update.parts, tensors),
        "shape": list(target.base_shape),
        "base_dtype": target.base_dtype,
        "base_sha256": target.base_sha256,
        **({"groups": [dict(group) for group in target.groups]} if target.groups else {}),
    }


def _hint(fault: str) -> str:
    hint = "report it to the author of the method"
    # what becomes of a step that is too long; a shape is the author's alone
    return f"lower the learning rate, or {hint}" if "not finite" in fault else hint


def _parts(
    prefix: str, values: Mapping[str, torch.Tensor], tensors: dict[str, torch.Tensor]
) -> dict[str, dict[str, Any]]:
    described = {}
    for name, value in sorted(values.items()):
        # A copy: the sealed patch must not follow what a method does to its tensors later.
        tensors[f"{prefix}/{name}"] = kept = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        described[name] = _described(blob_of(kept))
    return described


def _described(blob: Blob) -> dict[str, Any]:
    return {"dtype": blob.dtype, "shape": list(blob.shape), "sha256": hashlib.sha256(blob.data).hexdigest()}
