"""The state of sequential methods: the increments of the patches present, folded, and of no others."""

from typing import TYPE_CHECKING

from editcore.patches.file.patch import Patch
from editcore_hooks import EditMethod, State

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession


def fold_state(session: "OpenSession", method: EditMethod) -> State:
    """The increments of earlier edits by `method`, in the order in which they were applied."""
    distribution, _ = session.registry.source_of(type(method))

    def own(patch: Patch) -> bool:
        """Whether the state is of this method; one of another distribution that shares its name keeps another."""
        made_by = patch.annotation("method").get("distribution", distribution)
        return bool(patch.annotation("state").get("method") == method.name and made_by == distribution)

    mine = [patch for patch in session.live.patches if own(patch)]
    increments = [
        {name.removeprefix("state/"): part for name, part in patch.tensors.items() if name.startswith("state/")}
        for patch in mine
    ]
    value = session.cached(("state", distribution, method.name), lambda: method.fold(increments))
    return State(session.live.hash, tuple(patch.patch_id for patch in mine), value)
