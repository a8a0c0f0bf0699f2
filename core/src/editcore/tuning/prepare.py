"""A method made ready for a session: found, and its hyper-parameters resolved, by tuning where nothing is known."""

from typing import TYPE_CHECKING

from editcore.editing.prepared import EditOptions, PreparedMethod, UsedProfile
from editcore.plugins.hparams import merge
from editcore.plugins.locators import make_locator
from editcore.plugins.transforms import make_transforms
from editcore.text.ids import short
from editcore.tuning.settings import find_settings
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession


def prepare(session: "OpenSession", options: EditOptions, edits: int = 1) -> PreparedMethod:
    """Find the method and resolve its hyper-parameters for so many edits. Raises `PluginError`, `UsageError`."""
    _require_weights(session)
    cls = session.registry.method(options.method)
    edits = edits if "batch" in cls.capabilities else 1
    # what is misspelt is refused before anything takes time
    merge(cls.Hparams, *options.hparams)
    make_locator(session.registry, options.locator)
    make_transforms(session.registry, options.transforms)
    found = find_settings(session, cls, options, edits)
    resolved = merge(cls.Hparams, *found.layers, *options.hparams)
    profile = None if found.profile is None else UsedProfile(found.profile.name, found.profile.asset)
    return PreparedMethod(cls(resolved.hparams), resolved, options, profile, found.preset)


def _require_weights(session: "OpenSession") -> None:
    """Methods read weights, so these must be the ones that answer. Raises `UsageError`."""
    if session.loaded.quantised:
        raise UsageError(
            f"{session.loaded.name} is quantised, and an edit is computed on its base",
            hint="open the base in 16 or 32 bits; its patches run beside quantised weights too",
        )
    if session.live.beside:
        raise UsageError(
            f"patch {short(session.live.beside[0])} runs beside the weights, and a method would not see it",
            hint="open the model without `beside`",
        )
