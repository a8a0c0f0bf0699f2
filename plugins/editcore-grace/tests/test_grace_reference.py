"""The rule of radii and the trained value, against both written down plainly from the maths."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import editcore
from editcore import EditOptions, EditRequest
from editcore_grace.radii import resolve
from editcore_hooks import Site

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot")


def plainly(keys: list[list[float]], radius: float, labels: list[str], expand: bool) -> list[float]:
    """One entry after another, one pair after another."""
    radii: list[float] = []
    for j, key in enumerate(keys):
        own = radius
        before = list(radii)
        distances = [math.dist(key, other) for other in keys[:j]]
        alive = [i for i in range(j) if before[i] >= 0]
        for i in alive:
            d = distances[i]
            if d > before[i] + radius or labels[i] == labels[j]:
                continue
            if d <= 1e-3 * math.hypot(*key):
                radii[i] = -1.0
            else:
                radii[i] = min(radii[i], d / 2 - 1e-5)
                own = min(own, d / 2)
        if expand and alive:
            i = min(alive, key=lambda i: distances[i])
            if labels[i] == labels[j] and distances[i] <= before[i] + radius:
                radii[i] = max(radii[i], distances[i])
        radii.append(own)
    return radii


POINTS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from("ab")), min_size=1, max_size=8)


@settings(max_examples=60)
@given(POINTS, st.booleans(), st.sampled_from([0.6, 1.3, 2.7]))
def test_radii_are_those_of_the_plain_rule(points: Any, expand: bool, radius: float) -> None:
    keys, labels = [[float(x), float(y)] for x, y, _ in points], [label for *_, label in points]
    found = resolve(torch.tensor(keys), torch.full((len(keys),), radius), labels, expand)
    assert found.tolist() == pytest.approx(plainly(keys, radius, labels, expand), abs=1e-5)


@settings(max_examples=60)
@given(POINTS, st.sampled_from([0.6, 2.7]))
def test_balls_of_two_targets_are_disjoint(points: Any, radius: float) -> None:
    keys, labels = torch.tensor([[float(x), float(y)] for x, y, _ in points]), [label for *_, label in points]
    radii = resolve(keys, torch.full((len(keys),), radius), labels, False)
    for i in range(len(keys)):
        for j in range(i):
            if labels[i] != labels[j] and min(radii[i], radii[j]) >= 0:
                assert radii[i] + radii[j] < (keys[i] - keys[j]).norm() + 1e-6


def test_the_value_is_that_of_a_plain_loop(llama_folder: Path) -> None:
    chosen = {"layer": 1, "steps": 6, "lr": 0.5, "stop_loss": 0.0}
    session = editcore.open(llama_folder)
    patch = session.edit_all([REQUEST], EditOptions("grace", hparams=(("test", chosen),)), measured=False)

    tokenizer, model = session.tokenizer, session.model
    prompt = tokenizer(REQUEST.rendered().text)["input_ids"]
    answer = tokenizer(" " + REQUEST.target_new, add_special_tokens=False)["input_ids"]
    ids, last = torch.tensor([[*prompt, *answer]]), len(prompt) - 1
    layer = session.anatomy.module(Site("mlp_out", 1))
    seen: list[Any] = []
    with layer.register_forward_hook(lambda module, args, output: seen.extend((args[0][0, last], output[0, last]))):
        model(ids[:, :-1])
    value = seen[1].clone().requires_grad_()

    def put(module: Any, args: Any, output: Any) -> Any:
        output = output.clone()
        output[0, last] = value
        return output

    adam, tried = torch.optim.Adam([value], lr=0.5), []
    with layer.register_forward_hook(put):
        for _ in range(7):
            logits = model(ids[:, :-1]).logits[0, last:]
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(answer))
            tried.append((float(loss.detach()), value.detach().clone()))
            adam.zero_grad()
            loss.backward()
            adam.step()
    loss, best = min(tried, key=lambda pair: pair[0])
    torch.testing.assert_close(patch.tensors["payload/keys"][0], seen[0])
    torch.testing.assert_close(patch.tensors["payload/values"][0], best, rtol=1e-3, atol=1e-3)
    assert patch.about["notes"][0]["losses"] == pytest.approx([loss], rel=1e-2)
