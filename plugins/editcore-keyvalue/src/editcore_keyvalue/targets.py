"""What the layers are asked for: the new value of each key, at the length of NAS where that is wanted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from attrs import frozen
from torch import Tensor

from editcore_hooks import Asset, EditcoreError, Site
from editcore_keyvalue.norm_anchor import Anchor, anchor_notes, anchored, clean_outputs
from editcore_keyvalue.outcomes import named
from editcore_keyvalue.subjects import Shared
from editcore_keyvalue.value import Value

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen(eq=False)
class Targets:
    """h and δ of each key to write, (d, E), float64, and the output that the layers are asked for."""

    h: Tensor
    delta: Tensor
    target: Tensor


def targets_of(
    session: "Session", found: Sequence[Shared], values: Sequence[Value], site: Site
) -> tuple[list[Shared], Targets]:
    """An entry a key: the change of a group at each of its keys, from what `site` puts out there."""
    shared = [key for each in found for key in each.by_key]
    h, delta = [], []
    for each, value in zip(found, values, strict=True):
        others = each.by_key[1:]
        h.append(value.v0[-1].double()[:, None])
        if others:
            h.append(clean_outputs(session, [key.rows for key in others], site).to(h[0].device))
        delta.append(value.delta[-1].double()[:, None].expand(-1, 1 + len(others)))
    before, change = torch.cat(h, 1), torch.cat(delta, 1)  # (d, E)
    return shared, Targets(before, change, before + change)


def to_length(
    session: "Session", shared: Sequence[Shared], targets: Targets, sites: Sequence[Site], anchor: Anchor
) -> tuple[list[Shared], Targets, dict[str, Any], tuple[Asset, ...]]:
    """The targets at the anchor's length, without edits that are too long. Raises `EditcoreError` if none is left."""
    found = anchored(session, [each.rows for each in shared], sites[-1], targets.h, targets.delta, anchor.length)
    keep = found.written.tolist()
    if left_out := named(shared, [not one for one in keep]):
        session.warn(f"{left_out}: the new value is more than twice as long as usual, and is not written")
    if not any(keep):
        raise EditcoreError(
            "no edit is left: every new value is too long", hint="--set norm_anchor=false, or lower clamp or v_lr"
        )
    index = found.written.nonzero()[:, 0]
    some = Targets(*(matrix[:, index] for matrix in (targets.h, targets.delta, found.target)))
    notes = anchor_notes(anchor, found)
    notes["norm_anchor"]["left_out"] = len(shared) - len(index)
    assets = () if anchor.asset is None else (anchor.asset,)
    return [each for each, one in zip(shared, keep, strict=True) if one], some, notes, assets
