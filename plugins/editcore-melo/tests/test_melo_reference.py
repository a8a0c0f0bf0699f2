"""Clusters, decision and training match plain ones, written from the maths with loops."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import editcore
from editcore import EditOptions, EditRequest
from editcore.authoring.memories import Seen
from editcore_hooks import Site
from editcore_melo.clusters import clusters_of
from editcore_melo.routed import Blocks, Routed

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot")
READS, ACTS = Site("block", 1), (Site("mlp_in", 2), Site("mlp_in", 3))
POINTS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from("ab")), min_size=1, max_size=8)


def drawn(points: Any) -> tuple[Tensor, list[str]]:
    # a little apart by place: a point in the middle between two others would depend on rounding
    keys = [[x + 0.013 * i, y + 0.007 * i * i] for i, (x, y, _) in enumerate(points)]
    return torch.tensor(keys), [label for *_, label in points]


@settings(max_examples=60)
@given(POINTS, st.sampled_from([0.6, 1.3, 2.7]))
def test_every_point_is_held_once_by_a_ball_of_its_own_target(points: Any, radius: float) -> None:
    keys, labels = drawn(points)
    found = clusters_of(keys, torch.full((len(keys),), radius), labels)
    assert sorted(point for one in found for point in one.points) == list(range(len(keys)))
    for one in found:
        assert {labels[point] for point in one.points} == {one.label}
        assert one.radius > 0 or len(keys) > 1
        for point in one.points:
            assert math.dist(keys[point].tolist(), one.centre.tolist()) <= one.radius + 1e-4


@settings(max_examples=60)
@given(POINTS, st.sampled_from([0.6, 1.3]))
def test_points_of_targets_apart_are_disjoint_balls(points: Any, radius: float) -> None:
    keys, _ = drawn(points)
    labels = [str(i) for i in range(len(keys))]
    found = clusters_of(keys, torch.full((len(keys),), radius), labels)
    for i, one in enumerate(found):
        for two in found[:i]:
            assert one.radius + two.radius <= math.dist(one.centre.tolist(), two.centre.tolist()) + 1e-4


def test_a_cluster_grows_and_is_split_and_the_shut_out_point_answers_by_itself() -> None:
    keys, labels = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.4, 1.0]]), ["a", "a", "b"]
    radii = torch.full((3,), 1.1)
    (one,) = clusters_of(keys[:2], radii[:2], labels[:2])
    assert one.points == (0, 1)
    assert one.centre.tolist() == [1.0, 1.0]
    assert one.radius == pytest.approx(1.1)
    # the new point is 0.6 from the centre, so the ball shrinks to 0.3: both points are shut out
    found = clusters_of(keys, radii, labels)
    assert sorted(one.points for one in found) == [(0,), (1,), (2,)]
    by_point = {one.points[0]: one for one in found}
    assert by_point[0].radius == pytest.approx(0.2, abs=1e-4)
    assert by_point[1].radius == pytest.approx(0.8, abs=1e-4)
    assert by_point[2].radius == pytest.approx(0.2, abs=1e-4)


def test_of_one_prompt_the_later_target_replaces_the_earlier() -> None:
    keys = torch.tensor([[3.0, 1.0], [3.1, 1.0], [3.0, 1.0]])
    found = clusters_of(keys, torch.full((3,), 0.5), ["a", "a", "b"])
    assert 0 not in {point for one in found for point in one.points}
    assert {one.label for one in found} == {"a", "b"}


def test_decision_and_output_are_those_of_the_equations() -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    held = [
        Blocks(
            draw(3, 2), torch.full((3,), 0.9), ("a", "b", "a"), torch.tensor([0, 1, 1]),
            {site: (draw(2, 2, 4), draw(2, 5, 2)) for site in ACTS},
        )
        for _ in range(2)
    ]  # fmt: skip
    memory = Routed(READS, 2, held, torch.device("cpu"))
    keys = torch.cat([one.keys for one in held])
    clusters = clusters_of(keys, torch.full((6,), 0.9), [label for one in held for label in one.labels])
    blocks = [int(b) + 2 * i for i, one in enumerate(held) for b in one.block]
    states, last = draw(12, 3, 2), torch.tensor([i % 3 for i in range(12)])
    seen = Seen(states, states, torch.arange(3) <= last[:, None], last)
    chosen = memory.decide(seen).tolist()
    for i in range(12):
        query = states[i, last[i]].tolist()
        nearest = min(clusters, key=lambda one: math.dist(query, one.centre.tolist()))
        wanted = -1
        if math.dist(query, nearest.centre.tolist()) <= nearest.radius:
            wanted = blocks[min(nearest.points, key=lambda p: math.dist(query, keys[p].tolist()))]
        assert chosen[i] == wanted
    assert -1 in chosen
    assert max(chosen) >= 0
    x, y = draw(1, 3, 4), draw(1, 3, 5)
    for number in range(4):
        found = memory.act(ACTS[1], torch.tensor([number]), Seen(x, y, seen.prompt[:1], last[:1]))[0]
        a, b = (factor[number % 2] for factor in held[number // 2].factors[ACTS[1]])
        for s in range(3):
            torch.testing.assert_close(found[s], y[0, s] + b @ (a @ x[0, s]))


def test_three_steps_are_those_of_a_plain_loop(llama_folder: Path) -> None:
    chosen = {
        "layer": 1, "steps": 3, "halve_every": 2, "background": 1, "lr": 0.02, "scale": 5.0, "stop_loss": 0.0,
        "others": ("Bo Quist", "Dan Marlow"), "radius": 0.5,
    }  # fmt: skip
    session = editcore.open(llama_folder)
    patch = session.edit_all([REQUEST], EditOptions("melo", hparams=(("test", chosen),)), measured=False)
    model, tokenizer = session.model, session.tokenizer

    def key(ids: list[int]) -> Tensor:
        return model(torch.tensor([ids]), output_hidden_states=True).hidden_states[2][0, -1]  # 0 are embeddings

    prompt = tokenizer(REQUEST.rendered().text)["input_ids"]
    answer = tokenizer(" " + REQUEST.target_new, add_special_tokens=False)["input_ids"]
    own = key(prompt)
    far = [float((key(tokenizer(f"{name} works as a")["input_ids"]) - own).norm()) for name in chosen["others"]]
    torch.testing.assert_close(patch.tensors["payload/keys"][0], own, rtol=1e-3, atol=1e-4)
    assert float(patch.tensors["payload/radii"][0]) <= 0.5 * min(far) * 1.001

    factors: list[Tensor] = []
    for site in ACTS:
        d_out, d_in = session.anatomy.weight(site).shape
        draw = torch.Generator().manual_seed(session.seed)
        a = torch.empty(2, d_in).uniform_(-1 / math.sqrt(d_in), 1 / math.sqrt(d_in), generator=draw)
        factors += [a.requires_grad_(), torch.zeros(d_out, 2, requires_grad=True)]
    moments = [(torch.zeros_like(f), torch.zeros_like(f)) for f in factors]
    tried = []
    for t in range(4):
        hooks = [
            session.anatomy.module(site).register_forward_hook(
                lambda _, args, y, a=factors[2 * i], b=factors[2 * i + 1]: y + 5.0 * args[0] @ a.T @ b.T
            )
            for i, site in enumerate(ACTS)
        ]
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0]
        for hook in hooks:
            hook.remove()
        at = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
        loss = -sum(logits[i].log_softmax(-1)[y] for i, y in zip(at, answer, strict=True)) / len(answer)
        tried.append((float(loss.detach()), [f.detach().clone() for f in factors]))
        gradients = torch.autograd.grad(loss, factors)
        with torch.no_grad():
            for f, g, (m, v) in zip(factors, gradients, moments, strict=True):
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g * g)
                lr = 0.02 * 0.5 ** (t // 2)
                f -= lr * (m / (1 - 0.9 ** (t + 1))) / ((v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8)
    loss, best = min(tried, key=lambda pair: pair[0])
    assert patch.about["notes"][0]["losses"] == pytest.approx([loss], rel=1e-2)
    for i in range(len(ACTS)):
        found = patch.tensors[f"payload/{i}.out"][0] @ patch.tensors[f"payload/{i}.in"][0]
        wanted = 5.0 * best[2 * i + 1] @ best[2 * i]
        assert float((found - wanted).norm() / wanted.norm()) < 1e-2
