"""The state of sequential methods: the increments of the patches present, folded, and of no others."""

from typing import TYPE_CHECKING

from editcore_hooks import EditMethod, State

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession


def fold_state(session: "OpenSession", method: EditMethod) -> State:
    """The state of `method` from its earlier edits on the model, in the order of applying."""
    mine = [patch for patch in session.live.patches if patch.about.get("state", {}).get("method") == method.name]
    increments = [
        {name.removeprefix("state/"): part for name, part in patch.tensors.items() if name.startswith("state/")}
        for patch in mine
    ]
    value = session.cached(("state", method.name), lambda: method.fold(increments))
    return State(session.live.hash, tuple(patch.patch_id for patch in mine), value)
