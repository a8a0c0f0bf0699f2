"""Prompts that an edit should leave alone: the scale on which a method says that a prompt is near."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs
import torch

from editcore.authoring.models import sample, tokenise
from editcore_hooks import EditRequest, UsageError
from editcore_keyvalue.alike import alike
from editcore_keyvalue.contexts import HALF, made_up
from editcore_keyvalue.corpus import bundled_text

if TYPE_CHECKING:
    from editcore_hooks import Session

LENGTHS: Final = (5, 7, 9, 12)
"""Lengths in tokens, or in words with an encoder: those of short prompts."""


def unrelated(session: "Session", count: int) -> tuple[tuple[int, ...], ...]:
    """The ids of at most `count` prompts, the same all session long: texts that the unedited model writes, seeded.

    A model with an encoder writes no text of its own; its prompts are pieces of the bundled text.
    """

    def make() -> tuple[tuple[int, ...], ...]:
        texts = pieces(count) if session.encoder_decoder else _written(session, count)
        both = session.encoder_decoder
        rows = (tuple(tokenise(session.tokenizer, text, closed=both).ids) for text in texts)
        return tuple(dict.fromkeys(row for row in rows if row))[:count]

    found: tuple[tuple[int, ...], ...] = session.cached(("unrelated", session.seed, count), make, base=True)
    return found


def same_question(
    session: "Session", request: EditRequest, count: int, given: Sequence[str] = ()
) -> tuple[tuple[int, ...], ...]:
    """The ids of the prompt of `request` with other subjects: those given, else those of `other_subjects`."""
    names = given or other_subjects(session, request, count)
    own = tuple(session.encode(request).prompt_ids)
    free = [name for name in names if name.strip() != request.subject.strip()]
    rows = (tuple(session.encode(attrs.evolve(request, subject=name)).prompt_ids) for name in free)
    return tuple(dict.fromkeys(row for row in rows if row != own))


def other_subjects(session: "Session", request: EditRequest, count: int) -> Sequence[str]:
    """At most `count` names that people ask about, spread over their kinds, and as many that the unedited model makes
    up. Beside an encoder, where it writes no text of its own, `count` pairs of words of the bundled text.

    Made-up names are like those of an invented world, and known ones like those that a person asks a real model about:
    what keeps an edit of France from Germany is a country.
    """
    if session.encoder_decoder:
        return _named(count)
    known = [name for name in alike(request) if _can_be_written(session, request, name)]
    spread = dict.fromkeys(known[i * len(known) // count] for i in range(count)) if known else ()
    return [*spread, *made_up(session, count)]


def _can_be_written(session: "Session", request: EditRequest, name: str) -> bool:
    with suppress(UsageError):
        session.encode(attrs.evolve(request, subject=name))
        return True
    return False


def _named(count: int) -> list[str]:
    """Two words of the bundled text each, without marks."""
    words = ["".join(filter(str.isalpha, word)) for word in bundled_text().split()]
    words = [word for word in words if len(word) > 2]
    starts = [i * (len(words) - 1) // count for i in range(count)]
    return [" ".join(words[start : start + 2]).title() for start in starts]


def pieces(count: int) -> list[str]:
    """`count` pieces of the bundled text, spread evenly over it."""
    words = bundled_text().split()
    starts = [i * len(words) // count for i in range(count)]
    return [" ".join(words[start : start + LENGTHS[i % len(LENGTHS)]]) for i, start in enumerate(starts)]


def _written(session: "Session", count: int) -> list[str]:
    generator = torch.Generator().manual_seed(session.seed + 2)
    with session.at_base():
        rows = sample(session.model, [[session.start_token]] * count, max(LENGTHS), None, generator)
    cut = [row[: LENGTHS[i % len(LENGTHS)]] for i, row in enumerate(rows)]
    texts = [session.tokenizer.decode(row, skip_special_tokens=True).strip() for row in cut]
    return [text for text in texts if text and HALF not in text]
