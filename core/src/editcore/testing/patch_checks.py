"""Checks of a method's patches, as people get them through the host."""

import hashlib
import math
import shutil
from pathlib import Path

import pytest
import torch

from editcore.applying.change import Change
from editcore.assets.store import AssetStore
from editcore.facade import Session
from editcore.patches.file.patch import Patch
from editcore.testing.running import answers, difference, differences, logprobs
from editcore.testing.snapshot import Snapshot
from editcore.testing.under_test import MethodUnderTest
from editcore_hooks import EditMethod


class PatchChecks(MethodUnderTest):
    """The same however it is asked for, where it says it is, gone without a trace, and of use."""

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
        sort = "" if forwards.kind == "weights" else ": sort the entries of the payload, by their texts for example"
        for part, found in differences(forwards, backwards).items():
            much = "is another" if math.isinf(found) else f"differs by {found:.2g} of its norm"
            assert found < self.delta_tolerance, f"with the requests in reverse order, {part} {much}{sort}"

    def test_edits_computed_together_are_those_computed_alone(self, session: Session) -> None:
        if self.tried.cls(session).compute_each is EditMethod.compute_each:
            pytest.skip("it has no `compute_each`: the host computes one edit after the other")
        together = session.edit_each(self.requests, self.tried.options, measured=False)
        for request, patch in zip(self.requests, together, strict=True):
            assert difference(patch, self.tried.patch(session, [request])) < self.delta_tolerance, request.prompt

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
        Change.open(copy, [patch]).commit(session.registry)
        assert torch.equal(logprobs(self.open(copy, assets), self.requests), live)
        Change.open(copy, remove=[patch.patch_id]).commit(session.registry)
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


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
