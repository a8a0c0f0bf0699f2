"""Checks of a method's stages without the host's safety net."""

import pytest

from editcore.facade import Session
from editcore.testing.traceless import assert_draws_nothing, assert_refused, assert_traceless
from editcore.testing.under_test import MethodUnderTest
from editcore_hooks import Location, Site


class StageChecks(MethodUnderTest):
    """Traceless, and clear about what it cannot edit."""

    def test_the_model_is_left_as_it_was(self, session: Session) -> None:
        assert_traceless(session, lambda: self.tried.stages(session))

    def test_random_state_is_left_as_it_was(self, session: Session) -> None:
        assert_draws_nothing(session, lambda: self.tried.stages(session))

    def test_a_site_that_is_not_there_is_refused(self, session: Session) -> None:
        location, _ = self.tried.stages(session)
        role = location.sites[0].role if location.sites else "mlp_out"
        nowhere = Location((Site(role, session.anatomy.n_layers),), token=location.token)
        assert_refused(lambda: self.tried.stages(session, location=nowhere), "a layer that the model has not")

    def test_a_batch_of_nothing_is_refused(self, session: Session) -> None:
        if not self.tried.batch(session):
            pytest.skip("it takes one request an update")
        location, _ = self.tried.stages(session)
        assert_refused(lambda: self.tried.stages(session, requests=[], location=location), "no request")
