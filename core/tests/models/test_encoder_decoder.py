"""T5 reads a prompt in its encoder and says a target in its decoder; nothing is shifted twice, or not at all."""

import pytest
import torch

import editcore
from editcore import Case, EditRequest
from editcore.models.running.batch import forward, pad
from editcore.models.running.generation import generate, sample
from editcore.models.running.scoring import target_logits, target_logprobs
from editcore.models.tokens.spans import encode, encode_prompt, encode_request, token_index
from editcore.models.tokens.tokenising import decode
from editcore.plugins.registry import Registry
from editcore_hooks import Probe, UsageError

PROMPT, SUBJECT = "The mother tongue of {} is", "Danielle Darrieux"
QUESTIONS = [
    ("The mother tongue of Danielle Darrieux is", "French", None, "auto"),
    ("Ada works as a", "pilot in Rome", None, "auto"),
    ("Paris", "1913", None, "auto"),
]


@pytest.fixture(params=["t5", "t5_gated"])
def loaded(request, tiny):
    return tiny(request.param)


@pytest.fixture
def tokenizer(tiny):
    return tiny("t5").tokenizer


def ids_of(tokenizer, text):
    return tuple(tokenizer(text)["input_ids"])


def test_prompt_and_target_are_two_texts_that_end(tokenizer):
    row = encode(tokenizer, PROMPT, SUBJECT, "French", encoder_decoder=True)
    assert row.encoder_decoder
    assert row.prompt_ids == ids_of(tokenizer, PROMPT.format(SUBJECT))
    assert row.target_ids == ids_of(tokenizer, "French")
    assert row.prompt_ids[-1] == row.target_ids[-1] == tokenizer.eos_token_id
    assert row.text == PROMPT.format(SUBJECT)


def test_a_blank_before_the_target_joins_nothing(tokenizer):
    wanted = ids_of(tokenizer, "French")
    for target in ("French", " French", "French "):
        for rule in ("auto", "none", "blank"):
            row = encode_prompt(tokenizer, "It is", target, target_prefix=rule, encoder_decoder=True)
            assert row.target_ids == wanted


def test_the_subject_is_found_and_the_end_is_not_its(tokenizer):
    row = encode(tokenizer, "The home of {}", "Danielle Darrieux", encoder_decoder=True)
    assert decode(tokenizer, row.ids[row.subject[0] : row.subject[-1] + 1]).strip() == "Danielle Darrieux"
    assert token_index(row, "subject_last") == len(row.ids) - 2
    assert token_index(row, "last") == len(row.ids) - 2
    assert row.target_ids == ()


def test_a_request_is_encoded_as_the_model_reads_it(tokenizer):
    request = EditRequest(PROMPT, SUBJECT, "French", id="1")
    assert encode_request(tokenizer, request, encoder_decoder=True) == encode(
        tokenizer, PROMPT, SUBJECT, "French", encoder_decoder=True
    )
    with pytest.raises(UsageError, match="is empty"):
        encode_prompt(tokenizer, "It is", " ", encoder_decoder=True)


def test_a_decoder_alone_still_reads_no_end(tokenizer):
    assert tokenizer.eos_token_id not in encode(tokenizer, PROMPT, SUBJECT, "French").ids


def rows_of(tokenizer):
    rows = [encode_prompt(tokenizer, *question, encoder_decoder=True) for question in QUESTIONS]
    return [(row.prompt_ids, row.target_ids) for row in rows]


def by_labels(model, prompt, target):
    """As transformers itself aligns: given the labels, it makes the decoder's row of them."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([prompt]), labels=torch.tensor([target])).logits[0]


@pytest.mark.parametrize("side", ["right", "left"])
def test_logits_stand_against_their_labels(loaded, side):
    items = rows_of(loaded.tokenizer)
    found = target_logits(loaded.model, items, side=side)
    assert found.labels.tolist() == [token for _, target in items for token in target]
    for i, (prompt, target) in enumerate(items):
        torch.testing.assert_close(found.logits[found.item == i], by_labels(loaded.model, prompt, target))


def test_scores_are_those_of_each_item_alone(loaded):
    items = rows_of(loaded.tokenizer)
    for (prompt, target), score in zip(items, target_logprobs(loaded.model, items), strict=True):
        logprobs = by_labels(loaded.model, prompt, target).log_softmax(-1)
        expected = [float(logprobs[i, token]) for i, token in enumerate(target)]
        assert score.logprobs == pytest.approx(expected, abs=1e-4)
        assert score.hits == tuple(int(logprobs[i].argmax()) == token for i, token in enumerate(target))


def greedy(model, prompt, n):
    said = [0]
    for _ in range(n):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([said])).logits
        said.append(int(logits[0, -1].argmax()))
        if said[-1] == 1:
            break
    return said[1:]


def test_what_is_generated_is_the_decoder_s_text_alone(loaded):
    tokenizer = loaded.tokenizer
    prompts = [question[0] for question in QUESTIONS]
    texts = generate(loaded.model, tokenizer, prompts, 7)
    for prompt, text in zip(prompts, texts, strict=True):
        said = greedy(loaded.model, ids_of(tokenizer, prompt), 7)
        assert text == tokenizer.decode(said, skip_special_tokens=True)
        assert generate(loaded.model, tokenizer, [prompt], 7) == [text]


def test_what_is_said_greedily_is_a_hit(loaded):
    prompt = ids_of(loaded.tokenizer, "Ada works as a")
    said = greedy(loaded.model, prompt, 3)
    (score,) = target_logprobs(loaded.model, [(prompt, said)])
    assert all(score.hits)


def test_one_row_for_both_stacks_is_refused(tiny):
    model = tiny("t5").model
    with pytest.raises(UsageError, match="an encoder and a decoder"):
        forward(model, pad([[5, 6]]))
    with pytest.raises(UsageError, match="no text can be sampled"):
        sample(model, [[5]], 3, 5, torch.Generator())


def test_a_decoder_that_does_not_say_how_it_begins_is_refused(tiny, monkeypatch):
    model = tiny("t5").model
    monkeypatch.setattr(model.config, "decoder_start_token_id", None)
    monkeypatch.setattr(model.generation_config, "decoder_start_token_id", None)
    with pytest.raises(UsageError, match="how its decoder begins"):
        target_logits(model, [((5, 6), (7, 1))])


def test_a_session_scores_and_measures(tiny):
    session = editcore.open(tiny("t5").folder, registry_=Registry.of())
    items = rows_of(session.tokenizer)
    assert session.score_targets(QUESTIONS) == target_logprobs(session.model, items)
    request = EditRequest(PROMPT, SUBJECT, "French", "Dutch", id="1")
    assert session.encode(request).target_ids == ids_of(session.tokenizer, "French")
    case = Case(request, (f"{SUBJECT} speaks",), {"neighbour": (Probe("Thomas speaks", ("Dutch",)),)})
    new, true = session.score_targets(
        [(request.rendered().text, target, None, "auto") for target in ("French", "Dutch")]
    )
    names = ["pref.es@1", "pref.ps@1", "pref.ns@1", "tf.token@1", "tf.exact@1"]
    reports = {report.metric: report for report in session.evaluate([case], names)}
    assert reports["pref.es@1"].value == float(new.mean > true.mean)
    assert reports["tf.token@1"].value == sum(new.hits) / len(new.hits)
    assert set(reports) == set(names)
    assert isinstance(session.generate("Ada works as a", 4), str)
