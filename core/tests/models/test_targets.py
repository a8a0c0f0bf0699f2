"""What is scored is what the model would say after the prompt."""

import pytest

from editcore.models.tokens.chat import turn_ends
from editcore.models.tokens.spans import encode, encode_prompt, encode_request, joined_target
from editcore_hooks import ChatTemplate, EditRequest, UsageError

NAMES = (
    "byte-level",
    "byte-level, NFKC and lower case",
    "metaspace, always",
    "metaspace, first",
    "legacy llama",
    "word pieces",
    "slow",
)


def text_of(tokenizer, ids):
    return tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("target", ["French", " French", "東京", "Paris's"])
@pytest.mark.parametrize("name", NAMES)
def test_target_follows_the_prompt_s_own_tokens(tokenizers, name, target):
    tokenizer = tokenizers(name)
    prompt = encode_prompt(tokenizer, "The mother tongue is")
    row = encode_prompt(tokenizer, "The mother tongue is", target)
    joint = encode_prompt(tokenizer, row.text)
    assert row.prompt_ids == prompt.ids
    assert row.ids == joint.ids
    whole, answer = (text_of(tokenizer, ids).replace(" ", "") for ids in (row.ids, row.target_ids))
    assert whole == text_of(tokenizer, prompt.ids).replace(" ", "") + answer


@pytest.mark.parametrize("name", NAMES)
def test_target_behind_a_blank_or_inside_a_word_still_follows_the_prompt_s_own_tokens(tokenizers, name):
    tokenizer = tokenizers(name)
    for prompt, target, rule in (
        ("The city is ", "Paris", "auto"),
        ("In 19", "13", "none"),
        ("It is Par", "is", "none"),
    ):
        alone = encode_prompt(tokenizer, prompt)
        row = encode_prompt(tokenizer, prompt, target, target_prefix=rule)
        assert row.prompt_ids == alone.ids
        assert len(row.target) > 0
        if name != "word pieces":  # its decoder puts blanks between words by itself
            assert text_of(tokenizer, row.ids) == text_of(tokenizer, encode_prompt(tokenizer, prompt + target).ids)


def test_a_merge_over_the_boundary_is_scored_as_the_model_would_go_on(gpt2_tokenizer):
    prompt, joint = (encode_prompt(gpt2_tokenizer, text).ids for text in ("The city is ", "The city is Paris"))
    assert joint[: len(prompt)] != prompt  # " Paris" merges with the blank that ends the prompt
    row = encode_prompt(gpt2_tokenizer, "The city is ", "Paris")
    assert row.prompt_ids == prompt
    assert text_of(gpt2_tokenizer, row.target_ids) == "Paris"


def test_a_sentencepiece_target_brings_no_blank_of_its_own_into_a_word(tokenizers):
    tokenizer = tokenizers("metaspace, always")
    row = encode_prompt(tokenizer, "In 19", "13", target_prefix="none")
    assert text_of(tokenizer, row.ids) == "In 1913"


@pytest.mark.parametrize(
    ("text", "target", "rule", "more"),
    [
        ("The city is", "Paris", "auto", " Paris"),
        ("The city is", " Paris", "auto", " Paris"),
        ("The city is ", "Paris", "auto", "Paris"),
        ("The city is\n", "Paris", "auto", "Paris"),
        ("The city is", "Paris", "none", "Paris"),
        ("The city is", " Paris", "blank", " Paris"),
        ("The city is", "Paris", "blank", " Paris"),
        ("The city is ", "  Paris", "blank", "Paris"),
        ("日本の首都は", "東京", "auto", "東京"),
        ("日本の首都は", "Tokyo", "auto", "Tokyo"),
        ("答：", "Tokyo", "auto", "Tokyo"),
        ("The capital of Japan is", "東京", "auto", "東京"),
        ("The capital of Japan is", "“東京”", "auto", "“東京”"),
        ("日本の首都は", "東京", "blank", " 東京"),
        ("首都はスーパー", "Tokyo", "auto", "Tokyo"),
        ("เมืองหลวงคือ", "กรุงเทพ", "auto", "กรุงเทพ"),
        ("ນະຄອນຫຼວງແມ່ນ", "ວຽງຈັນ", "auto", "ວຽງຈັນ"),
        ("រាជធានីគឺ", "ភ្នំពេញ", "auto", "ភ្នំពេញ"),
        ("မြို့တော်မှာ", "နေပြည်တော်", "auto", "နေပြည်တော်"),
        ("한국의 수도는", "서울", "auto", " 서울"),
        ("भारत की राजधानी", "दिल्ली", "auto", " दिल्ली"),
        ("عاصمة فرنسا", "باريس", "auto", " باريس"),
    ],
)
def test_target_prefix_rules(text, target, rule, more):
    assert joined_target(text, target, rule) == more


