"""Target log-probabilities are those of each item alone."""

import pytest
import torch

from editcore.models.running.packed_reading import batches
from editcore.models.running.scoring import target_logits, target_logprobs

ITEMS = [
    ([5, 6, 7, 8], [9]),
    ([11], [12, 13, 14]),
    ([5, 6], [0, 0]),
    (list(range(20, 60)), [61, 62, 63, 64, 65]),
    ((1, 2, 3), (4,)),
]


def by_hand(model, prompt, target):
    ids = [*prompt, *target]
    logits = model(torch.tensor([ids])).logits[0].float()  # (T, V)
    logprobs = logits.log_softmax(-1)
    at = range(len(prompt) - 1, len(ids) - 1)
    picked = [float(logprobs[i, ids[i + 1]]) for i in at]
    return picked, [int(logits[i].argmax()) == ids[i + 1] for i in at]


@pytest.mark.parametrize("tokens_per_batch", [1, 30, 4096])
def test_scores_are_those_of_each_item_alone_in_the_order_given(model, tokens_per_batch):
    scores = target_logprobs(model, ITEMS, tokens_per_batch=tokens_per_batch)
    for (prompt, target), score in zip(ITEMS, scores, strict=True):
        logprobs, hits = by_hand(model, prompt, target)
        assert score.logprobs == pytest.approx(logprobs, abs=1e-5)
        assert score.hits == tuple(hits)
        assert score.sum == pytest.approx(sum(logprobs), abs=1e-4)
        assert score.mean == pytest.approx(sum(logprobs) / len(target), abs=1e-4)


def test_padding_counts_into_a_batch():
    lengths = [3, 50, 4, 5, 49, 1, 2, 100]
    found = batches(lengths, 100)
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[i] for i in batch) <= 100 for batch in found)
    assert len(found) == 3


def test_what_the_model_says_greedily_is_a_hit(model):
    prompt = [5, 6, 7]
    said = int(model(torch.tensor([prompt])).logits[0, -1].argmax())
    (right, wrong) = target_logprobs(model, [(prompt, [said]), (prompt, [said + 1 if said == 0 else said - 1])])
    assert right.hits == (True,)
    assert wrong.hits == (False,)
    assert right.sum > wrong.sum


def test_half_precision_is_scored_in_float32(models):
    model = models["llama"]
    half = type(model)(model.config).eval().requires_grad_(False).to(torch.bfloat16)
    (score,) = target_logprobs(half, [([5, 6], [7])])
    logits = half(torch.tensor([[5, 6]])).logits[0, -1].float()
    assert score.sum == pytest.approx(float(logits.log_softmax(-1)[7]), abs=1e-6)


def test_nothing_to_score_gives_nothing(models):
    assert target_logprobs(models["gpt2"], []) == []


@pytest.mark.parametrize("item", [([], [1]), ([1], [])])
def test_an_empty_prompt_or_target_is_an_error(models, item):
    with pytest.raises(ValueError, match="a prompt and a target"):
        target_logprobs(models["gpt2"], [item])


def test_no_items_are_refused(model):
    with pytest.raises(ValueError, match=r"^no items$"):
        target_logits(model, [])
