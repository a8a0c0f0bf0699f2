"""A locator's word in tuning: where it points is tried before any other place, and the trials say which is better."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from editcore.plugins.calls import run_locate, stage_manager
from editcore.plugins.choices import record_of
from editcore_hooks import Case, EditMethod, Locator, State, Tunable, UsageError

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession


@frozen
class Located:
    """The place that a locator names for a method, and what is kept of the locator."""

    place: Mapping[str, Any]
    record: Mapping[str, Any]

    @classmethod
    def of(cls, session: "OpenSession", locator: Locator, method: type[EditMethod], cases: Sequence[Case]) -> "Located":
        """Ask the locator about the cases, what they say now being the answer.

        Raises `UsageError` where the method does not edit at such a place.
        """
        requests = [case.request for case in cases]
        manager = stage_manager(session.registry, locator=locator)
        location = run_locate(manager, session, requests, State(session.live.hash))
        place = method.place_at(location)
        if not place:
            sites = ", ".join(map(str, location.sites))
            raise UsageError(f"{method.name} has no setting that puts it at {sites}", hint="tune without --locate")
        return cls(place, record_of(session.registry, locator))

    def first(self, space: Tunable) -> Tunable:
        """The space with this place before the others."""
        others = tuple(place for place in space.places if dict(place) != dict(self.place))
        return evolve(space, places=(self.place, *others))

    def about(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """For a profile: the locator, its place, and whether the trials took it."""
        return {**self.record, "place": dict(self.place), "chosen": self.place.items() <= settings.items()}
