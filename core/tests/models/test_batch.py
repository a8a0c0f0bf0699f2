"""Padding is ours: logits depend neither on the side nor on the company."""

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig

from editcore.models.running.batch import accepted, align, forward, pad

ROWS = [[5, 6, 7, 8, 9, 10], [11], [0, 0, 3], [21, 22, 23, 24]]


def test_right_padding():
    batch = pad([[5, 6, 7], [8]], pad_id=9)
    assert batch.ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch.mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2], [0, 0, 0]]
    assert batch.lengths.tolist() == [3, 1]
    assert {t.dtype for t in (batch.ids, batch.mask, batch.positions, batch.lengths)} == {torch.int64}


def test_left_padding():
    batch = pad([[5, 6, 7], [8]], side="left")
    assert batch.ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert batch.mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch.positions.tolist() == [[0, 1, 2], [0, 0, 0]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_are_those_of_the_row_alone(model, side):
    batch = pad(ROWS, side=side)
    together = forward(model, batch)  # (B, T, V)
    for i, row in enumerate(ROWS):
        alone = forward(model, pad([row]))[0]  # (n, V)
        own = together[i][batch.mask[i].bool()]  # (n, V)
        torch.testing.assert_close(own, alone, rtol=0, atol=1e-5)


def test_logits_do_not_depend_on_the_id_of_the_padding(model):
    mask = pad(ROWS).mask.bool()
    first, second = (forward(model, pad(ROWS, pad_id))[mask] for pad_id in (0, 7))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)


def test_positions_reach_the_model(models):
    batch = pad([[5, 6, 7]])
    batch.positions.add_(3)
    moved = forward(models["gpt2"], batch)
    assert not torch.allclose(moved, forward(models["gpt2"], pad([[5, 6, 7]])))


def test_logits_at_some_positions_are_those_of_all(model):
    batch = pad(ROWS)
    at = torch.tensor([0, 0, 3]), torch.tensor([1, 5, 2])
    torch.testing.assert_close(forward(model, batch, at), forward(model, batch)[at], rtol=0, atol=1e-5)


def test_rows_aligned_at_a_token_are_padded_on_both_sides(model):
    batch, column = align(ROWS, [2, 0, 1, 3])
    assert column == 3
    assert batch.ids[:, column].tolist() == [7, 11, 0, 24]
    assert batch.mask.tolist() == [
        [0, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 1, 0, 0, 0],
        [0, 0, 1, 1, 1, 0, 0],
        [1] * 4 + [0] * 3,
    ]
    together = forward(model, batch)
    for i, row in enumerate(ROWS):
        own = together[i][batch.mask[i].bool()]
        torch.testing.assert_close(own, forward(model, pad([row]))[0], rtol=0, atol=1e-5)


def test_a_token_outside_its_row_cannot_be_aligned():
    with pytest.raises(ValueError, match="token to align"):
        align(ROWS, [2, 1, 1, 3])


def test_a_model_without_position_ids_is_run_without_them():
    torch.manual_seed(0)
    bloom = AutoModelForCausalLM.from_config(BloomConfig(vocab_size=60, hidden_size=32, n_layer=2, n_head=4)).eval()
    assert "position_ids" not in accepted(bloom)
    batch = pad([[5, 6, 7, 8], [9, 10]])
    torch.testing.assert_close(forward(bloom, batch)[1, :2], forward(bloom, pad([[9, 10]]))[0], rtol=0, atol=1e-5)


def test_a_part_of_a_batch_keeps_its_padding():
    part = pad(ROWS).rows(slice(2))
    assert part.ids.tolist() == pad(ROWS).ids[:2].tolist()
    assert part.lengths.tolist() == [6, 1]


@pytest.mark.parametrize("rows", [[], [[1], []]])
def test_nothing_to_pad_is_an_error(rows):
    with pytest.raises(ValueError, match="needs rows"):
        pad(rows)


def test_the_type_ids_of_a_plain_fast_tokenizer_would_change_the_logits(models, gpt2_tokenizer):
    model, ids = models["gpt2"], torch.tensor([gpt2_tokenizer("Paris is")["input_ids"]])
    plain = model(ids).logits
    assert not torch.allclose(plain, model(ids, token_type_ids=torch.zeros_like(ids)).logits)
    torch.testing.assert_close(forward(model, pad(ids.tolist())), plain)
