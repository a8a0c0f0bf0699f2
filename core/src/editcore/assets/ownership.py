"""Check who can write the cache: assets are trusted by hashes in the same folder."""

import os
import stat
import warnings
from pathlib import Path


class CacheWarning(UserWarning):
    """Another user can put files into the cache."""


def make_private(folder: Path) -> None:
    """Make a folder of the cache that only its user can enter; one that is there stays as it is."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def warn_of_others(folder: Path) -> None:
    """Warn where another user than root owns the folder or can write in it.

    A group counts unless it is the user's own, as on systems that give each user one.
    """
    try:
        status = folder.stat()
    except OSError:  # not there yet, or nobody's to read: whoever opens it is told
        return
    writable_by_group = status.st_mode & stat.S_IWGRP and status.st_gid != os.getgid()
    if status.st_uid not in (os.geteuid(), 0):
        fault = "belongs to another user"
    elif status.st_mode & stat.S_IWOTH or writable_by_group:
        fault = "can be written by other users"
    else:
        return
    warnings.warn(
        f"the cache {folder} {fault}, who could change what edits are computed from. "
        f"Run chmod go-w {folder}, or set EDITCORE_CACHE to a folder of your own",
        CacheWarning,
        stacklevel=4,
    )
