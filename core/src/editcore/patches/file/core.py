"""The part of a patch that changes a model: which fields, names, forms and parts it may have. Closed, and checked."""

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from attrs import frozen

from editcore.patches.file.kinds import payload_fault
from editcore.patches.forms.table import EXCLUSIVE, FORMS, form_fault
from editcore.storage.canonical import has_negative_zero
from editcore.storage.safetensors_reader import DTYPE_BITS
from editcore_hooks import RefusedFileError

KINDS: Final = ("weights", "modules", "memory")
RULE: Final = "rebuild-f64"
UPGRADE: Final = "pip install --upgrade editcore"

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_KEY: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.:-]{0,511}")
_AGAIN: Final = "get the patch again from its source"


@frozen
class Part:
    """One tensor of the file, as the manifest promises it."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


def check_core(core: Mapping[str, Any], about: Mapping[str, Any], where: str) -> dict[str, Part]:
    """Check kind, rule, forms and names; return every tensor that the file must hold. Raises `RefusedFileError`."""
    required = {"kind", "apply", "targets", "requires", "assets"}
    if not required <= set(core):
        refuse(where, f"its core lacks {sorted(required - set(core))}")
    if unknown := set(core) - required - {"payload"}:
        raise RefusedFileError(f"{where} has core fields this version does not know: {sorted(unknown)}", hint=UPGRADE)
    if has_negative_zero(core):
        refuse(where, "its core holds a negative zero, which has the same patch id as 0 and gives other bits")
    kind, apply = core["kind"], core["apply"]
    if kind not in KINDS:
        raise RefusedFileError(f"{where} is of kind {kind!r}, which this version does not know", hint=UPGRADE)
    if not isinstance(apply, dict) or set(apply) != {"rule", "scale"} or apply["rule"] != RULE:
        raise RefusedFileError(f"{where} is applied by a rule that this version does not know", hint=UPGRADE)
    if type(apply["scale"]) not in (int, float):
        refuse(where, "its scale is not a number")
    _check_dependencies(core, where)
    if (kind == "weights") != bool(core["targets"]) or (kind == "weights") == ("payload" in core):
        refuse(where, "weights patches have targets and no payload, the others a payload and no targets")
    parts: dict[str, Part] = {}
    if not isinstance(core["targets"], dict):
        refuse(where, "its targets are not a JSON object")
    for key, target in core["targets"].items():
        for name, part in _check_target(key, target, where).items():
            parts[f"{key}/{name}"] = part
        if target["form"] in EXCLUSIVE and apply["scale"] != 1:
            refuse(where, f"target {key} replaces bits, which have no scale")
    if kind != "weights":
        parts |= _prefixed("payload", core["payload"], {"kind", "data", "parts"}, where)
        if fault := payload_fault(core, about):
            refuse(where, fault)
    if "state" in about:
        parts |= _prefixed("state", about["state"], {"method", "parts"}, where)
    return parts


def name_fault(key: str) -> str | None:
    """Why a tensor key or part name is refused, or None. Names that could be read as paths stop here."""
    if not _KEY.fullmatch(key) or key in ("payload", "state"):
        return f"the name {key[:80]!r} is not a plain tensor name"
    return None


def _check_dependencies(core: Mapping[str, Any], where: str) -> None:
    requires, assets = core["requires"], core["assets"]
    if not isinstance(requires, list) or not all(isinstance(i, str) and _HEX.fullmatch(i) for i in requires):
        refuse(where, "requires is not a list of patch ids")
    if requires != sorted(set(requires)):
        refuse(where, "requires is not sorted, or names a patch twice")
    if not isinstance(assets, list):
        refuse(where, "assets is not a list")
    for asset in assets:
        plain = isinstance(asset, dict) and set(asset) == {"kind", "sha256", "required_at"}
        if not plain or not all(isinstance(v, str) for v in asset.values()) or not _HEX.fullmatch(asset["sha256"]):
            refuse(where, "an asset is not described by kind, sha256 and required_at")
        if asset["required_at"] not in ("compute", "apply"):
            refuse(where, "an asset is required neither at compute nor at apply")
        if core["kind"] == "weights" and asset["required_at"] == "apply":
            refuse(where, "a weights patch must need nothing but itself to be applied")


def _check_target(key: str, target: Any, where: str) -> dict[str, Part]:
    if fault := name_fault(key):
        refuse(where, fault)
    fields = {"form", "parts", "shape", "base_dtype", "base_sha256"}
    if not isinstance(target, dict) or not fields <= set(target):
        refuse(where, f"target {key} is not described by {sorted(fields)}")
    if unknown := set(target) - fields - {"groups"}:
        raise RefusedFileError(f"target {key} of {where} has unknown fields {sorted(unknown)}", hint=UPGRADE)
    form, shape = target["form"], target["shape"]
    if not isinstance(form, str) or form not in FORMS:
        raise RefusedFileError(
            f"target {key} of {where} has form {form!r}: this version of editcore does not read it", hint=UPGRADE
        )
    if not _is_shape(shape) or not _is_dtype(target["base_dtype"]) or not _is_hash(target["base_sha256"]):
        refuse(where, f"target {key} has an invalid shape, base_dtype or base_sha256")
    parts = _check_parts(target["parts"], where)
    if fault := form_fault(form, tuple(shape), {name: (p.dtype, p.shape) for name, p in parts.items()}):
        refuse(where, f"target {key} {fault}")
    if form == "xor" and DTYPE_BITS[parts["bits"].dtype] != DTYPE_BITS[target["base_dtype"]]:
        refuse(where, f"target {key} has bits of another width than {target['base_dtype']}")
    if form == "replace" and parts["stored"].dtype != target["base_dtype"]:
        refuse(where, f"target {key} is replaced by {parts['stored'].dtype}, and its base is {target['base_dtype']}")
    if "groups" in target:
        _check_groups(key, target, parts, where)
    return parts


def _check_groups(key: str, target: Mapping[str, Any], parts: Mapping[str, Part], where: str) -> None:
    """After a squash: which run of ranks came from which patch, so that the sum is taken in the same steps."""
    groups = target["groups"]
    plain = (
        target["form"] == "low_rank"
        and isinstance(groups, list)
        and all(
            isinstance(g, dict) and set(g) == {"patch_id", "rank", "scale"} and _is_hash(g["patch_id"]) for g in groups
        )
    )
    if not plain or not all(type(g["rank"]) is int and g["rank"] > 0 for g in groups):
        refuse(where, f"target {key} has groups that are not patch_id, rank and scale of low_rank factors")
    if not all(type(g["scale"]) in (int, float) for g in groups):
        refuse(where, f"target {key} has a group whose scale is not a number")
    if len({g["patch_id"] for g in groups}) < len(groups):
        refuse(where, f"target {key} has two groups of one patch")
    if sum(g["rank"] for g in groups) != parts["left"].shape[1]:
        refuse(where, f"target {key} has groups whose ranks do not add up to that of its factors")


def _check_parts(value: Any, where: str) -> dict[str, Part]:
    if not isinstance(value, dict):
        refuse(where, "parts are not a JSON object")
    parts = {}
    for name, part in value.items():
        if fault := name_fault(name):
            refuse(where, fault)
        plain = isinstance(part, dict) and set(part) == {"dtype", "shape", "sha256"} and _is_shape(part["shape"])
        if not plain or not _is_dtype(part["dtype"]) or not _is_hash(part["sha256"]):
            refuse(where, f"part {name} is not described by dtype, shape and sha256")
        parts[name] = Part(part["dtype"], tuple(part["shape"]), part["sha256"])
    return parts


def _prefixed(prefix: str, value: Any, fields: set[str], where: str) -> dict[str, Part]:
    if not isinstance(value, dict) or set(value) != fields:
        refuse(where, f"{prefix} is not described by {sorted(fields)}")
    return {f"{prefix}/{name}": part for name, part in _check_parts(value["parts"], where).items()}


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _is_dtype(value: Any) -> bool:
    return isinstance(value, str) and value in DTYPE_BITS


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def refuse(where: str, fault: str) -> NoReturn:
    """Raise `RefusedFileError` for a patch that says something it must not."""
    raise RefusedFileError(f"{where} is refused: {fault}", hint=_AGAIN)
