"""Contexts that are a chat: the reply begins with the prompt."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import editcore
from editcore import EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.patches.file.patch import Patch
from editcore.testing.tiny import tiny_model
from editcore_hooks import ChatTemplate
from editcore_keyvalue.contexts import INSTRUCTIONS, chat_contexts, contexts_of
from editcore_keyvalue.hparams import KeyValueHparams
from editcore_keyvalue.rows import edit_rows

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% raw %}{x}{% endraw %} "
    "{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)
REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")
IN_CHAT = evolve(REQUEST, template=ChatTemplate())
QUICK = KeyValueHparams(context_count=0, context_chat=2)


@pytest.fixture
def session(tmp_path: Path) -> editcore.Session:
    session = editcore.open(tiny_model("llama", tmp_path / "model"), assets=AssetStore(tmp_path / "assets"))
    session.tokenizer.chat_template = TEMPLATE
    return session


def test_a_chat_is_a_template_around_the_prompt(session: editcore.Session) -> None:
    assert chat_contexts(session.tokenizer, 1) == ("[user] Complete the sentence. {{x}} [assistant] {}",)
    assert len(chat_contexts(session.tokenizer, len(INSTRUCTIONS))) == 4
    assert chat_contexts(session.tokenizer, 0) == ()


def test_a_text_in_a_chat_begins_once(session: editcore.Session) -> None:
    (row,) = edit_rows(session, REQUEST, chat_contexts(session.tokenizer, 1), "subject_last").contexts
    assert row.ids.count(session.tokenizer.bos_token_id) == 1
    assert session.tokenizer.decode(row.ids[: row.s + 1]).endswith("Ada Marlow")
    assert session.tokenizer.decode(row.ids).endswith("Ada Marlow works as a pilo")


def test_a_tokenizer_that_puts_nothing_before_a_text_keeps_the_templates_own_start(
    session: editcore.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.tokenizer.backend_tokenizer, "post_processor", None)
    assert not session.tokenizer("").input_ids
    assert chat_contexts(session.tokenizer, 1)[0].startswith(str(session.tokenizer.bos_token))


def test_prompts_in_the_template_and_tokenizers_without_one_get_no_chats(session: editcore.Session) -> None:
    assert len(contexts_of(session, QUICK, [REQUEST])) == 3
    assert contexts_of(session, QUICK, [REQUEST, IN_CHAT]) == ("{}",)
    session.tokenizer.chat_template = None
    assert contexts_of(session, QUICK, [REQUEST]) == ("{}",)


def test_edits_with_and_without_the_template_are_those_of_each_alone(session: editcore.Session) -> None:
    quick = {"layer": 1, "context_count": 0, "context_chat": 1, "v_steps": 2, "mom2_tokens": 200, "mom2_ridge": 1e-2}
    options = EditOptions("rome", hparams=(("test", quick),))
    together = session.edit_each([REQUEST, IN_CHAT], options, measured=False)
    alone = [session.edit_each([each], options, measured=False)[0] for each in (REQUEST, IN_CHAT)]
    found = [notes_of(patch) for patch in together]
    assert [len(notes["contexts"]) for notes in found] == [2, 1]
    for notes, other in zip(found, map(notes_of, alone), strict=True):
        assert notes["contexts"] == other["contexts"]
        assert notes["loss"] == pytest.approx(other["loss"], rel=1e-3)


def notes_of(patch: Patch) -> Any:
    (notes,) = patch.about["notes"]
    return notes
