"""Checks of a method's answer against its location and the model; a refusal names method, site and shapes.

Types, dtypes and ranks were checked where the values were made, see `editcore_hooks.values`.
"""

from typing import TYPE_CHECKING, Any

import attrs
import torch

from editcore_hooks import Dense, EditcoreError, Location, LowRank, PluginError, Rows, Site, Sparse, Update

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession


def check_update(session: "OpenSession", by: str, location: Location, update: Update) -> Update:
    """The update as it is. Raises `PluginError` where it leaves the location, or does not fit the model.

    `by` names who gave it, "the method rome". Shapes are compared in canonical orientation, (d_out, d_in).
    """
    if not isinstance(update, Update):
        kind = "None" if update is None else type(update).__name__
        _refuse(f"{by} returned a {kind} where an Update is expected", "return Update({site: Dense(delta)})")
    named = {**update.state_increment, **(update.payload.tensors if update.payload is not None else {})}
    for name, tensor in named.items():
        _require_torch(f"{by} returned {name!r}", tensor)
    for site, given in update.tensors.items():
        if site not in location.sites:
            there = ", ".join(map(str, location.sites)) or "no site"
            _refuse(
                f"{by} returned an update of {site}, which is outside its location: {there}",
                "`locate` must return every site that the update changes",
            )
        _check_tensors(session, f"{by} returned for {site}", site, given)
    return update


def _check_tensors(session: "OpenSession", given: str, site: Site, update: LowRank | Dense | Sparse | Rows) -> None:
    """`given` is the beginning of every sentence: "the method rome gave for decoder.3.mlp_out"."""
    what = type(update).__name__
    for name, part in attrs.asdict(update, recurse=False).items():
        _require_torch(f"{given} a {what} with {name}", part)
    try:
        entries = session.checkpoint.entries
        shape = tuple(entries[session.anatomy.key_of(session.anatomy.name(site), entries)].shape)
        shape = shape[::-1] if session.anatomy.transposed(site) else shape
    except EditcoreError as error:
        raise PluginError(f"{given} a {what}, and {error.message}", hint=error.hint) from error
    if not _fits(update, shape):
        sizes = {name: tuple(part.shape) for name, part in attrs.asdict(update, recurse=False).items()}
        shown = " and ".join(f"{name} {size}" for name, size in sizes.items())
        message = f"{given} a {what} with {shown}; the weight is (d_out, d_in) = {shape}"
        _refuse(message, "shapes are [out, in] in any model")


def _fits(update: LowRank | Dense | Sparse | Rows, shape: tuple[int, ...]) -> bool:
    """Whether the shapes fit a weight of `shape`."""
    match update:
        case LowRank(out, in_):
            return (out.shape[0], in_.shape[1]) == shape
        case Dense(delta):
            return tuple(delta.shape) == shape
        case Sparse():
            return len(shape) == 2
        case Rows(_, values):
            return len(shape) == 2 and values.shape[1] == shape[1]


def _require_torch(given: str, value: Any) -> None:
    if not isinstance(value, torch.Tensor):
        _refuse(f"{given} as a {type(value).__name__}", "it must be a torch.Tensor")


def _refuse(message: str, hint: str) -> None:
    raise PluginError(message, hint=hint)
