"""The sources in a patch made from others: their annotation, without requests that were removed.

A squash of a squash lists the sources of both in one list, so that it can be squashed again as often as one likes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from editcore.patches.file.patch import Patch, PatchHeader

_OF_EACH: Final = (
    "title", "method", "hparams", "locator", "transforms", "profile", "seed", "computed_on", "computed_on_patches",
    "requests", "redacted", "metrics", "environment", "created", "license", "author", "squash",
)  # fmt: skip

_SHARED: Final = ("computed_on", "computed_on_patches", "license", "author")


def gather(patches: Sequence[Patch]) -> dict[str, Any]:
    """Annotation of a patch made of `patches`: sources and requests of all, names of tensors, what they agree on."""
    requests = [request for patch in patches for request in _list(patch.about.get("requests"))]
    return {
        "sources": [source for patch in patches for source in _sources(patch.patch_id, patch.about)],
        # Redacted sources bring none, and nothing else here repeats their texts.
        **({"requests": requests} if requests else {}),
        "metrics": [],  # each was measured alone
        "sites": _merged([patch.annotation("sites") for patch in patches]),
        "aliases": _merged([patch.annotation("aliases") for patch in patches]),
        **{name: common([patch.about.get(name) for patch in patches]) for name in _SHARED},
    }


def contents(patch: Patch | PatchHeader) -> set[str]:
    """The id of a patch and, after a squash, of all that are in it: by its groups, which are part of the id, and by its
    annotation, which also names the others."""
    grouped = {group.patch_id for target in patch.targets.values() for group in target.groups}
    return {patch.patch_id} | grouped | {source["patch_id"] for source in _sources(patch.patch_id, patch.about)}


def _sources(patch_id: str, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A patch and, before it, all that are in it. Files of the first versions hold lists of sources in sources."""
    listed = _list(about.get("sources"))
    names = [one for one in listed if isinstance(one, str)]
    inside = [one for one in listed if isinstance(one, Mapping) and isinstance(one.get("patch_id"), str)]
    own = {"patch_id": patch_id, **{name: about[name] for name in _OF_EACH if name in about}}
    if not inside:
        return [{**own, "sources": names} if names else own]
    found = {each["patch_id"]: each for one in inside for each in _sources(one["patch_id"], one)}
    further = {name for each in found.values() for name in each.get("sources", ())}
    # Its requests and figures are those of its sources, which are there.
    outer = {name: value for name, value in own.items() if name not in ("requests", "metrics")}
    return [*found.values(), {**outer, "sources": [name for name in found if name not in further]}]


def common(values: Sequence[Any]) -> Any:
    """The value that all have, or None."""
    return values[0] if all(value == values[0] for value in values) else None


def _merged(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for one in objects for name, value in one.items()}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
