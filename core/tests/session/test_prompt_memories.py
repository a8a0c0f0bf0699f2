"""Prompts that a memory rewrites: what is asked of the model is answered as if the rewritten prompt had been given."""

from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from core.tests.session.remembering import Remembered, key_of, open_with, patch_for
from editcore.authoring.memories import PromptMemory
from editcore.models.running.batch import forward, pad
from editcore.models.running.cache_names import as_cache, kept_cache
from editcore.models.running.scoring import target_logits
from editcore.testing.snapshot import Snapshot
from editcore.testing.tiny import tiny_model
from editcore_hooks import Site, UsageError

KNOWN, OTHER = (5, 9, 14, 7), (8, 3, 12, 4, 6)
BEFORE = (11, 4, 9)


class Before(PromptMemory):
    """Puts tokens before one prompt."""

    def rewrite(self, prompts: Any) -> Any:
        return [(*BEFORE, *prompt) if prompt == KNOWN else None for prompt in prompts]


class Kind(Remembered):
    name = "toy.before"

    def memory(self, session: Any, patch: Any) -> Any:
        return Before()


@pytest.fixture(scope="module", params=["gpt2", "llama", "t5"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> editcore.Session:
    return open_with(tiny_model(request.param, tmp_path_factory.mktemp("tiny")), Kind, Remembered)


def remembered(session: editcore.Session) -> editcore.Patch:
    return patch_for(session, KNOWN, kind="toy.before")


def written(session: editcore.Session, rows: Any, **settings: Any) -> list[list[int]]:
    both = session.encoder_decoder
    batch = pad(rows, side="right" if both else "left")
    settings = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0, **settings}
    ids = session.model.generate(batch.ids, attention_mask=batch.mask, **settings)
    if not both:
        n = len(ids) // len(rows)
        assert torch.equal(ids[:, : batch.ids.shape[1]], batch.ids.repeat_interleave(n, 0))
    return ids[:, 1 if both else batch.ids.shape[1] :].tolist()


@pytest.mark.parametrize("settings", [{}, {"num_beams": 2, "num_return_sequences": 2}, {"use_cache": False}])
def test_it_writes_what_it_writes_after_the_rewritten_prompt(session: editcore.Session, settings: Any) -> None:
    expected = written(session, [(*BEFORE, *KNOWN)], **settings) + written(session, [OTHER], **settings)
    assert written(session, [KNOWN], **settings) != written(session, [(*BEFORE, *KNOWN)], **settings)
    with session.patched(remembered(session)):
        assert written(session, [KNOWN, OTHER], **settings) == expected


@pytest.mark.parametrize("side", ["left", "right"])
def test_scores_are_those_after_the_rewritten_prompt(session: editcore.Session, side: Any) -> None:
    expected = target_logits(session.model, [((*BEFORE, *KNOWN), (3, 4)), (OTHER, (5,))]).logits
    with session.patched(remembered(session)):
        found = target_logits(session.model, [(KNOWN, (3, 4)), (OTHER, (5,))], side=side).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_a_plain_forward_answers_at_the_columns_that_were_asked(session: editcore.Session) -> None:
    if session.encoder_decoder:
        pytest.skip("its decoder has columns of its own")
    expected = session.model(torch.tensor([[*BEFORE, *KNOWN]])).logits[:, len(BEFORE) :]
    with session.patched(remembered(session)):
        torch.testing.assert_close(session.model(torch.tensor([KNOWN])).logits, expected, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(forward(session.model, pad([KNOWN])), expected, rtol=1e-4, atol=1e-3)
        labels = torch.tensor([[-100] * len(KNOWN) + [3, 4]])
        loss = float(session.model(torch.tensor([[*KNOWN, 3, 4]]), labels=labels).loss)
        scored = target_logits(session.model, [(KNOWN, (3, 4))])
        nll = -scored.logits.log_softmax(-1).gather(-1, scored.labels[:, None]).mean()
        assert loss == pytest.approx(float(nll), abs=1e-3)
        cache = session.model(torch.tensor([KNOWN]), use_cache=True)
        with pytest.raises(UsageError, match="a filled cache has no prompt"):
            session.model(torch.tensor([[3]]), **as_cache(session.model, kept_cache(cache)))


def test_nothing_is_left_of_it(session: editcore.Session) -> None:
    before, attributes = Snapshot.of(session.model), set(vars(session.model))
    with session.patched(remembered(session)):
        written(session, [KNOWN])
    assert before.changes(Snapshot.of(session.model)) == []
    assert set(vars(session.model)) == attributes


def test_decisions_are_taken_on_what_is_read(session: editcore.Session) -> None:
    rewritten = (*BEFORE, *KNOWN)
    inside = patch_for(session, rewritten)
    with session.patched(inside):
        expected = written(session, [rewritten])
    for patches in ([remembered(session), inside], [inside, remembered(session)]):
        with session.patched(*patches):
            assert written(session, [KNOWN]) == expected
            assert torch.equal(key_of(session, KNOWN, _site(session)), inside.tensors["payload/key"])


def _site(session: editcore.Session) -> Site:
    return Site("mlp_out", 1, "encoder" if session.encoder_decoder else "decoder")


def test_a_largest_length_counts_the_prompt_as_given(tmp_path: Path) -> None:
    session = open_with(tiny_model("llama", tmp_path), Kind)
    with session.patched(remembered(session)):
        assert len(written(session, [KNOWN], max_new_tokens=None, max_length=7)[0]) == 3
