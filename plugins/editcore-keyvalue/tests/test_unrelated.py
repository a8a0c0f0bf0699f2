"""Prompts that an edit should leave alone."""

from pathlib import Path

import editcore
from editcore.testing.tiny import tiny_model
from editcore_hooks import EditRequest
from editcore_keyvalue.unrelated import pieces, same_question, unrelated

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot")


def test_unrelated_prompts_are_the_same_each_time_and_short(gpt2_folder: Path) -> None:
    found = unrelated(editcore.open(gpt2_folder), 8)
    assert found == unrelated(editcore.open(gpt2_folder), 8)
    assert 1 < len(found) == len(set(found)) <= 8


def test_the_same_question_is_asked_of_others_only(gpt2_folder: Path) -> None:
    session = editcore.open(gpt2_folder)
    (one,) = same_question(session, REQUEST, 4, ("Ada Marlow", "Bo Quist", "Bo Quist"))
    assert one == tuple(session.tokenizer("Bo Quist works as a")["input_ids"])


def test_with_an_encoder_they_come_from_the_bundled_text(tmp_path: Path) -> None:
    session = editcore.open(tiny_model("t5", tmp_path))
    assert len(pieces(5)) == len(set(pieces(5))) == 5
    end = session.tokenizer.eos_token_id
    for row in (*unrelated(session, 5), *same_question(session, REQUEST, 5)):
        assert row[-1] == end
