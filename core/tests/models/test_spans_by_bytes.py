"""The subject's tokens are those whose bytes overlap its bytes: counted independently of offsets and of decoding."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from editcore.models.tokens.spans import encode

WORDS = ["Paris", "of", "a", "aa", "Zoë", "é", "e\u0308", "東京", "は", "😀"]
PIECES = [*WORDS, "'s", "1912", "19", ".", '"', "ﬁ", "½", "  ", "\n"]
TEXTS = st.builds(str.join, st.sampled_from(["", " "]), st.lists(st.sampled_from(PIECES), max_size=4))
GLUE = st.sampled_from(["", " "])


def byte_of_letter():
    """GPT-2's letters for bytes: printable ones stand for themselves, the others follow from 256 on."""
    themselves = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in themselves]
    return {chr(b): b for b in themselves} | {chr(256 + i): b for i, b in enumerate(others)}


LETTERS = byte_of_letter()


def bytes_of(token, name):
    if name.startswith("byte-level"):
        return bytes(LETTERS[letter] for letter in token)
    if token == "<s>":
        return b""
    return bytes([int(token[3:5], 16)]) if token.startswith("<0x") else token.replace("▁", " ").encode()


@pytest.mark.parametrize(
    "name", ["byte-level", "byte-level, trimmed offsets", "metaspace, always", "metaspace, first", "legacy llama"]
)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=TEXTS, subject=TEXTS.filter(str.strip), after=TEXTS, left=GLUE, right=GLUE)
def test_subject_tokens_are_those_that_hold_its_bytes(tokenizers, name, before, subject, after, left, right):
    tokenizer = tokenizers(name)
    row = encode(tokenizer, f"{before}{left}{{}}{right}{after}", subject)
    pieces = [bytes_of(token, name) for token in tokenizer.convert_ids_to_tokens(list(row.ids))]
    added = len(b"".join(pieces)) - len(row.text.encode())  # the blank that a tokenizer may put before a text
    assert b"".join(pieces)[added:] == row.text.encode()

    first = len(before + left) + len(subject) - len(subject.lstrip())
    stop = len(before + left) + len(subject.rstrip())
    first_byte, stop_byte = (len(row.text[:at].encode()) + added for at in (first, stop))
    holding, at = [], 0
    for index, piece in enumerate(pieces):
        if at < stop_byte and at + len(piece) > first_byte:
            holding.append(index)
        at += len(piece)
    assert row.subject == range(holding[0], holding[-1] + 1)
