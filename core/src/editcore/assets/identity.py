"""The identity of an asset."""

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from editcore.storage.canonical import canonical, sha256_of
from editcore_hooks import UsageError

_KIND: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def _plain(value: Any) -> Any:
    """Tuples as lists, so that what was given equals what is read back."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


@frozen
class Identity:
    """Kind, owner (the distribution that computes it), weights root of the model, and parameters as JSON values."""

    kind: str = field()
    owner: str
    base_root: str
    parameters: Mapping[str, Any] = field(factory=dict, converter=_plain)

    @kind.validator
    def _is_file_safe(self, _: Any, value: str) -> None:
        if not _KIND.fullmatch(value):
            raise UsageError(f"the asset kind {value!r} is not made of a-z, 0-9, - and _")

    def __attrs_post_init__(self) -> None:
        canonical(self.as_json())

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "owner": self.owner,
            "base_root": self.base_root,
            "parameters": self.parameters,
        }

    @property
    def key(self) -> str:
        """sha256 over all four."""
        return sha256_of(self.as_json())

    @property
    def stem(self) -> str:
        """The name of its file, without the suffix."""
        return f"{self.kind}-{self.key[:32]}"
