"""Questions put to a model: as token rows, many at once, and what it says back."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, frozen

from editcore.evaluation.engine.questions import Answer, Answered, Drift, Neutral, Score, Unanswered, Unshifted, Write
from editcore.models.running.generation import continuations, shown
from editcore.models.running.packed_reading import Around, Found, Reading, read, reading_of
from editcore.models.running.top_k_distribution import TopKDistribution
from editcore.models.tokens.chat import turn_ends
from editcore.models.tokens.spans import encode_prompt
from editcore.models.tokens.tokenising import bare, tokenise
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

K = TypeVar("K", bound=Hashable)
Q = TypeVar("Q")
M = TypeVar("M")
Edit = Callable[[Sequence[int]], AbstractContextManager[Any]]
Readable = Score | Drift | Neutral | Unshifted
REMEMBERED = 1 << 15
"""Questions whose token rows are kept."""
LONGEST_TEXT = 128
"""Tokens of a neutral text that are read."""
ROWS_PER_BATCH = 64
"""Rows that are written on together."""


@frozen
class Room:
    """The token row of a prompt, and how many tokens to write after it."""

    ids: tuple[int, ...]
    tokens: int


def as_reading(session: "OpenSession", question: Readable) -> Reading:
    """The row of a question. Raises `UsageError` for a text to be read by a model with an encoder, and for a prompt
    that the model is too short for."""
    match question:
        case Score(prompt, target, template, prefix, _, cut):
            pass
        case Drift(prompt, template):
            target, prefix, cut = None, "auto", False
        case Neutral(text):
            ids = _text(session, text)[: min(LONGEST_TEXT, session.max_length)]
            return Reading(ids[:-1], 0, ids[1:])
        case Unshifted(text, skip):
            ids = _text(session, text)[: session.max_length]
            begin = len(_text(session, skip)) if skip else 0
            return Reading(ids, begin, ids[begin:])
    both = session.encoder_decoder
    row = encode_prompt(session.tokenizer, prompt, target, template, prefix, encoder_decoder=both)
    reading = reading_of(session.model, row.prompt_ids, row.target_ids)
    if both or len(reading.ids) <= session.max_length:
        return reading
    left = session.max_length - reading.begin
    if not cut or left < 1:
        raise _too_long(session, prompt, len(reading.ids))
    return evolve(reading, ids=reading.ids[: session.max_length], labels=reading.labels[:left])


def read_all(
    session: "OpenSession",
    asked: Sequence[tuple[int, Readable]],
    *,
    edit: Edit | None = None,
    keeps_top_k: bool = False,
    against: Sequence[TopKDistribution] | None = None,
) -> list[Found | Unanswered]:
    """The model's answer to each question of an owner; `against` has distributions for each. See `packed_reading`.

    `edit(owners)` is entered for each batch; row i of it belongs to `owners[i]`.
    """
    readings = [_remembered(session, question, as_reading) for _, question in asked]
    some = {i: one for i, one in enumerate(readings) if isinstance(one, Reading) and one.labels}
    owners = [asked[i][0] for i in some]
    found = read(
        session.model,
        list(some.values()),
        owners=owners,
        around=_around(edit, owners),
        keeps_top_k=keeps_top_k,
        against={number: against[i] for number, i in enumerate(some)} if against is not None else None,
    )
    by_index = dict(zip(some, found, strict=True))
    return [
        one if isinstance(one, Unanswered) else by_index.get(i, Found((), (), ())) for i, one in enumerate(readings)
    ]


def room_for(session: "OpenSession", question: Write) -> Room | Unanswered:
    """The number of tokens that `tokens` and the answers to cover need, within the model's length."""
    return _remembered(session, question, _room_for)


