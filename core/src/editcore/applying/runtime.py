"""Patches onto a folder beside its weights: announced first, then written."""

from collections.abc import Sequence
from pathlib import Path

from editcore.applying.announcing import announce
from editcore.models.anatomy.model_map import Anatomy
from editcore.models.anatomy.skeleton import skeleton
from editcore.patches.change.copying import require_copyable, staged_copy
from editcore.patches.change.runtime import change_runtime, require_runtime
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.file.kinds import owner_of
from editcore.patches.file.patch import Patch
from editcore.patches.file.places import require_places
from editcore.plugins.registry import Registry, registry
from editcore_hooks import UsageError


def check_runtime(checkpoint: Checkpoint, patches: Sequence[Patch], plugins: Registry | None = None) -> None:
    """Raise what `require_runtime` raises, and `WrongBaseError` for places that the model of the folder does not have.

    A model whose structure the folder alone does not tell is checked when the patches are attached.
    """
    require_runtime(checkpoint, patches)
    found = plugins or registry()
    owners = [owner_of(patch.core, patch.about, found) for patch in patches]
    if all(owner is None for owner in owners):
        return
    try:
        anatomy = Anatomy.of(skeleton(checkpoint.folder), tuple(found.architectures.classes().values()))
    except UsageError:
        return
    for patch, owner in zip(patches, owners, strict=True):
        if owner is not None:
            require_places(patch, owner, anatomy)


def apply_runtime(
    checkpoint: Checkpoint, patches: Sequence[Patch], output: Path | str | None = None, plugins: Registry | None = None
) -> tuple[str, ...]:
    """Put patches beside the weights of a folder, or of a copy of it; return the ids of all that are there.

    Raises what `check_runtime` and observers raise; then nothing on disk has changed.
    """
    check_runtime(checkpoint, patches, plugins)
    if output is not None:
        require_copyable(checkpoint, output)
    announce(checkpoint, patches, plugins)
    if output is None:
        return change_runtime(checkpoint.folder, patches)
    with staged_copy(checkpoint.folder, output) as staged:
        return change_runtime(staged, patches)
