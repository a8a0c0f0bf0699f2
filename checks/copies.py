"""`apply -o` for the checks that cut it short: the source is never changed, and the copy is whole or not there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from attrs import frozen

from checks import sample_patches
from checks.changes import UNWATCHED, State
from checks.faults import Disk
from editcore.applying.change import Change
from editcore.patches.change.repairing import repair
from editcore.patches.file.patch import Patch
from editcore_hooks import UsageError

BASE: Final = "base"
OUT: Final = "out"


@frozen
class Copying:
    """Two patches on a copy of the folder `BASE` of `source`. `whole` are the files of the copy, by hash."""

    source: Path
    patches: Sequence[Patch]
    base: State
    whole: State
    calls: int
    written: int

    def act(self, place: Path) -> None:
        Change.open(place / BASE, self.patches).commit_to_copy(place / OUT, UNWATCHED)

    def state(self, place: Path) -> str:
        """Whether there is no copy or all of it; nothing else counts as either."""
        assert sample_patches.hashes(place / BASE) == self.base, "the source was changed"
        if not (place / OUT).exists():
            return "old"
        assert sample_patches.hashes(place / OUT) == self.whole, "the copy is not whole"
        return "new"

    def clear(self, place: Path) -> bool:
        """Repair, and say whether there was something to clear; afterwards nothing lies about."""
        before, state = set(place.iterdir()), self.state(place)
        try:
            repair(place / OUT)
        except UsageError:
            assert state == "old"
        wanted = {place / BASE, place / OUT} if state == "new" else {place / BASE}
        assert set(place.iterdir()) == wanted, f"{set(place.iterdir()) - wanted} was left over"
        return before != wanted


def copying(place: Path, sharded: bool) -> Copying:
    """Done once, to know its calls and its result."""
    source = place / "copying"
    source.mkdir()
    base = sample_patches.checkpoint(source / BASE, torch.bfloat16, sharded)
    patches = [
        sample_patches.patch(base, {sample_patches.KEYS[0]: "low_rank", sample_patches.KEYS[1]: "dense"}, seed=1),
        sample_patches.patch(base, {sample_patches.KEYS[0]: "sparse"}, seed=2),
    ]
    after = sample_patches.copy(source, place / "copied")
    with Disk(after).mounted() as disk:
        Change.open(after / BASE, patches).commit_to_copy(after / OUT, UNWATCHED)
    return Copying(
        source, patches, sample_patches.hashes(base), sample_patches.hashes(after / OUT), len(disk.calls), disk.written
    )
