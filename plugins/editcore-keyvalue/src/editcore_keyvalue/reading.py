"""`auto`: the bundled text if a model reads it well, otherwise text that the model writes itself.

A model of another language, or of an invented world, uses keys for its own text that ordinary English hardly shows.
"""

import math
from itertools import islice
from typing import TYPE_CHECKING, Final

from editcore.authoring.models import target_logprobs
from editcore_keyvalue.corpus import Corpus, bundled_text, open_corpus
from editcore_keyvalue.hparams import AUTO
from editcore_keyvalue.windows import documents_of, windows

if TYPE_CHECKING:
    from editcore_hooks import Session

READS_WELL: Final = 2.0
"""Bits a byte. SmolLM2 135M needs about 1, a small model of English below 2, one that never saw English above 3."""
TOKENS_PER_WIDTH: Final = 2
"""Tokens of the bundled text for each direction of the keys, below which a wider model writes its own
(arXiv:2506.04226 finds 2 to 10 enough)."""
DOCUMENTS: Final = 3
UNKNOWN: Final = 0.02
"""Share of unknown tokens above which a tokenizer does not read the text: such tokens are easy to predict."""


def choose(session: "Session", name: str, width: int) -> Corpus:
    """The corpus of that name; for `auto` the bundled text where it suits, else the model itself.

    Raises `UsageError`.
    """
    if name != AUTO:
        return open_corpus(name)
    bundled, least = open_corpus("bundled"), TOKENS_PER_WIDTH * width
    suits = session.cached("the bundled text suits", lambda: _suits(session, bundled, least), base=True)
    return bundled if suits else open_corpus("self")


def _suits(session: "Session", bundled: Corpus, least: int) -> bool:
    return reads(session) and bundled.count(session, least) == least


def reads(session: "Session") -> bool:
    """Whether the model, without patches, predicts the beginning of the bundled text well."""
    if session.encoder_decoder:
        return False
    documents = list(islice(documents_of(bundled_text()), DOCUMENTS))
    rows = list(windows(session, documents))
    unknown = session.tokenizer.unk_token_id
    if unknown is not None and sum(row.count(unknown) for row in rows) > UNKNOWN * sum(map(len, rows)):
        return False
    items = [(row[:1], row[1:]) for row in rows if len(row) > 1]
    if not items:
        return False
    with session.at_base():
        scores = target_logprobs(session.model, items)
    bits = -sum(score.sum for score in scores) / math.log(2)
    return bits / len("".join(documents).encode()) < READS_WELL