def test_an_empty_target_is_refused(gpt2_tokenizer):
    with pytest.raises(UsageError, match="empty"):
        encode_prompt(gpt2_tokenizer, "The city is", "  ")


def test_a_text_without_tokens_is_refused(gpt2_tokenizer):
    with pytest.raises(UsageError, match="no tokens"):
        encode_prompt(gpt2_tokenizer, "")


@pytest.mark.parametrize(("name", "bos"), [("metaspace, always", "<s>"), ("slow", "<s>"), ("word pieces", "[CLS]")])
def test_the_beginning_is_marked_once_and_the_end_never(tokenizers, name, bos):
    tokenizer = tokenizers(name)
    row = encode(tokenizer, "The capital of {} is", "France", "Paris")
    start = tokenizer.convert_tokens_to_ids(bos)
    assert row.ids[0] == start
    assert row.ids.count(start) == 1
    assert tokenizer.convert_tokens_to_ids("[SEP]") not in row.ids or name != "word pieces"


CHAT = (
    "{{ bos_token }}{% for message in messages %}[{{ message.role }}] {{ message.content | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


@pytest.fixture
def chatting(tokenizers, monkeypatch):
    tokenizer = tokenizers("metaspace, first")
    monkeypatch.setattr(tokenizer, "chat_template", CHAT)
    return tokenizer


def test_a_chat_template_brings_its_own_bos_and_no_other_is_added(chatting):
    request = EditRequest("The capital of {} is?", "France", "Paris", template=ChatTemplate())
    row = encode_request(chatting, request)
    assert row.text == "<s>[user] The capital of France is?\n[assistant] Paris"
    assert row.ids.count(1) == 1
    assert row.ids[0] == 1


def test_the_subject_is_that_of_the_user_s_turn(chatting):
    template = ChatTemplate(system="Paris is a city. Paris!")
    row = encode(chatting, "The country of {} is", "Paris", template=template)
    before = text_of(chatting, row.ids[: row.subject[0]])
    assert before.count("Paris") == 2
    assert text_of(chatting, row.ids[row.subject[0] : row.subject[-1] + 1]).strip() == "Paris"


def test_the_subject_of_a_chat_ends_where_it_ends(chatting):
    row = encode(chatting, "{}, a city?", "Paris", template=ChatTemplate())
    assert text_of(chatting, row.ids[row.subject[0] : row.subject[-1] + 1]).strip() == "Paris"


def test_no_blank_is_put_between_a_template_and_its_answer(chatting):
    row = encode_prompt(chatting, "Hello", "Paris", ChatTemplate())
    assert row.text.endswith("[assistant] Paris")
    assert encode_prompt(chatting, "Hello", "Paris", ChatTemplate(chat=False)).text == "Hello Paris"


def test_a_tokenizer_without_a_template_is_named(gpt2_tokenizer):
    with pytest.raises(UsageError, match="cannot put the prompt into a chat"):
        encode_prompt(gpt2_tokenizer, "Hello", template=ChatTemplate())


def test_a_template_that_changes_the_prompt_is_refused(chatting, monkeypatch):
    monkeypatch.setattr(chatting, "chat_template", "{{ messages[0].content | length }}")
    with pytest.raises(UsageError, match="does not repeat the prompt"):
        encode(chatting, "The country of {} is", "Paris", template=ChatTemplate())
    monkeypatch.setattr(chatting, "chat_template", "{{ messages[0].content }} {{ messages[0].content }}")
    with pytest.raises(UsageError, match="does not repeat the prompt"):
        encode(chatting, "The country of {} is", "Paris", template=ChatTemplate())


def test_a_template_that_refuses_a_system_message_is_an_error_of_one_line(chatting, monkeypatch):
    monkeypatch.setattr(
        chatting, "chat_template", "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}x"
    )
    with pytest.raises(UsageError, match="cannot put the prompt into a chat: no"):
        encode_prompt(chatting, "Hello", template=ChatTemplate(system="Be brief."))


@pytest.mark.parametrize(
    ("after", "special"),
    [("{{ bos_token }}", True), ("\n{{ bos_token }}\n", True), ("[SEP] plain", False), ("", False)],
)
def test_the_end_of_a_turn_is_the_special_token_that_the_template_puts_there(chatting, monkeypatch, after, special):
    template = "{% for message in messages %}[{{ message.role }}] {{ message.content }}" + after + "{% endfor %}"
    monkeypatch.setattr(chatting, "chat_template", template)
    assert turn_ends(chatting) == (frozenset({chatting.bos_token_id}) if special else frozenset())
    monkeypatch.setattr(chatting, "chat_template", "{{ raise_exception('no') }}")
    assert turn_ends(chatting) == frozenset()
