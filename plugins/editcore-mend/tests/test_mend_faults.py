"""Each fault that made published code of MEND and its relatives fail, as a test that ours does not have it."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.testing.training import opened, shortly_trained, taught_cases
from editcore_hooks import LowRank, Site
from editcore_mend.factors import factors
from editcore_mend.hparams import MendHparams
from editcore_mend.learner import MendLearner
from editcore_mend.method import shortened
from editcore_mend.nets import Normaliser, rectified

SETTINGS: dict[str, Any] = {"rank": 16, "edit_lr": 5e-4, "lr": 3e-3, "layers": [1, 2]}
SITES = tuple(Site(role, layer) for layer in (1, 2) for role in ("mlp_in", "mlp_out"))
HPARAMS = MendHparams(rank=16, edit_lr=5e-4)


@pytest.fixture
def session(llama_folder: Path, tmp_path: Path) -> editcore.Session:
    return opened(llama_folder, tmp_path / "assets")


@pytest.fixture
def learner(session: editcore.Session) -> MendLearner:
    made = MendLearner(session, HPARAMS, SITES)
    made.prepare(taught_cases())
    return made


def test_nets_that_begin_as_the_identity_learn_from_the_first_step(learner: MendLearner) -> None:
    """All rectified inputs are 0 at first: with a derivative of 0 there, only step sizes would ever move."""
    learner.add_gradients(taught_cases()[:4], 1.0, random.Random(0))
    for name, parameter in learner.editors.named_parameters():
        if name.split(".")[-1] in ("u", "bias", "shift", "step"):
            assert float(parameter.grad.abs().max()) > 0, name


def test_each_parameter_is_stepped_by_one_optimiser(learner: MendLearner) -> None:
    stepped = [id(p) for group in learner.optimizer().param_groups for p in group["params"]]
    assert len(stepped) == len(set(stepped)) == len(list(learner.editors.parameters()))


def test_the_edit_reaches_the_model(learner: MendLearner) -> None:
    """Where it does not, locality is perfect and the gradient of the step sizes is zero."""
    figures = learner.add_gradients(taught_cases()[:4], 1.0, random.Random(0))
    assert figures["locality loss"] > 0
    assert float(learner.editors.step.grad.abs().min()) > 0


def test_statistics_are_not_changed_by_edits(session: editcore.Session) -> None:
    asset = shortly_trained(session, "mend", **SETTINGS)
    request = EditRequest("{} works as a", "Ada Marlow", "pilot")
    first = session.edit_all([request], EditOptions("mend"))
    session.edit_all([case.request for case in taught_cases()], EditOptions("mend"))
    assert session.edit_all([request], EditOptions("mend")).patch_id == first.patch_id
    assert session.assets.load(asset).keys()  # hashes are those of the training


def test_statistics_of_one_token_are_refused() -> None:
    with pytest.raises(EditcoreError, match="too few"):
        Normaliser(3).collect(torch.ones(1, 3))


def test_no_request_of_a_batch_is_left_out(session: editcore.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published code takes a fixed number of edits and drops what is over; 7 is no multiple of 3."""
    shortly_trained(session, "mend", **SETTINGS)
    requests = [case.request for case in taught_cases()[:7]]
    monkeypatch.setattr("editcore_mend.method.CHUNK", 3)
    together = session.edit_all(requests, EditOptions("mend"), measured=False)
    each = session.edit_each(requests, EditOptions("mend"), measured=False)
    with session.patched(together):
        joint = [session.anatomy.weight(site).clone() for site in SITES]
    with session.patched(*each):
        summed = [session.anatomy.weight(site).clone() for site in SITES]
    for site, one, other in zip(SITES, joint, summed, strict=True):
        delta = one - session.anatomy.weight(site)
        assert float((one - other).norm() / delta.norm()) < 1e-3


