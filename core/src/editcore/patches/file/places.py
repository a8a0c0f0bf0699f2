"""The sites that a patch beside the weights needs, against those of a model."""

from typing import TYPE_CHECKING

from editcore.patches.file.patch import Patch
from editcore.text.ids import short
from editcore_hooks import UsageError, WrongBaseError

if TYPE_CHECKING:
    from editcore_hooks import Anatomy, PatchKind


def require_places(patch: Patch, owner: "PatchKind", anatomy: "Anatomy") -> None:
    """Raise `WrongBaseError` for a site that the model does not have, or has with other widths."""
    for site, wanted in owner.places(patch, anatomy).items():
        try:
            found = anatomy.widths(site)
        except UsageError as error:
            raise _misfit(patch, error.message) from error
        for which, needed, width in zip(("in", "out"), wanted, found, strict=True):
            if needed is not None and needed != width:
                raise _misfit(patch, f"it needs a width {which} of {needed} at {site}, and finds {width}")


def _misfit(patch: Patch, why: str) -> WrongBaseError:
    return WrongBaseError(
        f"patch {short(patch.patch_id)} does not fit this model: {why}",
        hint="use the base that the patch was made for; `editcore inspect PATCH` names it",
    )
