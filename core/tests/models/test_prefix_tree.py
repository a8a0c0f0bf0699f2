"""Rows that begin alike are read as one, and each finds what it finds alone."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from editcore.models.loading.loader import load
from editcore.models.running import prefix_tree
from editcore.models.running.packed_reading import Reading, read
from editcore.models.running.prefix_tree import batch_of, reads_trees, rows_for, rows_of
from editcore.testing.tiny import FAMILIES, LINEAR_ATTENTION, tiny_model

MEMBERS = st.lists(st.tuples(st.integers(0, 1), st.lists(st.integers(1, 3), min_size=1, max_size=8)), max_size=12)
NOT_READ = {
    **dict.fromkeys(("t5", "t5_gated"), "an encoder reads the prompt"),
    **dict.fromkeys(("gpt_neo", "gemma2", "gemma3", "gemma3_text"), "their windows are a few tokens in a tiny model"),
    **dict.fromkeys(LINEAR_ATTENTION, "the state of linear attention runs through the whole row"),
    "bloom": "how far a token is away is counted in the row",
}
"""Families whose rows are read one by one, and why."""


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    folder = tiny_model(request.param, tmp_path_factory.mktemp(request.param))
    return request.param, load(str(folder)).model


def test_a_tree_has_positions_and_sees_its_own_branch_alone():
    (row,) = rows_of([(0, (5, 6, 7)), (0, (5, 6, 8, 9)), (0, (5, 6))], branching=True)
    assert row.ids == [5, 6, 7, 8, 9]
    assert row.depth == [0, 1, 2, 2, 3]
    assert row.columns == {2: [0, 1], 0: [0, 1, 2], 1: [0, 1, 3, 4]}
    assert row.sees().int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]


@given(MEMBERS, st.booleans())
def test_every_member_is_in_one_row_of_its_owner_and_its_tokens_see_each_other_alone(members, branching):
    rows = rows_of(members, branching)
    assert sorted(number for row in rows for number in row.columns) == list(range(len(members)))
    for row in rows:
        sees = row.sees()
        assert branching or not row.branches()
        for number, columns in row.columns.items():
            assert (row.owner, [row.ids[column] for column in columns]) == members[number]
            assert [row.depth[column] for column in columns] == list(range(len(columns)))
            assert sees[columns[-1]].nonzero()[:, 0].tolist() == columns


def test_a_row_with_branches_is_not_longer_than_allowed():
    members = [(0, (1, 2, *([n] * 20))) for n in range(3, 12)]
    rows = rows_of(members, branching=True)
    assert len(rows) == 3
    assert all(len(row.ids) <= prefix_tree.LONGEST for row in rows)
    assert len(rows_of([(0, (1, 2, 3)), (0, (1, 4, 5))], branching=True)) == 2  # one token is too little to share


def test_a_model_is_read_with_branches_where_it_finds_the_same(family):
    name, model = family
    assert reads_trees(model) is (name not in NOT_READ)


def test_each_reading_finds_what_it_finds_alone(family, monkeypatch):
    monkeypatch.setattr(prefix_tree, "WORTH", 1)
    _, model = family
    readings = _readings(model)
    together = read(model, readings)
    for one, found in zip(readings, together, strict=True):
        (alone,) = read(model, [one])
        assert found.logprobs == pytest.approx(alone.logprobs, abs=2e-5)
        assert found.said == alone.said


def test_branches_save_rows_where_they_are_read(family, monkeypatch):
    monkeypatch.setattr(prefix_tree, "WORTH", 1)
    name, model = family
    members = [(0, one.ids) for one in _readings(model)]
    some = len(rows_for(model, members))
    assert some < len(rows_of(members, branching=False)) or name in NOT_READ


def test_few_tokens_are_not_worth_to_find_out(family, monkeypatch):
    _, model = family
    monkeypatch.setattr(prefix_tree, "reads_trees", lambda model: pytest.fail("the model was run"))
    assert len(rows_for(model, [(0, (1, 2, 3, 4)), (0, (1, 2, 3, 5))])) == 2


def test_attention_that_reaches_less_far_than_a_row_is_not_read_with_branches(tmp_path: Path):
    model = load(str(tiny_model("mistral", tmp_path))).model
    model.config.sliding_window = prefix_tree.LONGEST - 1
    assert not prefix_tree._looks_right(model)


def test_a_batch_with_one_tree_pads_the_other_rows():
    class Model:
        dtype = torch.float32

    rows = rows_of([(0, (1, 2, 3)), (0, (1, 2, 4)), (1, (7,))], branching=True)
    batch = batch_of(Model(), rows)
    assert batch.ids.tolist() == [[1, 2, 3, 4], [7, 0, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 2], [0, 0, 0, 0]]
    assert batch.mask.shape == (2, 1, 4, 4)
    assert (batch.mask[0, 0, 3] == 0).tolist() == [True, True, False, True]
    assert (batch.mask[1, 0] == 0).any(1).all()  # a softmax over nothing is no number


def _readings(model) -> list[Reading]:
    """Prompts that begin alike in two ways, each with answers of several tokens."""
    drawn = torch.Generator().manual_seed(0)
    vocabulary = model.config.get_text_config().vocab_size

    def some(count):
        return tuple(torch.randint(3, vocabulary, (count,), generator=drawn).tolist())

    first, second = some(6), some(4)
    prompts = [first + some(n) for n in (1, 2, 3, 4)] + [second + some(n) for n in (0, 1, 5)]
    if model.config.is_encoder_decoder:
        return [Reading((0, *some(2)), 0, some(3), prompt) for prompt in prompts]
    answers = [some(n) for n in (1, 2, 3, 4)]
    return [Reading(p + a[:-1], len(p) - 1, a) for p in prompts for a in answers] + [Reading(first, 5, (None,))]
