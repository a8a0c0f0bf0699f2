"""Which tokens are the subject's: from character offsets, or by decoding where there are none; always checked."""

import unicodedata
from typing import TYPE_CHECKING

from editcore_hooks import UsageError

from editcore.models.tokens import Tokens, decode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HALF_A_CHARACTER = "\ufffd"
_BLANKS = str.maketrans("", "", "\u2581")  # a tokenizer's own blank


def subject_tokens(tokenizer: "PreTrainedTokenizerBase", tokens: Tokens, text: str, start: int, end: int) -> range:
    """The tokens that cover `text[start:end]`, from its first to its last non-blank character.

    A character may be several tokens, and a token may reach over the subject's edge. Raises `UsageError` when the
    tokens, decoded, are not those of the subject: an edit would silently land one token off.
    """
    subject = text[start:end]
    first = start + len(subject) - len(subject.lstrip())
    last = start + len(subject.rstrip()) - 1
    span = _by_offsets(tokens, first, last) if tokens.offsets else _by_decoding(tokenizer, tokens, text, first, last)
    before, after = text[:first], text[last + 1 :]
    if span is None or not _is_aligned(tokenizer, tokens.ids, span, before, subject.strip(), after):
        message = f"the tokens of the subject {subject!r} in {text!r} could not be told"
        raise UsageError(message, hint="the tokenizer may lack its characters; try another spelling")
    return span


def _by_offsets(tokens: Tokens, first: int, last: int) -> range | None:
    covering = {first: [], last: []}  # type: dict[int, list[int]]
    for index, (a, b) in enumerate(tokens.offsets or ()):
        for at in covering:
            if a <= at < b:
                covering[at].append(index)
    if not covering[first] or not covering[last]:
        return None
    return range(min(covering[first]), max(covering[last]) + 1)


def _by_decoding(
    tokenizer: "PreTrainedTokenizerBase", tokens: Tokens, text: str, first: int, last: int
) -> range | None:
    """The first token with which more than `text[:first]` is decoded, to the first with which `text[:last + 1]` is."""
    before, through = plain(tokenizer, text[:first]), plain(tokenizer, text[: last + 1])
    begin = None
    for index in range(tokens.lead, len(tokens.ids)):
        decoded = plain(tokenizer, decode(tokenizer, tokens.ids[tokens.lead : index + 1]))
        if begin is None and len(decoded) > len(before):
            begin = index
        if begin is not None and decoded.startswith(through):
            return range(begin, index + 1)
    return None


def _is_aligned(
    tokenizer: "PreTrainedTokenizerBase", ids: tuple[int, ...], span: range, before: str, subject: str, after: str
) -> bool:
    """Whether the span decodes to the subject, with its neighbours' letters at most, and no token of it is idle."""
    wanted = plain(tokenizer, subject)
    before, after = plain(tokenizer, before), plain(tokenizer, after)
    whole, without_last, without_first = (
        plain(tokenizer, decode(tokenizer, ids[a:b])).strip(_HALF_A_CHARACTER)
        for a, b in ((span[0], span[-1] + 1), (span[0], span[-1]), (span[0] + 1, span[-1] + 1))
    )
    at = whole.find(wanted)
    while at >= 0:
        left, right = whole[:at], whole[at + len(wanted) :]
        if (
            before.endswith(left)
            and after.startswith(right)
            and len(without_last) < len(left) + len(wanted)
            and len(without_first) < len(wanted) + len(right)
        ):
            return True
        at = whole.find(wanted, at + 1)
    return False


def plain(tokenizer: "PreTrainedTokenizerBase", text: str) -> str:
    """A text as far as every tokenizer keeps it: normalised, without case and blanks."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(folded.translate(_BLANKS).split())