def test_edits_in_one_patch_are_padded_to_the_last_one(learner: MendLearner) -> None:
    episode = learner.reader.episode(taught_cases()[:5], random.Random(0), 1)
    patches = learner.patches(episode, together=2)
    single = learner.patches(episode)
    for site in SITES:
        out, in_ = patches[site]
        assert len(out) == 3
        alone = [single[site][0][e] @ single[site][1][e] for e in range(5)]
        torch.testing.assert_close(out[0] @ in_[0], alone[0] + alone[1], rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(out[2] @ in_[2], alone[4], rtol=1e-3, atol=1e-6)


def test_padding_has_no_gradient_and_no_part_in_a_patch(session: editcore.Session) -> None:
    rows = [session.encode(case.request) for case in taught_cases()[:6]]
    items = [(row.prompt_ids, row.target_ids) for row in rows]
    found, _ = factors(session.anatomy, items, SITES)
    for i, item in enumerate(items):
        alone, _ = factors(session.anatomy, [item], SITES)
        for site in SITES:
            for one, other in zip(found[site].of(i), alone[site].of(0), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_gradients_in_16_bits_neither_vanish_nor_overflow(llama_folder: Path, tmp_path: Path) -> None:
    """A gradient that is small in float32 is zero in float16 unless the loss is scaled."""
    request = taught_cases()[0].request
    exact: dict[Site, torch.Tensor] = {}
    for dtype in ("float32", "float16", "bfloat16"):
        session = opened(llama_folder, tmp_path / dtype, dtype=dtype)
        row = session.encode(request)
        found, _ = factors(session.anatomy, [(row.prompt_ids, row.target_ids)], SITES)
        for site, one in found.items():
            delta = one.delta[0]
            if dtype == "float32":
                exact[site] = delta
            assert torch.isfinite(delta).all()
            assert delta.dtype == torch.float32
            assert float((delta - exact[site]).norm() / exact[site].norm()) < (0.01 if dtype == "float16" else 0.1)


def test_a_model_in_16_bits_trains_nets_in_32(llama_folder: Path, tmp_path: Path) -> None:
    session = opened(llama_folder, tmp_path / "assets", dtype="bfloat16")
    asset = shortly_trained(session, "mend", **SETTINGS)
    tensors = session.assets.load(asset)
    assert all(value.dtype == torch.float32 for name, value in tensors.items() if not name.endswith("count"))
    assert all(bool(torch.isfinite(value).all()) for value in tensors.values())
    assert session.assets.about(asset)["skipped_steps"] == 0


def test_more_tokens_than_the_matrix_has_sides_are_shortened_exactly() -> None:
    torch.manual_seed(0)
    for d_out, d_in in ((6, 9), (9, 6)):
        update = LowRank(torch.randn(d_out, 20), torch.randn(20, d_in))
        short = shortened(update)
        assert short.out.shape[1] == 6
        torch.testing.assert_close(short.out @ short.in_, update.out @ update.in_, rtol=1e-4, atol=1e-4)


def test_training_lowers_the_loss(session: editcore.Session) -> None:
    asset = shortly_trained(session, "mend", {"steps": 24, "every": 8, "batch": 8}, **SETTINGS)
    curve = session.assets.about(asset)["curve"]
    assert curve[-1]["losses"]["edit loss"] < curve[0]["losses"]["edit loss"]
    assert SETTINGS["rank"] == asset.parameters["settings"]["rank"]


def test_a_killed_training_ends_in_the_bits_of_a_whole_one(
    llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = {"steps": 6, "every": 2}
    whole = shortly_trained(opened(llama_folder, tmp_path / "whole"), "mend", plan, **SETTINGS)
    monkeypatch.setattr("editcore.training.loop.SAVE_SECONDS", -1.0)  # a work file after each step
    calls: list[int] = []
    real = MendLearner.add_gradients

    def dying(self: MendLearner, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(MendLearner, "add_gradients", dying)
    with pytest.raises(KeyboardInterrupt):
        shortly_trained(opened(llama_folder, tmp_path / "killed"), "mend", plan, **SETTINGS)
    resumed = shortly_trained(opened(llama_folder, tmp_path / "killed"), "mend", plan, **SETTINGS)
    assert len(calls) == 4 + 3
    assert resumed.sha256 == whole.sha256


def test_the_rectifier_lets_a_gradient_through_at_zero() -> None:
    x = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    y = rectified(x)
    assert y.tolist() == [0, 0, 2]
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [0, 1, 1]
