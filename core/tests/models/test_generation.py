"""Greedy text and seeded samples, the same alone and in company."""

import copy

import pytest
import torch

from editcore.models.running.generation import continuations, generate, sample
from editcore.testing.tiny import LINEAR_ATTENTION

PROMPTS = ["The mother tongue of Danielle Darrieux is", "Paris", "The capital of France is"]


def greedy(model, ids, n, ends=()):
    ids = list(ids)
    for _ in range(n):
        following = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        if following in ends:
            break
        ids.append(following)
    return ids


def test_generation_is_greedy_and_padding_changes_nothing(model, gpt2_tokenizer):
    ends = {2, gpt2_tokenizer.eos_token_id}
    texts = generate(model, gpt2_tokenizer, PROMPTS, 6)
    for prompt, text in zip(PROMPTS, texts, strict=True):
        ids = gpt2_tokenizer(prompt)["input_ids"]
        whole = gpt2_tokenizer.decode(greedy(model, ids, 6, ends))
        assert prompt + text == whole
        assert generate(model, gpt2_tokenizer, [prompt], 6) == [text]
    assert generate(model, gpt2_tokenizer, PROMPTS, 6, batch_size=1) == texts


@pytest.mark.parametrize("family", LINEAR_ATTENTION)
def test_linear_attention_writes_what_whole_forwards_say_in_company_too(family, tiny):
    opened = tiny(family)
    model, rows = opened.model, [[5, 6, 7, 8, 9], [10], [11, 12, 13]]
    ends = {opened.tokenizer.eos_token_id}
    for row, new in zip(rows, continuations(model, opened.tokenizer, rows, 6), strict=True):
        assert list(new) == greedy(model, row, 6, ends)[len(row) :]
    with torch.no_grad():
        likeliest = sample(model, rows, 6, 1, torch.Generator().manual_seed(0))
    assert likeliest == [greedy(model, row, 6)[len(row) :] for row in rows]


def test_token_ids_are_prompts_too(models, gpt2_tokenizer):
    ids = gpt2_tokenizer(PROMPTS[0])["input_ids"]
    model = models["llama"]
    assert generate(model, gpt2_tokenizer, [ids], 4) == generate(model, gpt2_tokenizer, PROMPTS[:1], 4)


def test_generation_ends_at_the_end_of_text(models, gpt2_tokenizer):
    model = copy.copy(models["llama"])
    ids = gpt2_tokenizer("Paris")["input_ids"]
    said = greedy(model, ids, 4)[len(ids) :]
    model.generation_config = copy.deepcopy(model.generation_config)
    model.generation_config.eos_token_id = [said[2], 377]
    first = said.index(said[2])
    (text,) = generate(model, gpt2_tokenizer, ["Paris"], 8)
    assert text == gpt2_tokenizer.decode(said[:first])


def test_generation_settings_of_the_folder_are_not_used_and_stay(models, gpt2_tokenizer):
    model = models["llama"]
    plain = generate(model, gpt2_tokenizer, PROMPTS, 6)
    theirs = model.generation_config
    changed = copy.deepcopy(theirs)
    changed.update(do_sample=True, temperature=5.0, repetition_penalty=3.0, suppress_tokens=list(range(100)))
    model.generation_config = changed
    try:
        assert generate(model, gpt2_tokenizer, PROMPTS, 6) == plain
        assert model.generation_config is changed
        assert changed.repetition_penalty == 3.0
    finally:
        model.generation_config = theirs


def test_a_continuation_keeps_its_blank(models, tokenizers):
    tokenizer, model = tokenizers("metaspace, first"), models["llama"]
    paris = tokenizer(" Paris", add_special_tokens=False)["input_ids"]
    assert max(paris) < model.config.vocab_size

    class Scripted:
        """Says " Paris" whatever it is asked."""

        device, config, generation_config = model.device, model.config, copy.deepcopy(model.generation_config)

        def generate(self, ids, attention_mask, **_):
            return torch.cat([ids, torch.tensor([paris] * len(ids))], dim=1)

    assert generate(Scripted(), tokenizer, ["The city is"], 3) == [" Paris"]


def drawn(model, starts, seed=3, length=12, top_k=5):
    return sample(model, starts, length, top_k, torch.Generator().manual_seed(seed))


def test_samples_are_those_of_the_seed(model):
    starts = [[0]] * 4
    first = drawn(model, starts)
    assert drawn(model, starts) == first
    assert drawn(model, starts, seed=4) != first
    assert [len(row) for row in first] == [12] * 4
    assert len({tuple(row) for row in first}) > 1


def test_every_sampled_token_is_among_the_likeliest(model):
    starts = [[5, 6, 7], [0], [8, 9]]
    for start, row in zip(starts, drawn(model, starts), strict=True):
        ids = [*start, *row]
        logits = model(torch.tensor([ids])).logits[0]  # (T, V)
        for i in range(len(start) - 1, len(ids) - 1):
            assert ids[i + 1] in logits[i].topk(6).indices  # one more: a cache rounds differently


def test_a_top_k_of_one_is_greedy_whatever_the_starts_beside(model):
    starts = [[5, 6, 7], [10], [8, 9]]
    for start, row in zip(starts, drawn(model, starts, top_k=1), strict=True):
        assert [*start, *row] == greedy(model, start, 12)


def test_all_tokens_can_be_drawn_without_a_top_k(models):
    rows = drawn(models["gpt2"], [[0]] * 8, top_k=None, length=20)
    logits = models["gpt2"](torch.tensor([[0]])).logits[0, -1]
    assert not {row[0] for row in rows} <= set(logits.topk(5).indices.tolist())


def test_the_global_rng_is_not_touched(models):
    before = torch.random.get_rng_state()
    drawn(models["gpt2"], [[0]])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_nothing_is_drawn_for_no_length(models):
    assert drawn(models["gpt2"], [[0], [1]], length=0) == [[], []]


@pytest.mark.parametrize("length", [0, 1])
def test_sampling_needs_starts(models, length):
    with pytest.raises(ValueError, match="needs rows"):
        drawn(models["gpt2"], [], length=length)
