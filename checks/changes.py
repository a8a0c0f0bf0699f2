"""The changes of a folder that get cut short: where they start, what they do, and the two states they may leave."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from attrs import define, field, frozen
from safetensors.torch import load_file

from checks import sample_patches
from checks.faults import Disk
from editcore.applying.change import Change
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.shards import INDEX, SINGLE, read_index
from editcore.patches.file.patch import Patch
from editcore.plugins.registry import Registry
from editcore.storage.tensors import blob_of
from editcore_hooks import EditcoreError

State = Mapping[str, str]
"""The sha256 of each tensor as a loader reads it, or of each file."""
UNWATCHED: Final = Registry.of()
NAMES: Final = (
    "apply", "apply two at once", "apply a second", "change one for another", "revert one of two", "revert all",
)  # fmt: skip


@frozen
class Cut:
    """`files` and `weights` are those before and after; `commit` is the number of the call that makes the new state."""

    name: str
    source: Path
    act: Callable[[Path], object]
    files: tuple[State, State]
    weights: tuple[State, State]
    base: State
    calls: int
    commit: int
    reads: int

    def state(self, folder: Path) -> str:
        """Whether a plain loader reads the weights before or after, and nothing else."""
        read = loaded(folder)
        assert read in self.weights, f"{folder} loads as neither the state before nor after"
        return ("old", "new")[self.weights.index(read)]

    def settled(self, folder: Path) -> str:
        """As `state`, and every file is that of the state; the base can still be read."""
        assert sample_patches.hashes(folder) in self.files, f"{folder} is in neither the state before nor after"
        opened = Checkpoint.open(folder)
        assert {key: _sha256(opened.read_base(key)) for key in opened.entries} == self.base
        return ("old", "new")[self.files.index(sample_patches.hashes(folder))]


def changes(place: Path, sharded: bool, names: tuple[str, ...] = NAMES) -> Iterator[Cut]:
    """Every change of a tiny bfloat16 folder, each done once with readers looking on before every call."""
    base = sample_patches.checkpoint(place / "base", torch.bfloat16, sharded)
    forms = {sample_patches.KEYS[0]: "low_rank", sample_patches.KEYS[1]: "dense"}
    one, two = (
        sample_patches.patch(base, forms, seed=1),
        sample_patches.patch(base, {sample_patches.KEYS[0]: "sparse"}, seed=2),
    )
    kinds: dict[str, tuple[list[Patch], Callable[[Path], object]]] = {
        "apply": ([], lambda folder: make(folder, [one])),
        "apply two at once": ([], lambda folder: make(folder, [one, two])),
        "apply a second": ([one], lambda folder: make(folder, [two])),
        "change one for another": ([one], lambda folder: make(folder, [two], [one.patch_id])),
        "revert one of two": ([one, two], lambda folder: make(folder, remove=[one.patch_id])),
        "revert all": ([one, two], lambda folder: make(folder, remove=[one.patch_id, two.patch_id])),
    }
    for name in names:
        present, act = kinds[name]
        source = sample_patches.copy(base, place / f"before {name}")
        if present:
            make(source, present)
        after = sample_patches.copy(source, place / f"after {name}")
        readers = Readers(after)
        with Disk(after, watch=readers.look).mounted() as disk:
            act(after)
        readers.look()
        weights = loaded(source), loaded(after)
        readers.saw_only(weights)
        files = sample_patches.hashes(source), sample_patches.hashes(after)
        commit = disk.calls.index(("rename", f"{INDEX if sharded else SINGLE}.editcore.tmp"))
        yield Cut(name, source, act, files, weights, loaded(base), len(disk.calls), commit, readers.count)


def make(folder: Path, add: Sequence[Patch] = (), remove: Sequence[str] = ()) -> None:
    """A change as the commands make it, with no plugin to watch it."""
    Change.open(folder, add, remove).commit(UNWATCHED)


def loaded(folder: Path) -> State:
    return {key: _sha256(blob_of(value).data) for key, value in sample_patches.weights(folder).items()}


@define
class Readers:
    """Readers during a write: a loader that reads at once, one that read the index long before it comes
    to the shards, and editcore itself."""

    folder: Path
    count: int = 0
    _read: list[State] = field(factory=list)
    _indexes: list[tuple[str, ...]] = field(factory=list)

    def look(self) -> None:
        self.count += 1
        self._keep(loaded(self.folder))
        names = (SINGLE,)
        if not (self.folder / SINGLE).exists():
            names = tuple(sorted(set(read_index(self.folder / INDEX)["weight_map"].values())))
        if names not in self._indexes:
            self._indexes.append(names)
        for earlier in self._indexes:
            self._keep_late(earlier)
        try:
            opened = Checkpoint.open(self.folder)
        except EditcoreError:  # it says that the folder is being written
            return
        self._keep({key: _sha256(opened.read(key)) for key in opened.entries})

    def saw_only(self, states: tuple[State, State]) -> None:
        assert all(read in states for read in self._read), f"a reader of {self.folder} saw a mixture"

    def _keep_late(self, names: tuple[str, ...]) -> None:
        try:
            files = [load_file(self.folder / name) for name in names]
        except FileNotFoundError:  # the shard went with the state it belonged to: an error, and no mixture
            return
        self._keep({key: _sha256(blob_of(value).data) for file in files for key, value in file.items()})

    def _keep(self, state: State) -> None:
        if state not in self._read:
            self._read.append(state)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
