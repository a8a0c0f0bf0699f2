"""Texts that are read together: as one by one, as a plain forward says, and the same bits after a resumed training."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore.testing.training import opened, shortly_trained, taught_cases
from editcore_serac.hparams import SeracHparams
from editcore_serac.learner import SeracLearner
from editcore_serac.reading import places, read, read_prompts


@pytest.fixture
def session(gpt2_folder: Path, tmp_path: Path) -> editcore.Session:
    return opened(gpt2_folder, tmp_path / "assets")


def test_texts_that_are_read_together_are_those_of_a_plain_forward(session):
    where = places(session, 1)
    items = [session.encode(case.request) for case in taught_cases()[:9]]
    items = [(tuple(one.prompt_ids), (*one.target_ids, *one.prompt_ids[:i])) for i, one in enumerate(items)]
    alone = read_prompts(session, [prompt for prompt, _ in items], where)
    for (prompt, target), found, features in zip(items, read(session, items, where), alone, strict=True):
        with torch.no_grad():
            plain: Any = session.model(torch.tensor([[*prompt, *target]]), output_hidden_states=True)
        middle = plain.hidden_states[2][0, : len(prompt)]  # 0 are embeddings
        wanted = torch.cat([middle[-1], middle.mean(0)])
        torch.testing.assert_close(found.features, wanted, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(features, wanted, rtol=1e-3, atol=1e-4)
        normed = session.model.transformer.ln_f(found.states)  # the last of the hidden states are after the norm
        torch.testing.assert_close(normed, plain.hidden_states[-1][0, len(prompt) - 1 :], rtol=1e-3, atol=1e-3)
        assert found.after == int(plain.logits[0, -1].argmax())


def test_losses_and_gradients_are_those_of_reading_one_by_one(session, monkeypatch):
    cases, found = taught_cases()[:6], []
    for rows in (1, 4):
        monkeypatch.setattr("editcore_serac.reading.ROWS", rows)
        learner = SeracLearner(session, SeracHparams(), places(session, None))
        learner.prepare(cases)
        losses = learner.add_gradients(cases, 1.0, random.Random(0))
        grads = {name: parameter.grad for name, parameter in learner.nets.named_parameters()}
        found.append(({**losses, **learner.measure(cases)}, grads))
    (alone, plain), (together, grads) = found
    assert together == pytest.approx(alone, rel=1e-3, abs=1e-5)
    for name, grad in grads.items():
        assert float(grad.norm()) > 0, name
        torch.testing.assert_close(grad, plain[name], rtol=1e-2, atol=1e-4)


def test_a_killed_training_ends_in_the_bits_of_a_whole_one(gpt2_folder, tmp_path, monkeypatch):
    plan = {"steps": 3, "every": 3}
    whole = shortly_trained(opened(gpt2_folder, tmp_path / "whole"), "serac", plan)
    monkeypatch.setattr("editcore.training.loop.SAVE_SECONDS", -1.0)  # a work file after each step
    calls: list[int] = []
    real = SeracLearner.add_gradients

    def dying(self: SeracLearner, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(SeracLearner, "add_gradients", dying)
    with pytest.raises(KeyboardInterrupt):
        shortly_trained(opened(gpt2_folder, tmp_path / "killed"), "serac", plan)
    resumed = shortly_trained(opened(gpt2_folder, tmp_path / "killed"), "serac", plan)
    assert len(calls) == 2 + 2
    assert resumed.sha256 == whole.sha256
