"""The source of an edit's settings: a measured profile, a shipped preset, or a search now."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from editcore.plugins.presets import preset_name
from editcore.session.limits import TimeUp
from editcore.tuning import tune
from editcore.tuning.profiles import Profile, default_name, find_profile, named_profile, origin, outdated
from editcore_hooks import EditMethod, Tunable, UsageError

if TYPE_CHECKING:
    from editcore.editing.prepared import EditOptions
    from editcore.session.open_session import OpenSession

OWN = "own"
"""The name of a preset that its method makes by itself."""


@frozen
class Settings:
    """Layers of hyper-parameters with the source of each, the profile among them, and the preset's name."""

    layers: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    profile: Profile | None = None
    preset: str | None = None
    """Where no profile lies over it."""


def find_settings(session: "OpenSession", cls: type[EditMethod], options: "EditOptions", edits: int) -> Settings:
    """Profile and preset for so many edits; tunes first where there is neither, see `EditOptions`."""
    facts = {**session.traits(), "edits": edits}
    preset = cls.preset(facts)
    name = (preset_name(cls, facts) or OWN) if preset else None
    below = [(f"preset {name}", preset)] if name is not None else []
    profile = _profile(session, cls, options, cls.tunable(facts), bool(preset), edits)
    if profile is None:
        return Settings(tuple(below), preset=name)
    return Settings((*below, (f"profile {profile.name}", profile.hparams)), profile)


def _profile(
    session: "OpenSession",
    cls: type[EditMethod],
    options: "EditOptions",
    space: Tunable | None,
    preset: bool,
    edits: int,
) -> Profile | None:
    if options.profile is not None:
        return named_profile(session, session.registry.methods.written(cls), options.profile)
    found = find_profile(
        session, session.registry.methods.written(cls), default_name(space.together if space is not None else 1)
    )
    if space is None or not options.tune or session.encoder_decoder or _chosen(space, options):
        return found  # with an encoder it writes no facts of its own to be tried on
    if found is not None and not outdated(session, found, cls, space):
        return found
    if found is None and preset:
        return None
    # without a profile it is asked again for every edit of the session
    key = ("tuned", cls, edits, origin(session, cls, space)["space"])
    return session.cached(key, lambda: _tuned(session, cls, edits, again=found is not None), base=True)


def _tuned(session: "OpenSession", cls: type[EditMethod], edits: int, again: bool) -> Profile | None:
    """Check the defaults and search where they do not hold; None, which is the defaults, where nothing can be tried."""
    if again:
        session.say(f"{cls.name} has new settings to try since its profile of {session.loaded.name} was kept")
    try:
        return tune.tune(session, session.registry.methods.written(cls), edits=edits, if_needed=True).profile
    except (TimeUp, UsageError) as error:
        session.say(f"{error}: the default settings of {cls.name} are used")
        return None


def _chosen(space: Tunable, options: "EditOptions") -> bool:
    """Whether the call itself chooses what would be tried: by hyper-parameters, or the place by a locator."""
    tried = {name for some in (*space.places, *space.recipes) for name in some}
    return options.locator is not None or any(tried & layer.keys() for _, layer in options.hparams)