def _room_for(session: "OpenSession", question: Write) -> Room:
    both = session.encoder_decoder
    ids = encode_prompt(session.tokenizer, question.prompt, template=question.template, encoder_decoder=both).prompt_ids
    longest = max((len(bare(session.tokenizer, f" {text}")) for text in question.covering), default=0)
    tokens, left = max(question.tokens, longest), session.max_length - len(ids)
    if not both and left < 1:
        raise _too_long(session, question.prompt, len(ids))
    return Room(ids, tokens if both else min(tokens, left))


def write_all(
    session: "OpenSession", asked: Sequence[tuple[int, Room]], *, edit: Edit | None = None
) -> list[tuple[int, ...]]:
    """The new ids after the row of each owner, greedily; `edit` as in `read_all`."""
    written: dict[int, tuple[int, ...]] = {}
    for tokens in sorted({room.tokens for _, room in asked}):
        chosen = [i for i, (_, room) in enumerate(asked) if room.tokens == tokens]
        new = continuations(
            session.model,
            session.tokenizer,
            [asked[i][1].ids for i in chosen],
            tokens,
            batch_size=ROWS_PER_BATCH,
            around=_around(edit, [asked[i][0] for i in chosen]),
        )
        written |= zip(chosen, new, strict=True)
    return [written[i] for i in range(len(asked))]


def text_of(session: "OpenSession", room: Room, new: tuple[int, ...]) -> str:
    """The text of what was written, cut to what there is room for."""
    return shown(session.tokenizer, () if session.encoder_decoder else room.ids, new[: room.tokens])


def told(session: "OpenSession", question: Write, room: Room, new: tuple[int, ...]) -> str | Answered:
    """What was written, as the question wants it: a text, or for an `Answer` also whether the model ended it."""
    if not isinstance(question, Answer):
        return text_of(session, room, new)
    ends = session.cached("ends of a turn", lambda: turn_ends(session.tokenizer), base=True)
    kept = new[: room.tokens]
    end = next((i for i, token in enumerate(kept) if token in ends), len(kept))
    # what ended by itself is shorter than the room, since the end of the text is no part of it
    return Answered(text_of(session, room, kept[:end]), stopped=end < room.tokens)


def largest_rooms(asked: Iterable[tuple[K, Room]]) -> dict[K, Room]:
    """By key the largest room: what is written greedily in less is its beginning."""
    largest: dict[K, Room] = {}
    for key, room in asked:
        if key not in largest or largest[key].tokens < room.tokens:
            largest[key] = room
    return largest


def _remembered(session: "OpenSession", question: Q, make: Callable[["OpenSession", Q], M]) -> M | Unanswered:
    """The result of `make` for a question; the edited and the unedited model, and a model that is edited on, are asked
    the same. One prompt that a model cannot be asked is no reason to ask none: its row says why."""
    memo: dict[Any, Any] = session.cached("token rows", dict, base=True)
    key = evolve(question, unedited=False) if isinstance(question, Score | Write) else question
    if key not in memo:
        if len(memo) >= REMEMBERED:
            memo.clear()
        try:
            memo[key] = make(session, question)
        except UsageError as error:
            if isinstance(question, Neutral | Unshifted):
                raise
            memo[key] = Unanswered(error.message)
    found: M | Unanswered = memo[key]
    return found


def _too_long(session: "OpenSession", prompt: str, length: int) -> UsageError:
    message = f"{prompt!r} and its continuation are {length} tokens, but the model reads {session.max_length}"
    return UsageError(message, hint="leave the case out")


def _around(edit: Edit | None, owners: Sequence[int]) -> Around | None:
    return None if edit is None else lambda batch: edit([owners[i] for i in batch])


def _text(session: "OpenSession", text: str) -> tuple[int, ...]:
    if session.encoder_decoder:
        message = f"{session.model.config.model_type} has an encoder: it answers a text and does not continue it"
        raise UsageError(message, hint="leave out damage.ppl@1, damage.kl@1 and ppl_r.ice2024@1")
    return tokenise(session.tokenizer, text).ids
