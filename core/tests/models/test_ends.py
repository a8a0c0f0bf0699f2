"""The tokens that end an answer: by the tokenizer, or by what its chat template writes after a reply."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

import editcore
from editcore.models.tokens.ends import end_ids, ended
from editcore_hooks import ChatTemplate

TURNS = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ '<pad>' if m.role == 'assistant' else '' }}\n{% endfor %}"
)


@pytest.fixture
def tokenizer(llama_folder: Path) -> PreTrainedTokenizerBase:
    return editcore.open(llama_folder).tokenizer


def test_a_text_ends_with_the_end_of_text(tokenizer: PreTrainedTokenizerBase) -> None:
    assert end_ids(tokenizer) == (tokenizer.eos_token_id,)
    assert end_ids(tokenizer, ChatTemplate(chat=False)) == (tokenizer.eos_token_id,)


def test_a_turn_ends_with_the_token_that_the_template_writes_after_a_reply(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.chat_template = TURNS
    assert end_ids(tokenizer, ChatTemplate()) == (tokenizer.convert_tokens_to_ids("<pad>"),)
    assert end_ids(tokenizer, ChatTemplate()) != end_ids(tokenizer)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content }}\n{% endfor %}",
        "{% if messages | length > 1 %}{{ raise_exception('questions only') }}{% endif %}{{ messages[0].content }}",
        None,
    ],
)
def test_a_template_that_shows_no_end_leaves_the_end_of_text(
    tokenizer: PreTrainedTokenizerBase, template: str | None
) -> None:
    tokenizer.chat_template = template
    assert end_ids(tokenizer, ChatTemplate()) == (tokenizer.eos_token_id,)


def test_a_tokenizer_without_an_end_gives_none(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.eos_token = None
    assert end_ids(tokenizer) == ()


def test_an_answer_is_ended_where_it_is_asked_for_and_once(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.chat_template = TURNS
    text, turn = end_ids(tokenizer), end_ids(tokenizer, ChatTemplate())
    assert ended((7,), tokenizer) == (7,)
    assert ended((7,), tokenizer, ChatTemplate(chat=False)) == (7,)
    assert ended((7,), tokenizer, ChatTemplate()) == (7, *turn)
    assert ended((7,), tokenizer, ChatTemplate(), eos=False) == (7,)
    assert ended((7,), tokenizer, eos=True) == (7, *text)
    assert ended((7, *text), tokenizer, eos=True) == (7, *text)
