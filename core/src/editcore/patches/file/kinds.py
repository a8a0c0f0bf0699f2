"""The owner of a patch that is not weights: the plugin that knows what its payload means."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from editcore.patches.file.patch import Described
    from editcore.plugins.registry import Registry
    from editcore_hooks import Patch, PatchKind
    from editcore_hooks.values import Tensor


def owner_of(
    core: Mapping[str, Any], about: Mapping[str, Any], plugins: "Registry | None" = None
) -> "PatchKind | None":
    """The kind of a patch by core and annotation; None for weights, and where its plugin is not installed or not
    usable. Of two kinds of one name it is that of the distribution that the patch's method came from."""
    if core["kind"] == "weights":
        return None
    from editcore.plugins.registry import registry

    method = about.get("method")
    distribution = method.get("distribution") if isinstance(method, Mapping) else None
    owner = (plugins or registry()).patch_kinds.find(str(core["payload"]["kind"]), str(distribution))
    return None if owner is None else owner()


def folds(patch: "Described") -> bool:
    """Whether the owner of a patch can write it into a checkpoint of its own."""
    owner = owner_of(patch.core, patch.about)
    return owner is not None and owner.folds()


def payload_fault(
    core: Mapping[str, Any],
    about: Mapping[str, Any],
    tensors: "Mapping[str, Tensor] | None" = None,
    plugins: "Registry | None" = None,
) -> str | None:
    """The fault that the owner of a patch finds in it, as a clause; None without a fault or an owner."""
    owner = owner_of(core, about, plugins)
    if owner is None:
        return None
    try:
        return owner.check(core, tensors)
    except Exception as error:  # a file that a plugin stumbles over is not one to rely on
        return f"{owner.name} cannot check it: {type(error).__name__}: {error}"


def as_patch(patch: "Described") -> "Patch":
    """A patch, or a header, of which a kind reads the core and the annotation only."""
    return cast("Patch", patch)
