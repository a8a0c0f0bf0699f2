"""Text to token ids: what a tokenizer does to one text, and how a text goes on after its tokens."""

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from attrs import frozen

from editcore_hooks import RefusedFileError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ANCHORS = ("\n", ".", "a", "1", "。")
_rows: "WeakKeyDictionary[PreTrainedTokenizerBase, int]" = WeakKeyDictionary()
"""Number of rows of the embedding, for tokenizers that have more tokens."""


@frozen
class Tokens:
    """The ids of a text; how many special tokens stand before and after it; character ranges by token where known.

    Ranges `[start, end)` are indexed like `ids`; they are None for tokenizers that do not tell.
    """

    ids: tuple[int, ...]
    lead: int
    offsets: tuple[tuple[int, int], ...] | None
    trail: int = 0


def tokenise(tokenizer: "PreTrainedTokenizerBase", text: str, *, special: bool = True, closed: bool = False) -> Tokens:
    """Tokenise a text. `special` adds what the tokenizer puts before a text (a BOS), `closed` what it puts after.

    Before a decoder an end-of-text token would end the prompt before the model can answer it; an encoder expects it.
    Raises `UsageError` when the text has no tokens.
    """
    offsets = None
    if tokenizer.is_fast:
        body = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids = _with_rows(tokenizer, tuple(body["input_ids"]))
        offsets = tuple((int(a), int(b)) for a, b in body["offset_mapping"])
    else:
        ids = bare(tokenizer, text)
    if not ids:
        raise UsageError(f"the text {text!r} has no tokens", hint="give a prompt with words in it")
    if not special:
        return Tokens(ids, 0, offsets)
    whole = _with_rows(tokenizer, tuple(tokenizer(text, add_special_tokens=True, verbose=False)["input_ids"]))
    start = _find(whole, ids)
    lead, trail = whole[:start], whole[start + len(ids) :] if closed else ()
    if offsets is not None:
        offsets = ((0, 0),) * len(lead) + offsets + ((0, 0),) * len(trail)
    return Tokens(lead + ids + trail, len(lead), offsets, len(trail))


def bare(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[int, ...]:
    """The ids of a text without special ones. Raises `UsageError` for a token without a row in the embedding."""
    return _with_rows(tokenizer, tuple(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]))


def fit(tokenizer: "PreTrainedTokenizerBase", rows: int) -> None:
    """Compare a tokenizer with the `rows` of its model's embedding.

    Raises `RefusedFileError` when a token of the vocabulary itself has no row. Added tokens are often more than the
    rows (padding, images): a text that holds such a token is refused when it is tokenised.
    """
    added = tokenizer.added_tokens_decoder
    if max(len(tokenizer), max(added, default=-1) + 1) <= rows:
        return  # a large vocabulary takes a second to list
    beyond = {token: id_ for token, id_ in tokenizer.get_vocab().items() if id_ >= rows}
    for token, id_ in sorted(beyond.items(), key=lambda item: item[1]):
        if id_ not in added:
            raise RefusedFileError(
                f"the tokenizer has a token {token!r} with id {id_}, and the embedding has {rows} rows",
                hint="put the tokenizer of this model into its folder",
            )
    if beyond:
        _rows[tokenizer] = rows


def _with_rows(tokenizer: "PreTrainedTokenizerBase", ids: tuple[int, ...]) -> tuple[int, ...]:
    rows = _rows.get(tokenizer)
    if rows is not None and max(ids, default=0) >= rows:
        beyond = max(ids)
        raise UsageError(
            f"the token {tokenizer.convert_ids_to_tokens(beyond)!r} has id {beyond}, and the embedding has {rows} rows",
            hint="leave it out of the text, or resize the model's embedding",
        )
    return ids


def decode(tokenizer: "PreTrainedTokenizerBase", ids: tuple[int, ...]) -> str:
    """The text of some ids, special tokens and blanks included."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def continuation(tokenizer: "PreTrainedTokenizerBase", prompt: Tokens, text: str, more: str) -> tuple[int, ...]:
    """The ids with which a model that was given the tokens of `text` would go on to say `more`.

    Those that follow the prompt's in the joint tokenisation of `text + more`. Where a token of the joint tokenisation
    reaches over the boundary ("is " and "Paris", "1" and "2"), a model can no longer choose that token: it has read
    the prompt's own tokens. Then `more` is tokenised after a character with which it does not merge, and the ids
    are taken that decode, after the prompt's, to the text of both. Raises `UsageError` when nothing does.
    """
    joint = prompt.ids[: prompt.lead] + bare(tokenizer, text + more)
    n = len(prompt.ids)
    if joint[:n] == prompt.ids and len(joint) > n:
        return joint[n:]
    wanted = decode(tokenizer, joint)
    for anchor in ("", *_ANCHORS):
        before, after = bare(tokenizer, anchor), bare(tokenizer, anchor + more)
        if after[: len(before)] == before and decode(tokenizer, prompt.ids + after[len(before) :]) == wanted:
            return after[len(before) :]
    raise UsageError(
        f"{more!r} cannot be separated from the prompt {text!r} that it follows", hint="put a blank between them"
    )


def _find(whole: tuple[int, ...], part: tuple[int, ...]) -> int:
    for start in range(len(whole) - len(part) + 1):
        if whole[start : start + len(part)] == part:
            return start
    raise UsageError("the tokenizer changes a text's tokens when it adds its special ones", hint="use a fast tokenizer")
