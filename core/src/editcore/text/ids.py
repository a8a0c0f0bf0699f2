"""Ids and hashes as people read them."""

from collections.abc import Iterable
from typing import Final

SHORT: Final = 12
"""Enough of a sha256 to name a patch."""


def short(sha256: str) -> str:
    """The beginning of an id or a hash."""
    return sha256[:SHORT]


def titled(patch_id: str, title: str) -> str:
    """The beginning of an id, and the title where there is one."""
    return f"{short(patch_id)} ({title})" if title else short(patch_id)


def under(key: str, patch_ids: Iterable[str]) -> str:
    """A tensor with the patches that change it, for messages."""
    return f"{key} (patch {', '.join(map(short, dict.fromkeys(patch_ids)))})"
