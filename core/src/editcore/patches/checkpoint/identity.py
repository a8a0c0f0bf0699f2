"""The base in a patch: a name, a revision, and the hashes that identify it."""

import re
from pathlib import Path
from typing import Any, Final

from editcore.patches.checkpoint.folder import Checkpoint
from editcore.text.visible import plain_line
from editcore_hooks import UsageError

_CARD: Final = 1_000_000
"""Bytes of a model card that are read."""
_LICENCE: Final = 200
_FRONT_MATTER: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*---\r?\n(.*?)\n---\s*?(?:\n|\Z)", re.DOTALL)


def base_identity(checkpoint: Checkpoint, name: str | None = None) -> dict[str, Any]:
    """The `base` annotation of patches made on `checkpoint`. Hashes every tensor once.

    `name` is what the person asked for; a path is shortened to its folder's name, so that no home directory gets out.
    """
    cached_name, revision = _from_cache(checkpoint.folder)
    architectures = checkpoint.config.get("architectures")
    return {
        "name": _plain(name) if name else cached_name or checkpoint.folder.resolve().name,
        "revision": revision,
        "license": license_of(checkpoint.folder),
        "architecture": architectures[0] if isinstance(architectures, list) and architectures else None,
        "weights_root": checkpoint.weights_root(),
        "config_sha256": checkpoint.config_sha256,
        "tokenizer_sha256": checkpoint.tokenizer_sha256,
    }


def license_of(folder: Path) -> str | None:
    """The licence that the model card of a folder names in its front matter, in one line, or None.

    A card comes from anywhere: of one that is very long, that nobody can read or that names no text, it is None.
    """
    from editcore.text.yaml_text import parse

    try:
        with (folder / "README.md").open("rb") as file:
            found = _FRONT_MATTER.match(file.read(_CARD))
        card = parse(found[1].decode(), "the model card") if found else None
    except (OSError, UnicodeDecodeError, UsageError):  # no card, or one that nobody can read
        return None
    card = card if isinstance(card, dict) else {}
    named = card.get("license")
    if named == "other":  # the hub's word for what its list does not have
        named = card.get("license_name") or named
    names = named if isinstance(named, list) else [named]
    texts = [name for name in names if isinstance(name, str)]
    return plain_line(", ".join(texts))[:_LICENCE] or None if len(texts) == len(names) else None


def _plain(name: str) -> str:
    is_repository = re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith(".") and not Path(name).exists()
    return name if is_repository else Path(name).resolve().name


def _from_cache(folder: Path) -> tuple[str | None, str | None]:
    """Repository and commit, read off the layout of a download cache: models--OWNER--NAME/snapshots/COMMIT."""
    for parts in (folder.absolute().parts, folder.resolve().parts):
        for repository, snapshots, commit in zip(parts, parts[1:], parts[2:], strict=False):
            if repository.startswith("models--") and snapshots == "snapshots":
                return repository.removeprefix("models--").replace("--", "/", 1), commit
    return None, None
