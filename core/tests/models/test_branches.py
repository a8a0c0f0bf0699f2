"""A side branch does what the same update in the weights does, each row with its own."""

import pytest
import torch

from editcore.models.anatomy.model_map import Anatomy
from editcore.models.running.batch import forward, pad
from editcore.models.running.branches import Branches, branch
from editcore.models.running.scoring import target_logprobs
from editcore.testing.tiny import LINEAR_ATTENTION
from editcore_hooks import Dense, LowRank, Site

ROWS = [[5, 6, 7, 8], [9, 10], [11, 12, 13], [14], [15, 16, 17]]


def updates(anatomy):
    torch.manual_seed(1)
    d, f = anatomy.hidden_size, anatomy.mlp_width
    one, two = Site("mlp_out", 0), Site("mlp_out", 2)
    return [
        {one: LowRank(torch.randn(d, 1), torch.randn(1, f) * 0.1)},
        {one: LowRank(torch.randn(d, 2), torch.randn(2, f) * 0.1), two: LowRank(torch.ones(d, 1), torch.ones(1, f))},
        {},
        {one: Dense(torch.randn(d, f) * 0.1), two: LowRank(torch.ones(d, 1), torch.ones(1, f))},
        {two: Dense(torch.randn(d, f) * 0.1)},
    ]


def added(update):
    return update.delta if isinstance(update, Dense) else update.out @ update.in_


@torch.no_grad()
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2", *LINEAR_ATTENTION])
def test_every_row_runs_with_its_own_update(family, tiny):
    model = tiny(family).model
    anatomy = Anatomy.of(model)
    edits = updates(anatomy)
    branches = Branches.of(anatomy, edits)
    owner = torch.tensor([1, 4, 2, 3, 0])
    with branches.on(owner):
        together = forward(model, pad(ROWS))
    for row, e in enumerate(owner.tolist()):
        saved = {site: anatomy.parameter(site)[1].clone() for site in edits[e]}
        for site, update in edits[e].items():
            anatomy.weight(site).add_(added(update))
        alone = forward(model, pad([ROWS[row]]))[0]
        for site, weight in saved.items():
            anatomy.parameter(site)[1].copy_(weight)
        torch.testing.assert_close(together[row, : len(ROWS[row])], alone, rtol=1e-4, atol=1e-4)


def test_items_are_scored_with_the_update_of_their_owner(model):
    anatomy = Anatomy.of(model)
    branches = Branches.of(anatomy, updates(anatomy))
    items = [([5, 6, 7, 8, 9], [10, 11]), ([5, 6], [7]), ([5, 6, 7, 8, 9], [10, 11]), ([5, 6], [7])]
    owner = torch.tensor([2, 0, 1, 2])
    scores = target_logprobs(model, items, tokens_per_batch=12, around=lambda chosen: branches.on(owner[list(chosen)]))
    plain = target_logprobs(model, items)
    assert abs(scores[0].sum - plain[0].sum) < 1e-4
    assert abs(scores[3].sum - plain[3].sum) < 1e-4
    assert abs(scores[1].sum - plain[1].sum) > 1e-2
    assert abs(scores[2].sum - plain[2].sum) > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("e", [1, 3])
def test_one_update_for_all_rows_is_that_of_each(model, e):
    anatomy = Anatomy.of(model)
    edits = updates(anatomy)
    with branch(anatomy, edits[e]):
        together = forward(model, pad(ROWS))
    with Branches.of(anatomy, edits).on(torch.full((len(ROWS),), e)):
        each = forward(model, pad(ROWS))
    torch.testing.assert_close(together, each, rtol=1e-5, atol=1e-5)
