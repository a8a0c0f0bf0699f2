"""What a method answers, held against the contract, and refused in the author's words: method, site and shapes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import torch

from editcore_hooks import (
    Asset,
    Dense,
    EditcoreError,
    Location,
    LowRank,
    Payload,
    PluginError,
    Rows,
    Site,
    Sparse,
    Update,
)

if TYPE_CHECKING:
    from editcore.editing.session import Session

_FLOATS: Final = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_WHOLE: Final = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_location(by: str, location: Location) -> Location:
    """The location as it is. Raises `PluginError` where its parts are not what they are declared as."""
    if not isinstance(location.sites, tuple):
        _refuse(f"{by} gave the sites of its Location as a {_kind(location.sites)}", "write Location((site,)): a tuple")
    for site in location.sites:
        if not isinstance(site, Site):
            _refuse(f"{by} gave a {_kind(site)} among the sites of its Location", "each must be a Site")
    if not isinstance(location.token, str):
        _refuse(f"{by} gave the token of its Location as a {_kind(location.token)}", "it must be text")
    return location


def check_update(session: "Session", by: str, location: Location, update: Update) -> Update:
    """The update as it is. Raises `PluginError` where it leaves the location, or is not what the contract says.

    `by` names who gave it, "the method rome". Shapes are compared in canonical orientation, (d_out, d_in).
    """
    if not isinstance(update, Update):
        _refuse(f"{by} gave a {_kind(update)} where an Update is expected", "return Update({site: Dense(delta)})")
    _check_fields(by, update)
    for site, given in update.tensors.items():
        if not isinstance(site, Site):
            _refuse(f"{by} gave an update of {site!r}, which is a {_kind(site)}", "the keys of `tensors` are Sites")
        if site not in location.sites:
            there = ", ".join(map(str, location.sites)) or "no site"
            _refuse(
                f"{by} gave an update of {site}, which is outside its location: {there}",
                "`locate` must return every site that the update changes",
            )
        _check_tensors(session, f"{by} gave for {site}", site, given)
    return update


def _check_fields(by: str, update: Update) -> None:
    expected = (
        ("tensors", Mapping, "a mapping from Site to LowRank, Dense, Sparse or Rows"),
        ("payload", Payload | None, "a Payload or None"),
        ("state_increment", Mapping, "a mapping from names to tensors"),
        ("notes", Mapping, "a mapping of JSON values"),
        ("assets", tuple, "a tuple of Assets"),
    )
    for name, kind, words in expected:
        value = getattr(update, name)
        if not isinstance(value, kind):  # type: ignore[arg-type] # a union is a class to isinstance
            _refuse(f"{by} gave an Update whose {name} are a {_kind(value)}", f"`{name}` must be {words}")
    for asset in update.assets:
        if not isinstance(asset, Asset):
            _refuse(f"{by} gave a {_kind(asset)} among the assets of its Update", "each must be an Asset")
    named = {**update.state_increment, **(update.payload.tensors if update.payload is not None else {})}
    for name, tensor in named.items():
        if not isinstance(tensor, torch.Tensor):
            _refuse(f"{by} gave {name!r} as a {_kind(tensor)} in its Update", "it must be a torch.Tensor")


def _check_tensors(session: "Session", given: str, site: Site, update: Any) -> None:
    """`given` is the beginning of every sentence: "the method rome gave for decoder.3.mlp_out"."""
    if not isinstance(update, LowRank | Dense | Sparse | Rows):
        _refuse(f"{given} a {_kind(update)}", "it must be LowRank, Dense, Sparse or Rows")
    what = type(update).__name__
    for name, part in attrs.asdict(update, recurse=False).items():
        if not isinstance(part, torch.Tensor):
            _refuse(f"{given} a {what} whose {name} is a {_kind(part)}", "it must be a torch.Tensor")
        allowed, words = (_WHOLE, "an integer dtype") if name == "index" else (_FLOATS, "a floating-point dtype")
        if part.dtype not in allowed:
            dtype = str(part.dtype).removeprefix("torch.")
            _refuse(f"{given} a {what} whose {name} is {dtype}", f"it must have {words}")
    try:
        entries = session.checkpoint.entries
        shape = tuple(entries[session.anatomy.key_of(session.anatomy.name(site), entries)].shape)
        shape = shape[::-1] if session.anatomy.transposed(site) else shape
    except EditcoreError as error:
        raise PluginError(f"{given} a {what}, and {error.message}", hint=error.hint) from error
    if fault := _misfit(update, shape):
        _refuse(f"{given} a {what} {fault}; the weight is (d_out, d_in) = {shape}", "shapes are [out, in] in any model")


def _misfit(update: LowRank | Dense | Sparse | Rows, shape: tuple[int, ...]) -> str | None:
    """What is wrong with the shapes, in the words of the class; None when they fit a weight of `shape`."""
    sizes = {name: tuple(part.shape) for name, part in attrs.asdict(update, recurse=False).items()}
    shown = " and ".join(f"{name} {size}" for name, size in sizes.items())
    match update:
        case LowRank():
            out, in_ = sizes["out"], sizes["in_"]
            if len(out) != 2 or len(in_) != 2:
                return f"with {shown}, where out must be (d_out, r) and in_ (r, d_in)"
            fits = len(shape) == 2 and (out[0], in_[1]) == shape and out[1] == in_[0] and out[1] > 0
        case Dense():
            fits = sizes["delta"] == shape
        case Sparse():
            fits = len(shape) == 2 and len(sizes["values"]) == 1 and sizes["index"] == (2, *sizes["values"])
        case Rows():
            fits = len(shape) == 2 and len(sizes["index"]) == 1 and sizes["values"] == (*sizes["index"], shape[1])
    return None if fits else f"with {shown}"


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def _refuse(message: str, hint: str) -> None:
    raise PluginError(message, hint=hint)
