"""How to edit, as it was asked for and as it is ready to run."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from editcore.plugins.hparams import Resolved
from editcore_hooks import Asset, EditMethod


@frozen
class EditOptions:
    """How to edit. `hparams` are layers of values over profile and preset, each with the name of its source.

    `profile` names a profile of the model; without one its default profile is used where there is one. Where there is
    neither that nor a preset, and neither a layer nor a locator chooses what could be tuned, the model is tuned first
    unless `tune` is False; again, where the method has other settings to try by now.
    `memory` notes the peak of memory in the patch; the process's own record of its peak is reset for it.
    """

    method: str = "rome"
    profile: str | None = None
    tune: bool = True
    hparams: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    transforms: tuple[str, ...] = ()
    locator: str | None = None
    title: str | None = None
    memory: bool = False


@frozen
class UsedProfile:
    """The profile whose settings a method runs with, by name and asset."""

    name: str
    asset: Asset


@frozen
class PreparedMethod:
    """A method made ready for one session."""

    method: EditMethod
    resolved: Resolved
    options: EditOptions = field(repr=False)
    profile: UsedProfile | None = None
    preset: str | None = None

    @property
    def source(self) -> str | None:
        """Its settings in words; None where they are the method's defaults and what the call says."""
        if self.profile is not None:
            return f"profile {self.profile.name}"
        return None if self.preset is None else f"preset {self.preset}"
