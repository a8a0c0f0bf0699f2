"""What a patch made of others says of them: their annotation, and requests that were taken out stay out."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from editcore.patches.patch import Patch

_OF_EACH: Final = (
    "title", "method", "hparams", "locator", "transforms", "profile", "seed", "computed_on", "computed_on_patches",
    "requests", "redacted", "metrics", "environment", "created", "license", "author", "squash", "sources",
)  # fmt: skip

_SHARED: Final = ("computed_on", "computed_on_patches", "license", "author")


def gather(patches: Sequence[Patch]) -> dict[str, Any]:
    """Annotation of a patch made of `patches`: sources and requests of all, names of tensors, what they agree on."""
    requests = [request for patch in patches for request in _list(patch.about.get("requests"))]
    return {
        "sources": [
            {"patch_id": patch.patch_id, **{name: patch.about[name] for name in _OF_EACH if name in patch.about}}
            for patch in patches
        ],
        # Redacted sources bring none, and nothing else here repeats their texts.
        **({"requests": requests} if requests else {}),
        "metrics": [],  # each was measured alone
        "sites": _merged([patch.annotation("sites") for patch in patches]),
        "aliases": _merged([patch.annotation("aliases") for patch in patches]),
        **{name: common([patch.about.get(name) for patch in patches]) for name in _SHARED},
    }


def common(values: Sequence[Any]) -> Any:
    """The value that all have, or None."""
    return values[0] if all(value == values[0] for value in values) else None


def _merged(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for one in objects for name, value in one.items()}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
