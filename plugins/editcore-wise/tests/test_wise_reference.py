"""Router, loss, merge and training, against each written down plainly from the maths."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import editcore
from editcore import EditOptions, EditRequest
from editcore.authoring.models import TargetLogits, mlp_of
from editcore_hooks import Site
from editcore_wise.losses import Margins, activation_loss, edit_loss
from editcore_wise.masks import mask_of
from editcore_wise.merging import ties
from editcore_wise.router import choose, prompt_distances, token_distances

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot")
IRRELEVANT = ("Bo Quist lives in", "The home of Cleo Tolland is")


def silu(x: float) -> float:
    return x / (1 + math.exp(-x))


def distance_plainly(outputs: list[list[float]], change: list[list[float]]) -> float:
    """D of one prompt: outputs and changes by token."""
    tokens = [
        math.sqrt(sum((silu(y) - silu(y + c)) ** 2 for y, c in zip(row, moved, strict=True)))
        for row, moved in zip(outputs, change, strict=True)
    ]
    return sum(tokens) / len(tokens)


def test_the_distance_is_the_mean_over_the_tokens_of_the_prompt_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, change = torch.randn(2, 4, 3, generator=generator), torch.randn(2, 4, 3, generator=generator)
    prompt = torch.tensor([[True, True, True, False], [False, True, True, True]])
    found = prompt_distances(token_distances(torch.nn.functional.silu, outputs, change), prompt)
    expected = [
        distance_plainly(outputs[i][prompt[i]].tolist(), change[i][prompt[i]].tolist()) for i in range(len(prompt))
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def choose_plainly(distances: list[float], thresholds: list[float], current: bool) -> int:
    """The shard of one prompt: the current one first, then each stored one that is further than all before it."""
    chosen, largest = -1, 0.0
    stored = list(range(len(distances)))
    if current:
        stored.pop(0)
        largest = distances[0]
        if distances[0] >= thresholds[0]:
            chosen = 0
    for s in stored:
        if distances[s] > largest and distances[s] > thresholds[s]:
            chosen, largest = s, distances[s]
    return chosen


NUMBERS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=5)


@settings(max_examples=80)
@given(NUMBERS, st.booleans())
def test_the_router_takes_what_the_plain_rule_takes(pairs: Any, current: bool) -> None:
    distances, thresholds = [float(d) for d, _ in pairs], [float(t) for _, t in pairs]
    found = choose(torch.tensor(distances)[:, None], torch.tensor(thresholds), current)
    assert found.tolist() == [choose_plainly(distances, thresholds, current)]


@settings(max_examples=40)
@given(NUMBERS, st.integers(1, 6))
def test_a_higher_threshold_sends_no_further_row_to_the_side(pairs: Any, raised: int) -> None:
    distances = torch.tensor([[float(d) for d, _ in pairs]])  # (1, B)
    low = choose(distances, torch.tensor([1.0]), True) >= 0
    high = choose(distances, torch.tensor([1.0 + raised]), True) >= 0
    assert bool((low | ~high).all())


def test_the_loss_is_the_sum_of_its_plain_terms() -> None:
    inside, outside = [3.0, 0.5], [1.0, 4.0]
    margins = Margins(alpha=2.0, beta=5.0, gamma=1.0)

    def positive(values: list[float]) -> float:
        kept = [value for value in values if value > 0]
        return sum(kept) / len(kept) if kept else 0.0

    expected = (
        positive([out - into + margins.gamma for out in outside for into in inside])
        + positive([out - margins.alpha for out in outside])
        + positive([margins.beta - into for into in inside])
    )
    assert float(activation_loss(torch.tensor(inside), torch.tensor(outside), margins)) == pytest.approx(expected)
    assert float(activation_loss(torch.tensor([9.0]), torch.tensor([0.5]), margins)) == 0.0


def test_the_edit_loss_is_the_mean_over_all_target_tokens() -> None:
    logits = torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, 1.0]])
    labels = torch.tensor([1, 0, 0])
    rows = zip(logits.tolist(), labels.tolist(), strict=True)
    each = [math.log(sum(map(math.exp, row))) - row[label] for row, label in rows]
    found = edit_loss(TargetLogits(logits, labels, torch.tensor([0, 0, 1])))
    assert float(found) == pytest.approx(sum(each) / 3, abs=1e-6)


def ties_plainly(deltas: list[list[float]], density: float) -> list[float]:
    trimmed = []
    for delta in deltas:
        changed = sorted((abs(value) for value in delta if value), reverse=True)
        kept = round(density * len(changed))
        least = changed[kept - 1] if kept else math.inf
        trimmed.append([value if value and abs(value) >= least else 0.0 for value in delta])
    merged = []
    for entries in zip(*trimmed, strict=True):
        total = sum(entries)
        agreeing = [value for value in entries if value * total > 0]
        merged.append(sum(agreeing) / len(agreeing) if agreeing else 0.0)
    return merged


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0.2, 0.53, 1.0]))
def test_the_merge_is_the_plain_merge(seed: int, k: int, density: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    deltas = torch.randn(k, 3, 4, generator=generator) * (torch.rand(k, 3, 4, generator=generator) < 0.6)
    found = ties(list(deltas), density)
    expected = ties_plainly([delta.flatten().tolist() for delta in deltas], density)
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("ratio", [0.2, 1.0])
def test_a_mask_has_its_ratio_and_is_the_same_again(ratio: float) -> None:
    mask = mask_of((200, 300), ratio, 7)
    assert float(mask.float().mean()) == pytest.approx(ratio, abs=0.01)
    assert torch.equal(mask, mask_of((200, 300), ratio, 7))
    assert ratio == 1.0 or not torch.equal(mask, mask_of((200, 300), ratio, 8))


def test_the_delta_is_that_of_a_plain_loop(llama_folder: Path) -> None:
    """Four steps with absolute settings, every forward of the whole model and of each prompt alone."""
    chosen = {
        "layer": 1, "unit": "absolute", "alpha": 0.2, "beta": 2.0, "gamma": 0.5, "lr": 0.05, "linf": 0.004, "steps": 4,
        "stop_loss": 0.0, "context_templates": ["So. {}"], "irrelevant": list(IRRELEVANT),
    }  # fmt: skip
    session = editcore.open(llama_folder)
    patch = session.edit_all([REQUEST], EditOptions("wise", hparams=(("test", chosen),)), measured=False)

    tokenizer, model = session.tokenizer, session.model
    layer = session.anatomy.module(Site("mlp_out", 1))
    activation = mlp_of(session.anatomy, Site("block", 1)).activation
    text = REQUEST.rendered().text
    answer = tokenizer(" " + REQUEST.target_new, add_special_tokens=False)["input_ids"]
    delta = torch.zeros(session.anatomy.weight(Site("mlp_out", 1)).shape, requires_grad=True)
    kept: dict[str, Any] = {}

    def side(module: Any, args: Any, output: Any) -> Any:
        kept["moved"] = args[0] @ delta.T
        kept["output"] = output
        return output + kept["moved"] if kept["on"] else output

    def distance(length: int) -> Any:
        y = kept["output"][0, :length].detach()
        return (activation(y) - activation(y + kept["moved"][0, :length])).norm(dim=-1).mean()

    (shard,) = patch.core["payload"]["data"]["shards"]
    mask = mask_of(tuple(delta.shape), 0.2, shard["seed"])
    with layer.register_forward_hook(side):
        for step in range(5):
            losses, inside, outside = [], [], []
            for prompt in (text, f"So. {text}"):
                ids = tokenizer(prompt)["input_ids"]
                kept["on"] = True
                logits = model(torch.tensor([[*ids, *answer]])[:, :-1]).logits[0, len(ids) - 1 :]
                losses += list(-logits.log_softmax(-1)[range(len(answer)), answer])
                inside.append(distance(len(ids)))
            for prompt in IRRELEVANT:
                ids = tokenizer(prompt)["input_ids"]
                kept["on"] = False
                model(torch.tensor([ids]))
                outside.append(distance(len(ids)))
            if step == 4:
                break
            margins = Margins(0.2, 2.0, 0.5)
            act = activation_loss(torch.stack(inside), torch.stack(outside), margins) if step else 0.0
            (gradient,) = torch.autograd.grad(torch.stack(losses).mean() + act, delta)
            with torch.no_grad():
                delta.sub_(0.05 * gradient * mask).clamp_(-0.004, 0.004)
    flat = torch.zeros(delta.numel())
    flat[patch.tensors["payload/index"].long()] = patch.tensors["payload/values"]
    torch.testing.assert_close(flat.view_as(delta), delta.detach(), rtol=1e-3, atol=2e-5)
    assert float(patch.tensors["payload/distances"][0]) == pytest.approx(float(inside[0].detach()), rel=1e-3)
    assert float(flat.abs().max()) == pytest.approx(0.004), "the ball is not reached, so it is not tested"
    assert not bool((flat.view_as(delta) != 0)[~mask].any())
