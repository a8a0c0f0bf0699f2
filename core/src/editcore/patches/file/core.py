"""The part of a patch that changes a model: which fields, names, forms and parts it may have. Closed, and checked."""

from collections.abc import Mapping
from typing import Any, Final, Self

from attrs import field, frozen

from editcore.patches.file.part import Part, prefixed, read_parts
from editcore.patches.file.refusal import Fault, is_hash, is_number, refuse
from editcore.patches.file.target import CoreTarget
from editcore.patches.forms.table import UPGRADE
from editcore.storage.canonical import has_negative_zero
from editcore_hooks import RefusedFileError

KINDS: Final = ("weights", "modules", "memory")
RULE: Final = "rebuild-f64"


@frozen
class CoreAsset:
    """Something computed that a patch rests on: `required_at` is `compute` or `apply`."""

    kind: str
    sha256: str
    required_at: str

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.kind, str) or not isinstance(self.required_at, str) or not is_hash(self.sha256):
            raise Fault("an asset is not described by kind, sha256 and required_at")
        if self.required_at not in ("compute", "apply"):
            raise Fault("an asset is required neither at compute nor at apply")


@frozen
class CorePayload:
    """Contents of a patch of modules or memory: the patch kind that owns it, its data, and its parts by name."""

    kind: Any
    data: Any
    parts: Mapping[str, Part]


@frozen
class Core:
    """The checked content of a patch: targets by checkpoint key for `weights`, a payload for the other kinds.

    Raises `Fault` where these do not fit together.
    """

    kind: str
    scale: float
    targets: Mapping[str, CoreTarget]
    payload: CorePayload | None = None
    requires: tuple[str, ...] = ()
    assets: tuple[CoreAsset, ...] = field(default=())

    def __attrs_post_init__(self) -> None:
        for key, target in self.targets.items():
            if target.form.exclusive and self.scale != 1:
                raise Fault(f"target {key} replaces bits, which have no scale")

    @property
    def parts(self) -> dict[str, Part]:
        """Every tensor that the file must hold because of the core, by its name in the file."""
        parts: dict[str, Part] = {}
        for key, target in self.targets.items():
            parts |= prefixed(key, target.parts)
        return parts if self.payload is None else parts | prefixed("payload", self.payload.parts)

    @classmethod
    def read(cls, core: Mapping[str, Any], where: str) -> Self:
        """Check kind, rule, forms and names of a core as JSON has it. Raises `RefusedFileError`."""
        required = {"kind", "apply", "targets", "requires", "assets"}
        if not required <= set(core):
            refuse(where, f"its core lacks {sorted(required - set(core))}")
        if unknown := set(core) - required - {"payload"}:
            message = f"{where} has core fields this version does not know: {sorted(unknown)}"
            raise RefusedFileError(message, hint=UPGRADE)
        if has_negative_zero(core):
            refuse(where, "its core holds a negative zero, which has the same patch id as 0 and gives other bits")
        kind, apply = core["kind"], core["apply"]
        if kind not in KINDS:
            raise RefusedFileError(f"{where} is of kind {kind!r}, which this version does not know", hint=UPGRADE)
        if not isinstance(apply, dict) or set(apply) != {"rule", "scale"} or apply["rule"] != RULE:
            raise RefusedFileError(f"{where} is applied by a rule that this version does not know", hint=UPGRADE)
        if not is_number(apply["scale"]):
            refuse(where, "its scale is not a number")
        requires, assets = _requires(core["requires"], where), _assets(core["assets"], kind, where)
        if (kind == "weights") != bool(core["targets"]) or (kind == "weights") == ("payload" in core):
            refuse(where, "a weights patch must have targets and no payload, other patches a payload and no targets")
        if not isinstance(core["targets"], dict):
            refuse(where, "its targets are not a JSON object")
        targets = {key: CoreTarget.read(key, target, where) for key, target in core["targets"].items()}
        payload = None if kind == "weights" else _payload(core["payload"], where)
        try:
            return cls(kind, float(apply["scale"]), targets, payload, requires, assets)
        except Fault as error:
            refuse(where, str(error))


def state_parts(about: Mapping[str, Any], where: str) -> dict[str, Part]:
    """The tensors that the file must hold because of its annotation. Raises `RefusedFileError`."""
    if "state" not in about:
        return {}
    return prefixed("state", _described("state", about["state"], {"method", "parts"}, where))


def _payload(value: Any, where: str) -> CorePayload:
    parts = _described("payload", value, {"kind", "data", "parts"}, where)
    return CorePayload(value["kind"], value["data"], parts)


def _described(name: str, value: Any, fields: set[str], where: str) -> dict[str, Part]:
    if not isinstance(value, dict) or set(value) != fields:
        refuse(where, f"{name} is not described by {sorted(fields)}")
    return read_parts(value["parts"], where)


def _requires(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(is_hash(patch_id) for patch_id in value):
        refuse(where, "requires is not a list of patch ids")
    if value != sorted(set(value)):
        refuse(where, "requires is not sorted, or names a patch twice")
    return tuple(value)


def _assets(value: Any, kind: str, where: str) -> tuple[CoreAsset, ...]:
    if not isinstance(value, list):
        refuse(where, "assets is not a list")
    assets = []
    for asset in value:
        if not isinstance(asset, dict) or set(asset) != {"kind", "sha256", "required_at"}:
            refuse(where, "an asset is not described by kind, sha256 and required_at")
        try:
            assets.append(CoreAsset(**asset))
        except Fault as error:
            refuse(where, str(error))
        if kind == "weights" and assets[-1].required_at == "apply":
            refuse(where, "a weights patch must need nothing but itself to be applied")
    return tuple(assets)
