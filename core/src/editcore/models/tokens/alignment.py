"""Find the tokens of the subject: from character offsets, or common prefixes where there are none; always checked."""

import unicodedata
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from editcore.models.tokens.tokenising import Tokens, bare, decode
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HALF_A_CHARACTER = "\ufffd"
_REACH = 4
_BLANKS = str.maketrans("", "", "\u2581")  # a tokenizer's own blank


def subject_tokens(tokenizer: "PreTrainedTokenizerBase", tokens: Tokens, text: str, start: int, end: int) -> range:
    """The tokens that cover `text[start:end]`, from its first to its last non-blank character.

    A character may be several tokens, and a token may reach over the subject's edge. Raises `UsageError` when the
    tokens, decoded, are not those of the subject: an edit would silently land one token off.
    """
    subject = text[start:end]
    first = start + len(subject) - len(subject.lstrip())
    stop = start + len(subject.rstrip())
    # some converted tokenizers tell wrong offsets: then the common prefixes decide
    candidates = chain(
        _by_offsets(tokens.offsets or (), first, stop), _by_common_prefix(tokenizer, tokens, text, first, stop)
    )
    for span in candidates:
        if _is_aligned(tokenizer, tokens.ids, span, text[:first], text[first:stop], text[stop:]):
            return span
    message = f"the tokens of the subject {subject!r} in {text!r} could not be found"
    raise UsageError(message, hint="try another spelling: the tokenizer may lack its characters")


def _by_offsets(offsets: tuple[tuple[int, int], ...], first: int, stop: int) -> Iterator[range]:
    """From the first to the last token that covers any character: one may be covered by none, or by several.

    A normaliser may drop an accent; an emoji is four bytes, each a token of its own.
    """
    covering = [index for index, (a, b) in enumerate(offsets) if a < stop and b > first and a < b]
    if covering:
        yield range(covering[0], covering[-1] + 1)


def _by_common_prefix(
    tokenizer: "PreTrainedTokenizerBase", tokens: Tokens, text: str, first: int, stop: int
) -> Iterator[range]:
    """Tokens from where those of `text[:first]` end to where those of `text[:stop]` do, and a little beyond.

    A merge over either edge changes tokens before it, so the common prefix ends early by a few.
    """
    begin, end = (_agreement(tokenizer, tokens, text[:until]) for until in (first, stop))
    for a in range(begin, min(begin + _REACH, len(tokens.ids))):
        for b in range(max(a + 1, end), min(end + _REACH, len(tokens.ids)) + 1):
            yield range(a, b)


def _agreement(tokenizer: "PreTrainedTokenizerBase", tokens: Tokens, beginning: str) -> int:
    alone = tokens.ids[: tokens.lead] + bare(tokenizer, beginning)
    differ = (index for index, (a, b) in enumerate(zip(alone, tokens.ids, strict=False)) if a != b)
    return next(differ, min(len(alone), len(tokens.ids)))


def _is_aligned(
    tokenizer: "PreTrainedTokenizerBase", ids: tuple[int, ...], span: range, before: str, subject: str, after: str
) -> bool:
    """Whether the span decodes to the subject, with its neighbours' letters at most, and no token of it is idle."""
    wanted = plain(tokenizer, subject)
    before, after = plain(tokenizer, before), plain(tokenizer, after)
    first, last = span[0], span[-1]
    whole, without_last, without_first = (
        plain(tokenizer, decode(tokenizer, ids[a:b])).strip(_HALF_A_CHARACTER)
        for a, b in ((first, last + 1), (first, last), (first + 1, last + 1))
    )
    # a word piece, "##x", shows its marker when it comes first: then the first token speaks for itself
    alone = plain(tokenizer, decode(tokenizer, ids[first : first + 1]))
    alone = "" if _HALF_A_CHARACTER in alone else alone
    at = whole.find(wanted)
    while at >= 0:
        left, right = whole[:at], whole[at + len(wanted) :]
        if (
            before.endswith(left)
            and after.startswith(right)
            and len(without_last) < len(left) + len(wanted)
            and (len(without_first) < len(wanted) + len(right) or len(left) < len(alone))
        ):
            return True
        at = whole.find(wanted, at + 1)
    return False


def plain(tokenizer: "PreTrainedTokenizerBase", text: str) -> str:
    """A text as far as every tokenizer keeps it: normalised, without case and blanks.

    Decomposed, so that a letter is shorter than the letter with its accent.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    lowered = unicodedata.normalize("NFKD", text).casefold()
    return "".join(lowered.translate(_BLANKS).split())
