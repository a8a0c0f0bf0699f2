"""One change of a folder, planned once: look at its conflicts, announce it, commit it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs
from attrs import frozen

from editcore.applying.announcing import announce
from editcore.patches.change import copying, ondisk
from editcore.patches.change.plan import Plan, plan_change, refuse_incompatible
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.file.patch import Patch
from editcore.plugins.registry import Registry

if TYPE_CHECKING:
    from editcore.patches.change.conflicts import Conflict, OnConflict


@frozen
class Change:
    """Patches to put on a folder and others to take off it, in one commit: all of it or nothing.

    `patches` are those to put on, in the order given; `notices` say what was decided of conflicts. Nothing is written
    before one of the commits, and each of them reads the folder a second time under the lock: the plan is used where
    the folder is still the same.
    """

    plan: Plan
    patches: tuple[Patch, ...]
    notices: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        folder: Checkpoint | Path | str,
        add: Sequence[Patch] = (),
        remove: Sequence[str] = (),
        *,
        strict: bool = False,
    ) -> Self:
        """Plan patches to `add`, and ids (or their beginnings) to `remove`.

        `strict` asks for the whole base, not just the tensors that are touched. Raises `UsageError` for an id that is
        not there, and what `Checkpoint.open` and `plan_change` raise.
        """
        opened = folder if isinstance(folder, Checkpoint) else Checkpoint.open(folder)
        gone = {opened.stack.find(prefix) for prefix in remove}
        return cls(plan_change(opened, add, gone, strict=strict, shared=True), tuple(add))

    @property
    def checkpoint(self) -> Checkpoint:
        """The folder as it is before the change."""
        return self.plan.checkpoint

    @property
    def removed(self) -> tuple[str, ...]:
        """The ids to take off, in the order of the stack."""
        return tuple(patch_id for patch_id in self.checkpoint.patch_ids if patch_id in self.plan.removed)

    def conflicts(self) -> "list[Conflict]":
        """The conflicts of the patches to add with those that stay, and with each other. Raises as `find_conflicts`."""
        from editcore.patches.change.conflicts import find_conflicts

        return find_conflicts(self.plan)

    def decided(self, conflicts: "Sequence[Conflict]", rule: "OnConflict") -> Self:
        """The change that `rule` makes of this one: itself, unless patches lose and are left out or taken off.

        Raises `ConflictError` as `decide` does.
        """
        from editcore.patches.change.conflicts import decide

        decision = decide(self.checkpoint, self.patches, conflicts, rule)
        same = decision.patches == self.patches and not decision.taken_off
        remove = (*self.removed, *decision.taken_off)
        left = self if same else self.open(self.checkpoint, decision.patches, remove, strict=self.plan.strict)
        return attrs.evolve(left, notices=decision.notices)

    def require_compatible(self) -> None:
        """Raise `ConflictError` where patches exclude each other or one would count twice: then no commit is made."""
        refuse_incompatible(self.plan)

    def rehearse(self) -> None:
        """Raise what a commit would raise for the result: `RefusedFileError` for one that is not finite."""
        from editcore.patches.change.rehearsal import rehearse

        self.require_compatible()
        rehearse(self.plan)

    def commit(self, plugins: Registry | None = None) -> ondisk.AppliedOnDisk:
        """Announce the new patches, then change the folder in place.

        What would be refused is not announced. Raises what observers and `ondisk.commit` raise; then nothing on disk
        has changed.
        """
        self.require_compatible()
        ondisk.refuse_foreign(self.checkpoint)
        self._announce(plugins)
        return ondisk.commit(self.plan)

    def commit_to_copy(
        self, output: Path | str, plugins: Registry | None = None, *, history: bool = True
    ) -> ondisk.AppliedOnDisk:
        """`commit` on a copy, which appears as `output` once it is whole; the folder is only read.

        Without `history` nothing in the copy tells of the patches, and none can be taken off.
        """
        self.require_compatible()
        copying.require_copyable(self.checkpoint, output)
        self._announce(plugins)
        return copying.commit_to_copy(self.plan, output, history)

    def _announce(self, plugins: Registry | None) -> None:
        announce(self.checkpoint, self.plan.added, plugins, self.plan.removed)
