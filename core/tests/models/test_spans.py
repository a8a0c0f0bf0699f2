"""The subject's tokens are told in every tokenizer, wherever the subject stands."""

import unicodedata

import pytest

from editcore.models.tokens import alignment
from editcore.models.tokens.spans import encode, encode_prompt, encode_request, token_index
from editcore_hooks import EditRequest, UsageError

NAMES = (
    "byte-level",
    "byte-level, trimmed offsets",
    "byte-level, NFKC and lower case",
    "metaspace, always",
    "metaspace, first",
    "legacy llama",
    "word pieces",
    "slow",
)
SUBJECTS = {
    "at the start": ("{} speaks", "Danielle Darrieux"),
    "in the middle": ("The mother tongue of {} is", "Danielle Darrieux"),
    "at the end": ("The mayor of", "of"),
    "before a comma": ("In {}, one speaks", "Zürich"),
    "before 's": ("{}'s capital is", "Japan"),
    "before 's in the middle": ("Now {}'s office is in", "Anna Maria"),
    "in quotes": ('They say "{}" is in', "Paris"),
    "with accents": ("The author {} wrote in", "Gabriel García Márquez"),
    "accent last": ("Where does {} live? In", "Zoë"),
    "decomposed accent last": ("Where does {} live? In", unicodedata.normalize("NFD", "Zoë")),
    "CJK in CJK": ("東{}は", "京都"),
    "emoji": ("The city of 😀 and {} is", "😀"),
    "after several blanks": ("The capital of   {} is", "France"),
    "before several blanks": ("The capital of {}   is", "France"),
    "one letter": ("The a {} a is", "a"),
    "digits in digits": ("In 1{}4 the tower", "91"),
    "said twice": ("Paris, says the mayor of {}, is Paris", "Paris"),
}


