"""Checks of a method itself, and of its stages without the host's safety net."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from editcore.facade import Session
from editcore.plugins.hparams import from_mapping, to_json, undocumented
from editcore.testing.method_under_test import MethodUnderTest
from editcore.testing.snapshot import Snapshot, random_states
from editcore_hooks import EditcoreError, Location, Site


class StageChecks(MethodUnderTest):
    """Declared well, traceless, and clear about what it cannot edit."""

    def test_the_entry_module_imports_no_torch(self, session: Session) -> None:
        module = self.tried.cls(session).__module__
        code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
        path = os.pathsep.join(entry for entry in sys.path if entry)
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=False)
        assert done.returncode == 0, f"importing {module} imports torch, or fails"

    def test_every_hyper_parameter_is_documented(self, session: Session) -> None:
        assert undocumented(self.tried.cls(session).Hparams) == []

    def test_hyper_parameters_survive_json(self, session: Session) -> None:
        cls = self.tried.cls(session).Hparams
        values: Any = from_mapping(cls, self.hparams)
        assert from_mapping(cls, json.loads(json.dumps(to_json(values)))) == values

    def test_the_model_is_left_as_it_was(self, session: Session) -> None:
        before = Snapshot.of(session.model)
        self.tried.stages(session)
        assert before.changes(Snapshot.of(session.model)) == []

    def test_random_state_is_left_as_it_was(self, session: Session) -> None:
        from editcore.editing.seeding import seed_all

        seed_all(session.seed)  # as `stages` begins
        before = random_states()
        self.tried.stages(session)
        assert random_states() == before, "a global generator was drawn from: use a torch.Generator, or fork_rng"

    def test_a_site_that_is_not_there_is_refused(self, session: Session) -> None:
        location, _ = self.tried.stages(session)
        role = location.sites[0].role if location.sites else "mlp_out"
        nowhere = Location((Site(role, session.anatomy.n_layers),), token=location.token)
        _assert_refused(lambda: self.tried.stages(session, location=nowhere), "a layer that the model has not")

    def test_a_batch_of_nothing_is_refused(self, session: Session) -> None:
        if not self.tried.batch(session):
            pytest.skip("it takes one request an update")
        location, _ = self.tried.stages(session)
        _assert_refused(lambda: self.tried.stages(session, requests=[], location=location), "no request")


def _assert_refused(call: Any, what: str) -> None:
    refusal: Exception | None = None
    try:
        call()
    except Exception as error:
        refusal = error
    assert refusal is not None, f"{what} is not refused"
    found = f"{type(refusal).__name__}: {refusal}"
    assert isinstance(refusal, EditcoreError), f"{what} raises no EditcoreError but {found}"
    assert refusal.hint, f"{what} is refused without a hint: {found}"
