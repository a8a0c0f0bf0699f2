"""Checks of a locator: it names places that are there, alike each time, and leaves the model as it was."""

from pathlib import Path
from typing import ClassVar, Final

from editcore.assets.store import AssetStore
from editcore.editing.seeding import seed_all
from editcore.facade import Session
from editcore.plugins.calls import run_locate, stage_manager
from editcore.plugins.hparams import from_mapping
from editcore.testing.declared_checks import DeclaredChecks
from editcore.testing.traceless import assert_draws_nothing, assert_traceless
from editcore_hooks import Location, Named, State

TOKENS: Final = ("subject_last", "subject_first", "last")


class LocatorChecks(DeclaredChecks):
    """Whatever the method is that edits there."""

    locator: ClassVar[str]

    @property
    def cls(self) -> type[Named]:
        return self.known.locator(self.locator)

    def located(self, session: Session, backwards: bool = False) -> Location:
        """The answer of the locator alone, seeded as the host does."""
        instance = self.known.locator(self.locator)(from_mapping(self.cls.Hparams, self.hparams))
        manager = stage_manager(self.known, locator=instance)
        requests = self.requests[::-1] if backwards else self.requests
        seed_all(session.seed)
        return run_locate(manager, session, requests, State(session.live.hash))

    def test_every_site_is_in_the_model(self, session: Session) -> None:
        location = self.located(session)
        assert location.sites, "it names no site"
        for site in location.sites:
            session.anatomy.module(site)  # raises where there is none
        assert len(set(location.sites)) == len(location.sites), "a site is named twice"

    def test_its_token_has_a_meaning(self, session: Session) -> None:
        assert self.located(session).token in TOKENS, f"methods know {', '.join(TOKENS)}"

    def test_the_model_is_left_as_it_was(self, session: Session) -> None:
        assert_traceless(session, lambda: self.located(session))

    def test_random_state_is_left_as_it_was(self, session: Session) -> None:
        assert_draws_nothing(session, lambda: self.located(session))

    def test_two_seeded_runs_agree(self, folder: Path, assets: AssetStore) -> None:
        one, other = (self.located(self.open(folder, assets)) for _ in range(2))
        assert one == other

    def test_the_order_of_requests_does_not_matter(self, session: Session) -> None:
        forwards, backwards = self.located(session), self.located(session, backwards=True)
        assert set(forwards.sites) == set(backwards.sites)
