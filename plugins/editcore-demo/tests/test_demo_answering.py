"""What the T5 shape reads and says: pairs of a prompt and its object, and the score of its answers."""

import pytest
import torch

import editcore
from editcore_demo.training.answering import NO_TARGET, PAIRS, answer_loss, ids_and_labels, pairs
from editcore_demo.training.loop import Schedule, fit, new_model
from editcore_demo.training.scoring import answered, questions
from editcore_demo.training.shapes import SHAPES
from editcore_demo.world import make_world
from editcore_demo.world.text import tokenizer_text

WORLD = make_world()
SHAPE = SHAPES["t5"]


@pytest.fixture(scope="module")
def tokenizer():
    return SHAPE.tokenizer(tokenizer_text(WORLD))


def test_every_text_ends_and_none_begins_specially(tokenizer):
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    ids = tokenizer("Ünø\nArvenia")["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Ünø\nArvenia"


def test_names_are_several_pieces(tokenizer):
    assert all(len(tokenizer(name, add_special_tokens=False)["input_ids"]) >= 2 for name in WORLD.entities["person"])


def test_a_pair_is_a_prompt_of_the_world_and_its_whole_object(tokenizer):
    asked = {
        (template.replace("{}", fact.subject), fact.object)
        for fact in WORLD.facts()
        for template in WORLD.trained(fact.subject, fact.relation)
    }
    held_out = set(questions(WORLD)["held-out template"])
    seen, rows = set(), set()
    for ids, mask, labels in pairs(WORLD, tokenizer, seed=0, steps=40):
        rows.add(len(ids))
        assert (labels.max(1).values > 0).all()
        assert mask.sum(1).max() == ids.shape[1]
        for row, label in zip(ids, labels, strict=True):
            said = label[label != NO_TARGET]
            assert said[-1] == tokenizer.eos_token_id
            texts = (tokenizer.decode(each, skip_special_tokens=True) for each in (row, said))
            seen.add(tuple(texts))
    assert rows == {PAIRS, PAIRS // 2}  # the shorter batches have a sentence before each prompt
    assert not seen & (held_out - asked)
    assert len(seen & asked) > len(seen) / 3


def test_pairs_are_seeded(tokenizer):
    one, same, other = (next(pairs(WORLD, tokenizer, seed, 1)) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert one[0].shape != other[0].shape or not torch.equal(one[0], other[0])


def test_an_answer_that_was_learnt_counts_and_another_does_not(tokenizer, tmp_path):
    asked = [("The capital of Arvenia is", "Wexley"), ("The day after Monday is", "Tuesday")]
    model = new_model(SHAPE, tokenizer, seed=0)
    read, said = ids_and_labels(tokenizer, asked)
    batch = (read["input_ids"], read["attention_mask"], said)
    fit(model, [batch] * 40, Schedule(steps=40, warmup=5), lambda: None, lambda _: None, answer_loss)
    wrong = [(asked[0][0], "Wexley Wexley"), (asked[1][0], "Tues")]  # begun alike, and not ended there
    assert list(answered(model, tokenizer, [*asked, *wrong])) == [True, True, False, False]
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert editcore.open(tmp_path).generate([prompt for prompt, _ in asked], max_new_tokens=8) == ["Wexley", "Tuesday"]
