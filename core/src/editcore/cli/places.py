"""Output paths of commands and the cache folder, checked before anything is loaded or computed."""

import errno
import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from editcore.assets.folder import cache_path
from editcore.text.shell import quoted
from editcore_hooks import UsageError

PATCH: Final = ".safetensors"
_FILES: Final = frozenset((PATCH, ".gguf", ".bin", ".pt", ".pth", ".json"))
"""Endings of files, which nobody gives a folder on purpose."""
_TO_GGUF: Final = "convert the patched folder with convert_hf_to_gguf.py of llama.cpp"


def patch_output(name: str, *, overwrite: bool = False, folders: bool = False) -> Path:
    """The path for a patch, or with `folders` also a folder of patches. Raises `UsageError`.

    A name with another ending than .safetensors could mean either, so it is refused unless it is a folder already or
    ends in a slash.
    """
    path = Path(name)
    one = quoted(f"{path.with_suffix('') if path.suffix else path}{PATCH}")
    if path.suffix == ".gguf":
        hint = f"pass -o {one}; after `editcore apply`, {_TO_GGUF}"
        raise UsageError(f"{name} ends in .gguf, and a patch is a {PATCH} file", hint=hint)
    if path.suffix != PATCH:
        if not folders:
            raise UsageError(f"{name} does not end in {PATCH}", hint=f"pass -o {one}")
        if path.suffix and not path.is_dir() and not name.endswith(os.sep):
            folder = quoted(f"{name}{os.sep}")
            hint = f"pass -o {one} for one patch of all requests, -o {folder} for one patch a request"
            raise UsageError(f"{name} is neither a folder nor a name that ends in {PATCH}", hint=hint)
        if path.exists() and not path.is_dir():
            hint = f"pass -o {one} for one patch, or name a folder for one patch a request"
            raise UsageError(f"{name} is a file and not a folder", hint=hint)
    elif path.is_dir():
        raise UsageError(f"{name} is a folder", hint=f"pass -o {quoted(path / f'fact{PATCH}')}")
    elif path.exists() and not overwrite:
        raise UsageError(f"{name} exists", hint="choose another name, or pass --overwrite")
    if not folders and not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint=f"mkdir -p {quoted(path.parent)}")
    require_writable(path)
    return path


def free_folder(name: str, but: frozenset[str] = frozenset(), or_else: str = "") -> Path:
    """The folder to write, new or empty `but` for what is named. Raises `UsageError`.

    `or_else` is what else can be done where the folder is that of a model.
    """
    path = Path(name)
    if path.exists() and (not path.is_dir() or any(one.name not in but for one in path.iterdir())):
        more = f", or {or_else}" if or_else and (path / "config.json").is_file() else ""
        raise UsageError(f"{name} exists and is not empty", hint=f"choose a folder that does not exist{more}")
    if path.suffix in _FILES and not path.is_dir():
        more = f"; then {_TO_GGUF}" if path.suffix == ".gguf" else ""
        raise UsageError(
            f"{name} ends in {path.suffix}, but the output is a folder",
            hint=f"pass -o {quoted(path.with_suffix(''))}{more}",
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint=f"mkdir -p {quoted(path.parent)}")
    require_writable(path)
    return path


def require_writable(path: Path) -> None:
    """Raise `UsageError` when `path` cannot be made: its nearest folder that exists is a file, or takes no file."""
    place = _nearest(path)
    if not place.is_dir():
        raise UsageError(f"{place} is a file, so {path} cannot be written", hint="choose another folder")
    fault = _fault(place)
    if fault in (errno.EACCES, errno.EPERM):
        raise UsageError(
            f"{place} is read-only, so {path} cannot be written",
            hint=f"chmod u+w {quoted(place)}, or choose another folder",
        )
    if fault is not None:
        message = f"no file can be made in {place}, so {path} cannot be written: {os.strerror(fault)}"
        raise UsageError(message, hint="choose another folder")


def require_cache() -> None:
    """Raise `UsageError` when nothing can be kept in the cache folder, which is needed only after minutes of work.

    One that has assets passes: what is in a cache that was made read-only is used all the same.
    """
    folder = Path(cache_path())
    place = _nearest(folder)
    fault = _fault(place) if place.is_dir() else errno.ENOTDIR
    if fault is not None and not any(folder.glob("assets/*.safetensors")):
        raise UsageError(
            f"cannot write the cache folder {folder}: {os.strerror(fault)}",
            hint="set EDITCORE_CACHE to a folder that can be written, such as EDITCORE_CACHE=~/editcore-cache",
        )


def _nearest(path: Path) -> Path:
    """The folder in which the first part of `path` would be made."""
    place = path.absolute() if path.is_dir() else path.absolute().parent
    while not place.exists():
        place = place.parent
    return place


def _fault(folder: Path) -> int | None:
    """The error number of making a file in a folder, None where one can be made.

    It is tried: root may write everywhere by the permissions, also where no file system takes a file.
    """
    try:
        with NamedTemporaryFile(dir=folder, prefix=".editcore-"):
            return None
    except OSError as error:
        return error.errno or errno.EIO
