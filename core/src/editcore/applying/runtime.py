"""Patches onto a folder beside its weights: announced first, then written."""

from collections.abc import Sequence
from pathlib import Path

from editcore.applying.announcing import announce
from editcore.patches.change.copying import require_copyable, staged_copy
from editcore.patches.change.runtime import change_runtime, require_fit, require_runtime
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.file.patch import Patch
from editcore.plugins.registry import Registry


def apply_runtime(
    checkpoint: Checkpoint, patches: Sequence[Patch], output: Path | str | None = None, plugins: Registry | None = None
) -> tuple[str, ...]:
    """Put patches beside the weights of a folder, or of a copy of it; return the ids of all that are there.

    Raises what `require_runtime`, `require_fit` and observers raise; then nothing on disk has changed.
    """
    require_runtime(checkpoint, patches)
    require_fit(checkpoint, patches, plugins)
    if output is not None:
        require_copyable(checkpoint, output)
    announce(checkpoint, patches, plugins)
    if output is None:
        return change_runtime(checkpoint.folder, patches)
    with staged_copy(checkpoint.folder, output) as staged:
        return change_runtime(staged, patches)
