"""Output paths of commands, checked before anything is loaded or computed."""

import os
from pathlib import Path
from typing import Final

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
    stem = str(path.with_suffix("")) if path.suffix else str(path)
    if path.suffix == ".gguf":
        hint = f"pass -o {stem}{PATCH}; after `editcore apply`, {_TO_GGUF}"
        raise UsageError(f"{name} ends in .gguf, and a patch is a {PATCH} file", hint=hint)
    if path.suffix != PATCH:
        if not folders:
            raise UsageError(f"{name} does not end in {PATCH}", hint=f"pass -o {stem}{PATCH}")
        if path.suffix and not path.is_dir() and not name.endswith(os.sep):
            hint = f"pass -o {stem}{PATCH} for one patch of all requests, -o {name}{os.sep} for one patch a request"
            raise UsageError(f"{name} is neither a folder nor a name that ends in {PATCH}", hint=hint)
        if path.exists() and not path.is_dir():
            hint = f"pass -o {name}{PATCH} for one patch, or name a folder for one patch a request"
            raise UsageError(f"{name} is a file and not a folder", hint=hint)
    elif path.is_dir():
        raise UsageError(f"{name} is a folder", hint=f"pass -o {path / f'fact{PATCH}'}")
    elif path.exists() and not overwrite:
        raise UsageError(f"{name} exists", hint="choose another name, or pass --overwrite")
    if not folders and not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}")
    require_writable(path)
    return path


def free_folder(name: str, but: frozenset[str] = frozenset()) -> Path:
    """The folder to write, new or empty `but` for what is named. Raises `UsageError`."""
    path = Path(name)
    if path.exists() and (not path.is_dir() or any(one.name not in but for one in path.iterdir())):
        raise UsageError(f"{name} exists and is not empty", hint="choose a folder that does not exist")
    if path.suffix in _FILES and not path.is_dir():
        more = f"; then {_TO_GGUF}" if path.suffix == ".gguf" else ""
        raise UsageError(
            f"{name} ends in {path.suffix}, but the output is a folder", hint=f"pass -o {path.with_suffix('')}{more}"
        )
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}")
    require_writable(path)
    return path


def require_writable(path: Path) -> None:
    """Raise `UsageError` when `path` cannot be made: its nearest folder that exists is a file or is read-only."""
    place = path.absolute() if path.is_dir() else path.absolute().parent
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise UsageError(f"{place} is a file, so {path} cannot be written", hint="choose another folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(
            f"{place} is read-only, so {path} cannot be written", hint=f"chmod u+w {place}, or choose another folder"
        )
