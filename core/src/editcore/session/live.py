"""Patches on a live model. Weights are rebuilt from the base as stored, never subtracted; the way out restores bits."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from attrs import define, field
from torch import Tensor

from editcore.models.anatomy.model_map import Anatomy
from editcore.models.loading.offload import Values
from editcore.models.running.memories import Memories
from editcore.models.running.prefix_tree import keep_apart, let_share
from editcore.models.running.side_branches import SideBranches
from editcore.patches.arithmetic.rebuilding import rebuild, result_sha256
from editcore.patches.change.exclusive import require_alone, said_twice, twice
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.resolving import require_base
from editcore.patches.checkpoint.runtime import runtime_patches
from editcore.patches.checkpoint.stack import stack_hash
from editcore.patches.checkpoint.stored import stored_whole
from editcore.patches.file.patch import Patch
from editcore.patches.file.places import require_places
from editcore.plugins.catalogue import unusable
from editcore.plugins.registry import Registry
from editcore.plugins.selection import normalised
from editcore.session.beside import Beside
from editcore.storage.tensors import tensor_of
from editcore.text.ids import short, under
from editcore_hooks import Applied, ConflictError, PatchKind, PluginError, Session, WrongBaseError


@define(eq=False)
class LiveStack:
    """The patches of the model's folder, and those put on in memory. `_saved` holds of every parameter touched in
    memory what puts it back as it was before the first of them."""

    anatomy: Anatomy
    checkpoint: Checkpoint
    registry: Registry
    _aside: Beside = field(repr=False)
    _session: Session = field(repr=False)
    """The session that patch kinds attach to. Nothing else here knows it."""
    folder: tuple[Patch, ...] = field(init=False)
    _memory: list[Patch] = field(factory=list)
    _saved: dict[str, Any] = field(factory=dict, repr=False)
    _handles: dict[str, Any] = field(factory=dict, repr=False)
    branches: SideBranches = field(factory=SideBranches, init=False, repr=False)
    """Branches beside the weights: units, and low-rank patches if no weight can be written."""
    memories: Memories = field(init=False, repr=False)
    """Memories that patches attached, in the order of the patches."""

    def __attrs_post_init__(self) -> None:
        self.memories = Memories(self.anatomy, lambda: self.ids)
        self.folder = tuple(stored_whole(self.checkpoint, patch_id) for patch_id in self.checkpoint.patch_ids)

    @property
    def patches(self) -> tuple[Patch, ...]:
        """All that is present, in the order it was put on."""
        return (*self.folder, *self._memory)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(patch.patch_id for patch in self.patches)

    @property
    def hash(self) -> str:
        return stack_hash(self.ids)

    @property
    def beside(self) -> tuple[str, ...]:
        """The ids of weight patches that run beside weights."""
        return tuple(p.patch_id for p in self._memory if p.kind == "weights" and p.patch_id in self.branches)

    def attach_folder(self) -> None:
        """Attach the patches that the folder carries beside its weights, as patches of the folder.

        Raises `PluginError` for one whose plugin is not installed, and what reading it raises.
        """
        for patch in runtime_patches(self.checkpoint):
            self._attach(patch, self._owner(patch)())
            self.folder = (*self.folder, patch)

    def add(self, patch: Patch) -> Applied:
        """Put `patch` on. Raises `WrongBaseError`, and `ConflictError` when it exists already or lacks another."""
        if patch.patch_id in self.ids:
            raise ConflictError(
                f"the patch {short(patch.patch_id)} is already applied", hint="take it off first with `live.remove`"
            )
        if missing := sorted(set(patch.requires) - set(self.ids)):
            raise ConflictError(
                f"the patch {short(patch.patch_id)} requires {short(missing[0])}, which is not applied",
                hint="apply that first",
            )
        for earlier, later in twice([*self.patches, patch], {patch.patch_id}):
            raise ConflictError(said_twice(earlier, later), hint="take it off first with `live.remove`")
        if patch.kind == "weights":
            self._require_alone(patch)
            branches = [self._aside.branch(patch, own, key) for own, key in self._divided(patch)[1].items()]
            self._memory.append(patch)
            try:
                results = self._rebuild(self._keys(patch))
            except BaseException:
                self._memory.pop()
                raise
            if branches:
                self.branches.put(patch.patch_id, branches)
        else:
            self._attach(patch, self._owner(patch)())
            self._memory.append(patch)
            results = {}
        return Applied(self.ids, results)

    def remove(self, patch_id: str) -> None:
        """Take a patch off that was put on in memory, in any order.

        Raises `ConflictError` when it is one of the folder, or not there, or when another in memory requires it.
        """
        patch = next((patch for patch in self._memory if patch.patch_id == patch_id), None)
        if patch is None:
            where = "one of the folder" if patch_id in self.ids else "not applied"
            hint = f"editcore revert {short(patch_id)} --model DIR" if patch_id in self.ids else "see `live.ids`"
            raise ConflictError(f"the patch {short(patch_id)} is {where}", hint=hint)
        if needing := [short(other.patch_id) for other in self._memory if patch_id in other.requires]:
            raise ConflictError(
                f"{', '.join(needing)} {'requires' if len(needing) == 1 else 'require'} the patch {short(patch_id)}",
                hint="first revert the patches that require it",
            )
        self._memory.remove(patch)
        if patch_id in self._handles:
            self._detach(patch_id)
            return
        self._rebuild(self._keys(patch))
        if patch_id in self.branches:
            self.branches.take(patch_id)

    def runs_beside(self, patch: Patch) -> bool:
        """Whether some of a weight patch would run beside weights here, because they cannot be written."""
        return bool(self._divided(patch)[1])

    def change(self, patch: Patch, own: str) -> Tensor:
        """The change by `patch` of the live values of its tensor `own`, with rounding; float32, as stored."""
        key = self._resolved(patch)[own]
        on = sorted([*self._on(key), (patch, own)], key=lambda pair: pair[0].patch_id)
        before, after = (
            rebuild(self._base(key), [delta for one, name in pairs for delta in one.deltas(name)], key)
            for pairs in (self._on(key), on)
        )
        return after.float() - before.float()

    def suspended(self) -> AbstractContextManager[None]:
        """The bare base for the body; then every bit as before."""
        return self.only(())

    @contextmanager
    def only(self, ids: Collection[str]) -> Iterator[None]:
        """The model with these of the present patches and no others for the body; then every bit as before."""
        present = self.patches
        handles = [(patch_id, kind) for patch_id, (kind, _) in self._handles.items() if patch_id not in ids]
        for patch_id, _ in reversed(handles):
            self._detach(patch_id)
        weights = [patch for patch in self.patches if patch.kind == "weights"]
        keys = {key for patch in weights for key in self._keys(patch)}
        weights_of = {key: self._values(key) for key in keys}
        kept = {key: values.keep() for key, values in weights_of.items()}
        try:
            for key, values in weights_of.items():
                deltas = [d for patch, own in self._written(key) if patch.patch_id in ids for d in patch.deltas(own)]
                values.write(rebuild(self._base(key), deltas, key))
            with self.branches.only(ids):
                yield
        finally:
            for key, values in weights_of.items():
                values.put_back(kept[key])
            for patch_id, kind in handles:
                self._attach(next(patch for patch in present if patch.patch_id == patch_id), kind)

    def _attach(self, patch: Patch, kind: PatchKind) -> None:
        """Raises `WrongBaseError` for a patch of another base, where its kind works on its own alone."""
        if not kind.any_base:
            require_base(patch, self.checkpoint)
            self._require_tokenizer(patch)
        require_places(patch, kind, self.anatomy)
        self._handles[patch.patch_id] = (kind, kind.attach(self._session, patch))
        if not kind.reads_branches:
            keep_apart(self.anatomy.model, patch.patch_id)

    def _require_tokenizer(self, patch: Patch) -> None:
        """Raise `WrongBaseError` for a patch whose prompts were other tokens: what it remembers would never be met."""
        made_with, here = patch.annotation("base").get("tokenizer_sha256"), self.checkpoint.tokenizer_sha256
        if isinstance(made_with, str) and here is not None and made_with != here:
            raise WrongBaseError(
                f"patch {short(patch.patch_id)} was made with another tokenizer than that of {self.checkpoint.folder}",
                hint="put the tokenizer of its base into the folder",
            )

    def _detach(self, patch_id: str) -> None:
        kind, handle = self._handles.pop(patch_id)
        let_share(self.anatomy.model, patch_id)
        kind.detach(self._session, handle)

    def _require_alone(self, patch: Patch) -> None:
        """Raises `WrongBaseError`, and `ConflictError` where a form would not have its tensor to itself."""
        keys = self._resolved(patch)
        targets = [target for one in (*self.patches, patch) for target in one.targets.values()]
        if not any(target.form.exclusive for target in targets):
            return
        for own, key in keys.items():
            on_key = [*self._on(key), (patch, own)]
            require_alone(key, {one.patch_id: one.targets[name].form for one, name in on_key})

    def _owner(self, patch: Patch) -> type[PatchKind]:
        """The patch kind of a `modules` or `memory` patch. Raises `PluginError` with what to install."""
        name = str(patch.payload_kind)
        kinds = self.registry.patch_kinds
        distribution = patch.annotation("method").get("distribution")
        if not isinstance(distribution, str):
            return kinds.get(name)
        if (owner := kinds.find(name, distribution)) is not None:
            return owner
        if name not in kinds.names():
            for plugin in self.registry.plugins:
                if normalised(plugin.record.distribution) == normalised(distribution) and not plugin.ok:
                    raise unusable(plugin, f"the patch kind {name!r} of the patch {short(patch.patch_id)}")
            message = f"the patch {short(patch.patch_id)} needs the patch kind {name!r}, which is not installed"
            raise PluginError(message, hint=f"pip install {distribution}")
        return kinds.get(name)

    def _rebuild(self, keys: Sequence[str]) -> dict[str, str]:
        """Write the sum of all present patches into the parameters of `keys`; the hash of each result as stored."""
        results = {}
        for key in keys:
            values = self._values(key)
            touching = [patch for patch in self._memory if key in self._keys(patch)]
            if not touching:
                values.put_back(self._saved.pop(key))
                continue
            deltas = [delta for patch, own in self._written(key) for delta in patch.deltas(own)]
            result = rebuild(self._base(key), deltas, under(key, [patch.patch_id for patch, _ in self._written(key)]))
            if key not in self._saved:
                self._saved[key] = values.keep()
            values.write(result)
            results[key] = result_sha256(result)
        return results

    def _on(self, key: str) -> list[tuple[Patch, str]]:
        """Every present patch that changes the tensor `key` of the checkpoint, with its own name for it, by id."""
        return self._changing(key, self._resolved)

    def _written(self, key: str) -> list[tuple[Patch, str]]:
        """Those of `_on` that are in the weights and not beside them."""
        return self._changing(key, lambda patch: self._divided(patch)[0])

    def _changing(self, key: str, targets: Callable[[Patch], dict[str, str]]) -> list[tuple[Patch, str]]:
        pairs = []
        weights = [patch for patch in self.patches if patch.kind == "weights"]
        for patch in sorted(weights, key=lambda patch: patch.patch_id):
            pairs += [(patch, own) for own, actual in targets(patch).items() if actual == key]
        return pairs

    def _keys(self, patch: Patch) -> list[str]:
        """The tensors of the checkpoint into which a patch is written."""
        return list(self._divided(patch)[0].values())

    def _divided(self, patch: Patch) -> tuple[dict[str, str], dict[str, str]]:
        """The targets that are written, and those that run beside their weight, as `_resolved` has them."""
        written = self._resolved(patch)
        if any(patch is each for each in self.folder):
            return written, {}  # it is in the weights already
        aside = {own: key for own, key in written.items() if self._aside.takes(patch, own, key)}
        return {own: key for own, key in written.items() if own not in aside}, aside

    def _resolved(self, patch: Patch) -> dict[str, str]:
        """The patch's name of each target to the checkpoint's."""
        return dict(require_base(patch, self.checkpoint).keys)

    def _base(self, key: str) -> Tensor:
        entry = self.checkpoint.entries[key]
        return tensor_of(entry.dtype, entry.shape, self.checkpoint.read_base(key))

    def _values(self, key: str) -> Values:
        return self.anatomy.values(self.anatomy.parameter_of(key))
