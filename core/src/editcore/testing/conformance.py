"""What every editing method must keep to, as tests that its author inherits.

    from editcore.testing.conformance import MethodConformance

    class TestMine(MethodConformance):
        method = "mine"
        hparams = {"layer": 1}  # settings under which an edit is cheap

Override `model` to run on another one than the taught Llama. A check that cannot hold is named with its reason in
`not_applicable`, and shows as skipped. Importing this module needs pytest.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from editcore.assets.store import AssetStore
from editcore.editing.folders import apply_to_folder
from editcore.editing.session import Session
from editcore.patches.checkpoint import Checkpoint
from editcore.patches.ondisk import revert_on_disk
from editcore.patches.patch import Patch
from editcore.plugins.hparams import from_mapping, to_json, undocumented
from editcore.testing.method_under_test import MethodUnderTest
from editcore.testing.running import answers, difference, logprobs
from editcore.testing.snapshot import Snapshot, random_states
from editcore_hooks import EditcoreError, Location, Site


class MethodConformance(MethodUnderTest):
    """The checks. Tolerances are for what floating point does to sums in another order or shape."""

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

    def test_two_seeded_runs_agree_to_the_last_bit(self, folder: Path, assets: AssetStore) -> None:
        patches = []
        for noise in (1, 2):
            session = self.open(folder, assets)
            torch.manual_seed(noise)  # what came before must not matter
            patches.append(self.tried.patch(session))
        one, other = patches
        assert one.patch_id == other.patch_id
        assert one.tensors.keys() == other.tensors.keys()
        assert all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())

    def test_the_order_of_requests_does_not_matter(self, session: Session) -> None:
        if not self.tried.batch(session):
            pytest.skip("it takes one request an update")
        forwards, backwards = (self.tried.patch(session, order) for order in (self.requests, self.requests[::-1]))
        assert difference(forwards, backwards) < self.delta_tolerance

    def test_a_row_answers_alike_alone_and_among_others(self, session: Session) -> None:
        with session.patched(self.tried.patch(session)):
            alone = torch.cat([logprobs(session, [request]) for request in self.requests])  # (n,)
            together = logprobs(session, self.requests)  # (n,)
        torch.testing.assert_close(together, alone, rtol=0, atol=self.score_tolerance)

    def test_the_side_of_padding_does_not_matter(self, folder: Path, assets: AssetStore) -> None:
        patches = []
        for side in ("left", "right"):
            session = self.open(folder, assets)
            session.tokenizer.padding_side = side
            patches.append(self.tried.patch(session))
        assert difference(*patches) < self.delta_tolerance
        with session.patched(patches[0]):
            left, right = logprobs(session, self.requests, "left"), logprobs(session, self.requests, "right")
        torch.testing.assert_close(left, right, rtol=0, atol=self.score_tolerance)

    def test_only_located_tensors_are_touched(self, session: Session) -> None:
        location, update = self.tried.stages(session)
        stray = [str(site) for site in update.tensors if site not in location.sites]
        assert stray == [], f"{', '.join(stray)} is no part of the location"
        located = {session.anatomy.parameter(site)[0] for site in update.tensors}
        before = Snapshot.of(session.model)
        with session.patched(self.tried.patch(session)):
            changed = {name.removeprefix("the weights of ") for name in before.changes(Snapshot.of(session.model))}
        hooks = {name for name in changed if " of " in name}  # of a patch kind, which may put them where it likes
        assert changed - hooks <= located

    def test_a_patch_is_saved_applied_and_taken_back_to_the_last_bit(
        self, session: Session, folder: Path, assets: AssetStore, tmp_path: Path
    ) -> None:
        made = self.tried.patch(session)
        made.save(tmp_path / "made.safetensors")
        patch = Patch.load(tmp_path / "made.safetensors")
        assert patch.patch_id == made.patch_id
        before, plain = Snapshot.of(session.model), logprobs(session, self.requests)
        with session.patched(patch):
            live = logprobs(session, self.requests)
        assert before.changes(Snapshot.of(session.model)) == []
        assert torch.equal(logprobs(session, self.requests), plain)
        if patch.kind != "weights":
            return  # the host puts no other kind on disk
        copy = tmp_path / "model"
        shutil.copytree(folder, copy)
        files = _digests(copy)
        apply_to_folder(Checkpoint.open(copy), [patch], plugins=session.registry)
        assert torch.equal(logprobs(self.open(copy, assets), self.requests), live)
        revert_on_disk(copy, [patch.patch_id])
        after = _digests(copy)
        assert {name: after.get(name) for name in files} == files

    def test_the_target_becomes_likelier(self, session: Session) -> None:
        asked = self.tried.asked(session)
        before = answers(session, asked)
        with session.patched(self.tried.patch(session)):
            after = answers(session, asked)
        for request, old, new in zip(asked, before, after, strict=True):
            assert new > old, (
                f"{request.target_new!r} after {request.rendered().text!r}: log p {old:.3f}, then {new:.3f}"
            )

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


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
