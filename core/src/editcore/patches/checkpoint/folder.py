"""A model folder on disk: where each tensor lies, its bytes now, and its bytes in the base under the patches."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from editcore.patches.checkpoint import journal
from editcore.patches.checkpoint.fingerprint import config_sha256, tokenizer_sha256, weights_root
from editcore.patches.checkpoint.hashes import HashCache
from editcore.patches.checkpoint.shards import INDEX, SINGLE, Shards, read_shards
from editcore.patches.checkpoint.stack import STACK_FILE, Stack, original_path, read_stack_file
from editcore.storage.canonical import read_object
from editcore.storage.safetensors_reader import Entry, read_span, span_sha256
from editcore_hooks import ConflictError, RefusedFileError

if TYPE_CHECKING:
    from editcore.patches.file.patch import Patch, PatchHeader

Stamp = tuple[int, int, int]
Moment = tuple[Stamp | None, ...]
"""By inode, size and time, the files whose renaming makes a new state of a folder."""


class Checkpoint:
    """Read access to a folder. `open` checks it; what a tensor is called is its key in the files."""

    def __init__(self, folder: Path, shards: Shards, stack: Stack, config: Mapping[str, Any], moment: Moment) -> None:
        self.folder = folder
        self.shards = shards
        self.stack = stack
        self.config = config
        self._moment = moment
        self._stamps = {name: _stamp(folder / name) for name in set(shards.files.values())}
        self._expected: Sequence[Patch | PatchHeader] | None = None
        self.hashes = HashCache(folder)

    @classmethod
    def open(cls, folder: Path | str) -> "Checkpoint":
        """Open a plain or a patched folder. Raises `RefusedFileError`, `ConflictError` or `UsageError`."""
        folder = Path(folder)
        moment = _moment(folder)
        if folder.is_dir():
            journal.refuse_unfinished(folder)
        with _unchanged(folder, moment):
            shards, stack = read_shards(folder), read_stack_file(folder)
            for key, target in stack.targets.items():
                entry = shards.entries.get(key)
                if entry is None or (entry.dtype, entry.shape) != (target.dtype, target.shape):
                    raise RefusedFileError(f"{folder} does not hold {key} as editcore.json records it", hint=_COPY)
            opened = cls(folder, shards, stack, _read_config(folder), moment)
        # Shards of one state and the stack of the next would fit each other, and be wrong.
        _refuse_changed(folder, moment)
        return opened

    def unchanged(self) -> AbstractContextManager[None]:
        """Read something of the folder in the body: what is missing or odd because a writer was faster than this
        reader raises `ConflictError`, the rest what it raises."""
        return _unchanged(self.folder, self._moment)

    def reads_as(self, other: "Checkpoint") -> bool:
        """Whether both read the same record, configuration and headers: one folder twice, or a folder and its copy."""
        return (self.shards, self.stack, self.config) == (other.shards, other.stack, other.config)

    @property
    def entries(self) -> Mapping[str, Entry]:
        return self.shards.entries

    @property
    def expected(self) -> "Sequence[Patch | PatchHeader]":
        """The patches that the folder carries, or will once those are on that were announced before."""
        from editcore.patches.checkpoint.stored import stored_patch

        return (
            [stored_patch(self, patch_id) for patch_id in self.patch_ids] if self._expected is None else self._expected
        )

    def expecting(self, patches: "Sequence[Patch | PatchHeader]") -> "Checkpoint":
        """The same folder, declared to carry `patches`."""
        other = copy(self)
        other._expected = tuple(patches)
        return other

    @property
    def patch_ids(self) -> tuple[str, ...]:
        return self.stack.patch_ids

    def file(self, key: str) -> Path:
        """The file that holds a tensor. Raises `ConflictError` when it is another one than when this was opened."""
        name = self.shards.files[key]
        path = self.folder / name
        # Offsets and stack were read at opening: on a file that was replaced since, they would be silently wrong.
        if _stamp(path) is None or _stamp(path) != self._stamps[name]:
            raise ConflictError(f"{path} was changed after it was opened", hint="open the folder again")
        return path

    def read(self, key: str) -> bytes:
        """The stored bytes as they are now, patches included."""
        with self.unchanged():
            return read_span(self.file(key), self.entries[key])

    def sha256(self, key: str) -> str:
        """The hash of the stored bytes as they are now."""
        path, entry = self.file(key), self.entries[key]
        with self.unchanged():
            return self.hashes.get(path, key, lambda: span_sha256(path, entry))

    def read_base(self, key: str) -> bytes:
        """The stored bytes of the base. Raises `RefusedFileError` when a kept original was changed."""
        if key not in self.stack.targets:
            return self.read(key)
        return self.read_original(key, self.stack.targets[key].base_sha256)

    def read_original(self, key: str, sha256: str) -> bytes:
        """The bytes of `key` that are kept under a hash. Raises `RefusedFileError` when they do not have it."""
        path = original_path(self.folder, sha256)
        with self.unchanged():
            try:
                data = path.read_bytes()
            except OSError as error:
                raise RefusedFileError(f"the original of {key} is missing from {path.parent}", hint=_COPY) from error
        if hashlib.sha256(data).hexdigest() != path.stem:
            raise RefusedFileError(f"the original of {key} in {path} was changed", hint=_COPY)
        return data

    def base_sha256(self, key: str) -> str:
        """The hash of the stored bytes of the base."""
        return self.stack.targets[key].base_sha256 if key in self.stack.targets else self.sha256(key)

    def weights_root(self) -> str:
        """The root over every tensor of the base: the same before, between and after patches."""
        return weights_root(
            (key, entry.dtype, entry.shape, self.base_sha256(key)) for key, entry in self.entries.items()
        )

    @cached_property
    def config_sha256(self) -> str:
        return config_sha256(self.config)

    @cached_property
    def tokenizer_sha256(self) -> str | None:
        return tokenizer_sha256(self.folder)

    @property
    def in_hub_cache(self) -> bool:
        """Whether the folder is a snapshot of a download cache, by its own path or at the other end of links."""
        return any(
            name.startswith("models--") and following == "snapshots"
            for path in (self.folder.absolute(), self.folder.resolve())
            for name, following in itertools.pairwise(path.parts)
        )

    @property
    def linked(self) -> frozenset[str]:
        """The weight files that are links to elsewhere."""
        return frozenset(name for name in self.shards.files.values() if (self.folder / name).is_symlink())


_COPY: Final = "copy the base again and apply the patches in .editcore/patches"


@contextmanager
def _unchanged(folder: Path, moment: Moment) -> Iterator[None]:
    try:
        yield
    except (RefusedFileError, OSError):
        _refuse_changed(folder, moment)
        raise


def _refuse_changed(folder: Path, moment: Moment) -> None:
    if _moment(folder) != moment:
        raise ConflictError(f"{folder} was changed while it was read", hint="try again")


def _moment(folder: Path) -> Moment:
    # Every change renames one of these into its place, and what the state before needed goes only after that.
    return tuple(_stamp(folder / name) for name in (SINGLE, INDEX, STACK_FILE))


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise RefusedFileError(f"{folder} holds no config.json", hint="give the folder that save_pretrained wrote")
    config = read_object(path, str(path), "copy or download the checkpoint again")
    if config.get("quantization_config") or config.get("compression_config"):
        raise RefusedFileError(
            f"{folder} holds a quantised model, whose weights take no exact patch",
            hint="patch the unquantised base, or `editcore export PATCH --to peft` and load that beside it",
        )
    return config
