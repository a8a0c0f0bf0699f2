"""Profiles: the settings that were found best for a model, under a name, beside its other assets."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
from attrs import frozen

from editcore.assets.identity import Identity
from editcore.storage.canonical import canonical
from editcore.text.shell import quoted
from editcore_hooks import Asset, EditMethod, Tunable, UsageError

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

KIND: Final = "profile"
OWNER: Final = "editcore"
DEFAULT: Final = "default"


@frozen
class Profile:
    """Hyper-parameters of `method` for the model that the asset belongs to; `about` tells how they were found."""

    name: str
    method: str
    hparams: Mapping[str, Any]
    about: Mapping[str, Any]
    asset: Asset


def default_name(together: int) -> str:
    """The name of the profile that edits of so many facts at once use by themselves."""
    return DEFAULT if together == 1 else f"{DEFAULT}-{together}"


def find_profile(session: "OpenSession", method: str, name: str = DEFAULT) -> Profile | None:
    """The profile of that name for the base of the session's model, or None."""
    asset = session.assets.find(_identity(session, method, name))
    if asset is None:
        return None
    about = session.assets.about(asset)
    return Profile(name, method, about["hparams"], about, asset)


def named_profile(session: "OpenSession", method: str, name: str) -> Profile:
    """The profile of that name. Raises `UsageError` when there is none."""
    profile = find_profile(session, method, name)
    if profile is None:
        message = f"there is no profile {name!r} of {method} for {session.loaded.name}"
        raise UsageError(message, hint=f"editcore tune MODEL --method {method} --name {quoted(name)}")
    return profile


def list_profiles(session: "OpenSession", method: str | None = None) -> list[Profile]:
    """Every profile of the base of the session's model, or those of one method, by method and name."""
    found = []
    for asset in session.assets.list():
        mine = (asset.kind, asset.owner, asset.base_root) == (KIND, OWNER, session.weights_root)
        if mine and method in (None, asset.parameters["method"]):
            about = session.assets.about(asset)
            found.append(Profile(asset.parameters["name"], asset.parameters["method"], about["hparams"], about, asset))
    return sorted(found, key=lambda profile: (profile.method, profile.name))


def forget_profile(session: "OpenSession", method: str, name: str) -> None:
    """Remove a profile. Raises `UsageError` when there is none."""
    session.assets.remove(named_profile(session, method, name).asset)


def origin(session: "OpenSession", method: type[EditMethod], space: Tunable) -> dict[str, str]:
    """For the annotation of a profile: which version of the method was tuned, and over which settings."""
    tried = attrs.asdict(space, filter=lambda field, _: field.name != "tokens")
    return {
        "version": session.registry.source_of(method)[1],
        "space": hashlib.sha256(canonical(_plain(tried))).hexdigest()[:16],
    }


def outdated(session: "OpenSession", profile: Profile, method: type[EditMethod], space: Tunable) -> bool:
    """Whether the method would try other settings today than those of which the profile is the best."""
    return bool(profile.about.get("space") != origin(session, method, space)["space"])


def keep_profile(
    session: "OpenSession", method: str, name: str, hparams: Mapping[str, Any], about: Mapping[str, Any]
) -> Profile:
    """Keep settings under a name, in place of what had it. `about` holds JSON values."""
    import torch  # here, since the command line looks for a name before torch is loaded

    scores = torch.tensor([trial["score"] for trial in about["trials"]], dtype=torch.float32)
    whole = {**about, "hparams": dict(hparams)}
    asset = session.assets.put(_identity(session, method, name), {"scores": scores}, whole)
    return Profile(name, method, hparams, whole, asset)


def _plain(value: Any) -> Any:
    """Tuples as lists: JSON knows no others."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _identity(session: "OpenSession", method: str, name: str) -> Identity:
    return Identity(KIND, OWNER, session.weights_root, {"method": method, "name": name})
