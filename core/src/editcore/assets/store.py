"""The folder of assets: found by identity, written at once, locked between processes, resumable while computed."""

import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from editcore.assets import file
from editcore.assets.folder import cache_path
from editcore.assets.identity import Identity
from editcore.assets.ownership import make_private, warn_of_others
from editcore_hooks import Asset, ConflictError, RefusedFileError

_SUFFIX: Final = ".safetensors"
_PARTIAL: Final = ".partial"
_ASIDE: Final = ".corrupt"


class AssetWarning(UserWarning):
    """An asset that cannot be used was set aside; it will be computed again."""


def cache_folder() -> Path:
    """The folder of all caches, see `folder.cache_path`."""
    return Path(cache_path())


class Partial:
    """The work file of a computation that may be stopped: tensors and progress, saved in one rename."""

    def __init__(self, path: Path, identity: Identity) -> None:
        self._path, self._identity = path, identity

    def save(self, tensors: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        """Keep the state so far; `progress` holds JSON values. A kill during it leaves the state before."""
        file.write(self._path, self._identity, tensors, {"progress": dict(progress)})

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Tensors and progress of the last save; None when there is none, or none that is whole."""
        manifest = _whole(self._path, self._identity)
        if manifest is None:
            return None
        progress = manifest.about.get("progress")
        return (file.read_tensors(self._path), dict(progress)) if isinstance(progress, dict) else None

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


class AssetStore:
    """Assets in one folder, one file each. `folder` is by default `assets` in the cache folder."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = Path(folder) if folder is not None else cache_folder() / "assets"
        self.seconds = 0.0
        """Seconds for which locks were held so far, that is, the time to compute assets."""
        self._held = 0
        self._looked_at = False

    def find(self, identity: Identity) -> Asset | None:
        """The asset, every byte of it checked, or None. A corrupt file is set aside with an `AssetWarning`."""
        self._look_at_owner()
        path = self._path(identity)
        manifest = _whole(path, identity)
        return None if manifest is None else _asset(manifest, path)

    def load(self, asset: Asset) -> dict[str, Any]:
        """The tensors by name. Raises `RefusedFileError` when the file is not the asset that it was."""
        if not asset.path.is_file():
            raise RefusedFileError(f"the asset {asset.path.name} is gone", hint="run the same command again")
        manifest = file.verify(asset.path)
        if manifest.sha256 != asset.sha256:
            raise RefusedFileError(f"the asset {asset.path.name} was replaced by another after it was found")
        return file.read_tensors(asset.path)

    def about(self, asset: Asset) -> Mapping[str, Any]:
        """The annotation given to `put`."""
        return file.read_manifest(asset.path).about

    def put(self, identity: Identity, tensors: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> Asset:
        """Keep tensors under an identity, in place of what was there, and drop the partial work on it."""
        make_private(self.folder)
        path = self._path(identity)
        sha256 = file.write(path, identity, tensors, about or {})
        self.partial(identity).remove()
        return Asset(identity.kind, identity.owner, identity.base_root, dict(identity.parameters), sha256, path)

    def remove(self, asset: Asset) -> None:
        """Forget an asset; it is computed again when it is wanted."""
        asset.path.unlink(missing_ok=True)

    def partial(self, identity: Identity) -> Partial:
        """The resumable work on an asset; use it under `lock`."""
        return Partial(self.folder / f"{identity.stem}{_PARTIAL}", identity)

    @contextmanager
    def lock(self, identity: Identity, timeout: float | None = None) -> Iterator[None]:
        """Hold the identity against other processes; look again with `find` once inside.

        Waits for ever, or `timeout` seconds and then raises `ConflictError`.
        """
        from filelock import FileLock, Timeout

        self._look_at_owner()
        make_private(self.folder)
        lock = FileLock(self.folder / f".{identity.stem}.lock", timeout=-1 if timeout is None else timeout)
        try:
            lock.acquire()
        except Timeout:
            raise ConflictError(
                f"another process is computing the asset {identity.stem}", hint="wait for it, then run this again"
            ) from None
        started, self._held = time.perf_counter(), self._held + 1
        try:
            yield
        finally:
            self._held -= 1
            if not self._held:  # a lock within a lock is counted by the outer one
                self.seconds += time.perf_counter() - started
            lock.release()

    def list(self) -> tuple[Asset, ...]:
        """Every asset whose header reads well, by kind and name; tensors are not checked."""
        found = []
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            if path.name.startswith("."):
                continue
            try:
                found.append(_asset(file.read_manifest(path), path))
            except RefusedFileError as error:
                warnings.warn(str(error), AssetWarning, stacklevel=2)
        return tuple(found)

    def _look_at_owner(self) -> None:
        if not self._looked_at:
            self._looked_at = True
            warn_of_others(self.folder)

    def _path(self, identity: Identity) -> Path:
        return self.folder / f"{identity.stem}{_SUFFIX}"


def _asset(manifest: file.Manifest, path: Path) -> Asset:
    one = manifest.identity
    return Asset(one.kind, one.owner, one.base_root, dict(one.parameters), manifest.sha256, path)


def _whole(path: Path, identity: Identity) -> file.Manifest | None:
    """The verified manifest of a file, or None; a file that fails is moved out of the way and reported."""
    if not path.is_file():
        return None
    try:
        manifest = file.verify(path)
        if manifest.identity.key != identity.key:
            raise file.CorruptAssetError(f"the asset {path.name} is of another identity than its name says")
    except file.CorruptAssetError as error:
        aside = path.with_name(path.name + _ASIDE)
        os.replace(path, aside)
        warnings.warn(f"{error}; set aside as {aside.name}, and computed again", AssetWarning, stacklevel=3)
        return None
    return manifest