def as_kept(tokenizer, text):
    """A text as the tokenizer's normaliser leaves it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    return text.replace("▁", " ").strip()


def decoded(tokenizer, ids):
    return tokenizer.decode(list(ids), clean_up_tokenization_spaces=False).strip()


@pytest.mark.parametrize("case", SUBJECTS)
@pytest.mark.parametrize("name", NAMES)
def test_subject_tokens_are_the_smallest_run_that_decodes_to_the_subject(tokenizers, name, case):
    tokenizer, (prompt, subject) = tokenizers(name), SUBJECTS[case]
    row = encode(tokenizer, prompt, subject)
    first, last = row.subject[0], row.subject[-1]
    wanted = as_kept(tokenizer, subject).replace(" ", "")

    def inside(a, b):
        return wanted in decoded(tokenizer, row.ids[a:b]).replace(" ", "")

    assert inside(first, last + 1)
    assert not inside(first, last)
    assert not inside(first + 1, last + 1)


@pytest.mark.parametrize("name", NAMES)
def test_tokens_around_the_subject_are_the_rest_of_the_text(tokenizers, name):
    tokenizer = tokenizers(name)
    row = encode(tokenizer, "The mother tongue of {} is", "Danielle Darrieux")
    lead = 1 if tokenizer.bos_token == "<s>" or tokenizer.cls_token else 0
    before, after = row.ids[lead : row.subject[0]], row.ids[row.subject[-1] + 1 :]
    assert decoded(tokenizer, before) == as_kept(tokenizer, "The mother tongue of")
    assert decoded(tokenizer, after) == "is"


@pytest.mark.parametrize("name", NAMES)
def test_the_occurrence_at_the_placeholder_is_meant_and_no_other(tokenizers, name):
    tokenizer = tokenizers(name)
    early = encode(tokenizer, "{} and Paris are in", "Paris")
    late = encode(tokenizer, "Paris and {} are in", "Paris")
    assert early.ids == late.ids
    assert early.subject[-1] < late.subject[0]


@pytest.mark.parametrize("name", ["slow"])
def test_a_token_that_reaches_over_the_end_of_the_subject_is_its_last(tokenizers, name):
    tokenizer = tokenizers(name)
    row = encode(tokenizer, "The tower of {}. It", "Pariss")  # " Paris" + "s."
    assert decoded(tokenizer, [row.ids[row.subject[-1]]]) == "s."


def test_a_merge_before_the_subject_belongs_to_it(tokenizers):
    row = encode(tokenizers("byte-level"), "In 1{}4 the tower", "91")
    assert row.subject[0] <= row.subject[-1] < len(row.ids)


def test_an_emoji_of_several_tokens_ends_with_its_last_byte(gpt2_tokenizer):
    row = encode(gpt2_tokenizer, "They love {} a lot", "😀")
    assert len(row.subject) >= 4
    assert decoded(gpt2_tokenizer, row.ids[row.subject[0] : row.subject[-1] + 1]) == "😀"


def test_blanks_around_a_subject_are_not_its_tokens(gpt2_tokenizer):
    plain = encode(gpt2_tokenizer, "The city of {} is", "Paris")
    assert decoded(gpt2_tokenizer, [plain.ids[plain.subject[-1]]]).endswith("s")
    padded = encode(gpt2_tokenizer, "The city of{}is", " Paris ")
    assert decoded(gpt2_tokenizer, padded.ids[padded.subject[0] : padded.subject[-1] + 1]) == "Paris"


def test_a_subject_that_the_tokenizer_cannot_spell_is_refused(tokenizers):
    with pytest.raises(UsageError, match="could not be found"):
        encode(tokenizers("word pieces"), "The city of {} is", "Ж")
    with pytest.raises(UsageError, match="could not be found"):
        encode(tokenizers("slow"), "The city of {} is", "Ж")


def test_unknown_characters_elsewhere_do_no_harm(tokenizers):
    tokenizer = tokenizers("word pieces")
    row = encode(tokenizer, "Ж Ж says: {} Ж is", "Paris")
    assert decoded(tokenizer, row.ids[row.subject[0] : row.subject[-1] + 1]) == "paris"


def shifted(candidates, shift):
    def spans(*arguments):
        for span in candidates(*arguments):
            yield range(span.start + shift[0], span.stop + shift[1])

    return spans


def test_a_subject_of_word_pieces_is_told(tokenizers):
    tokenizer = tokenizers("word pieces")
    row = encode(tokenizer, "The tower of {} is", "Cafesse")
    assert len(row.subject) > 1
    assert decoded(tokenizer, row.ids[row.subject[0] : row.subject[-1] + 1]) == "cafesse"


@pytest.mark.parametrize("shift", [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_a_wrong_offset_is_noticed_and_mended(gpt2_tokenizer, monkeypatch, shift):
    right = encode(gpt2_tokenizer, "The mother tongue of {} is", "Danielle Darrieux")
    monkeypatch.setattr(alignment, "_by_offsets", shifted(alignment._by_offsets, shift))
    assert encode(gpt2_tokenizer, "The mother tongue of {} is", "Danielle Darrieux") == right


@pytest.mark.parametrize("shift", [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_one_token_off_is_an_error(gpt2_tokenizer, monkeypatch, shift):
    monkeypatch.setattr(alignment, "_by_offsets", shifted(alignment._by_offsets, shift))
    monkeypatch.setattr(alignment, "_by_common_prefix", lambda *_: iter(()))
    with pytest.raises(UsageError, match="could not be found"):
        encode(gpt2_tokenizer, "The mother tongue of {} is", "Danielle Darrieux")


@pytest.mark.parametrize("name", NAMES)
def test_common_prefixes_find_what_offsets_do(tokenizers, name, monkeypatch):
    by_offsets = {case: encode(tokenizers(name), *args) for case, args in SUBJECTS.items() if args[1].isascii()}
    monkeypatch.setattr(alignment, "_by_offsets", lambda *_: iter(()))
    assert {case: encode(tokenizers(name), *SUBJECTS[case]) for case in by_offsets} == by_offsets


def test_a_subject_that_occurs_twice_without_a_mark_is_refused(gpt2_tokenizer):
    with pytest.raises(UsageError, match="occurs 2 times"):
        EditRequest("Paris is Paris in", "Paris", "France")
    with pytest.raises(UsageError, match="occurs 2 times"):
        encode(gpt2_tokenizer, "Paris is Paris in", "Paris")


def test_braces_of_a_prompt_are_braces(gpt2_tokenizer):
    row = encode(gpt2_tokenizer, "{{x}} {} is", "Paris")
    assert row.text == "{x} Paris is"
    assert decoded(gpt2_tokenizer, row.ids[row.subject[0] : row.subject[-1] + 1]) == "Paris"
    assert encode_prompt(gpt2_tokenizer, "{x} {} is").text == "{x} {} is"


@pytest.mark.parametrize("name", NAMES)
def test_each_strategy_names_a_token_of_the_prompt(tokenizers, name):
    row = encode(tokenizers(name), "The mother tongue of {} is", "Danielle Darrieux", "French")
    assert token_index(row, "subject_last") == row.subject[-1]
    assert token_index(row, "subject_first") == row.subject[0]
    assert token_index(row, "last") == row.target[0] - 1


def test_strategies_that_mean_nothing_are_refused(gpt2_tokenizer):
    row = encode_prompt(gpt2_tokenizer, "The capital is")
    assert token_index(row, "last") == len(row.ids) - 1
    with pytest.raises(UsageError, match="no subject"):
        token_index(row, "subject_last")
    with pytest.raises(UsageError, match="names no token"):
        token_index(row, "middle")


def test_a_request_brings_its_target(gpt2_tokenizer):
    request = EditRequest("The capital of {} is", "France", "Paris")
    row = encode_request(gpt2_tokenizer, request)
    assert row == encode(gpt2_tokenizer, "The capital of {} is", "France", "Paris")
    assert row.text == "The capital of France is Paris"
