"""The number of tokens of a pass: those wanted or, under a time limit, a half, a quarter, … of them.

The speed is measured once, before the pass, and only which power of two fits is taken from it: a machine that is a
little busier gives the same tokens, and with them the same edit.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import torch
from attrs import field, frozen

from editcore.authoring.models import sample
from editcore_keyvalue.corpus import ROWS_PER_CHUNK, Corpus, SelfCorpus
from editcore_keyvalue.statistic import KEYS, Statistic

if TYPE_CHECKING:
    from editcore_hooks import Session

LEAST: Final = 512
"""Tokens that are taken in whatever the limit."""
FULL: Final = 0.8
"""Share of the limit that a forecast may fill."""
STEPS: Final = 4
READ: Final = 128
"""Steps of sampling, and tokens of a row, by which the speed is measured."""


@frozen
class Budget:
    """`tokens` to take in of those `wanted`, estimated to take `seconds`, and the corpus to take them from."""

    corpus: Corpus
    tokens: int
    wanted: int
    seconds: float
    until: float = field(default=math.inf)
    """The moment, of `time.monotonic`, at which the pass stops, whatever the estimate."""

    def proceed(self, drawn: int) -> bool:
        """Whether sampling continues after `drawn` tokens of each row; a minimum is always drawn."""
        return drawn * ROWS_PER_CHUNK < LEAST or time.monotonic() < self.until


def budget(
    session: "Session",
    corpus: Corpus,
    layers: Sequence[int],
    wanted: int,
    limit: float,
    statistic: Statistic = KEYS,
) -> Budget:
    """The budget for `wanted` tokens in `limit` seconds (infinite: no limit)."""
    until = time.monotonic() + limit
    each = seconds_a_token(session, corpus, layers, statistic)
    tokens = wanted
    while tokens > LEAST and each * tokens > FULL * limit:
        tokens = max(LEAST, tokens // 2)
    if tokens < wanted and isinstance(corpus, SelfCorpus) and tokens < ROWS_PER_CHUNK * corpus.length:
        corpus = SelfCorpus(-(-tokens // ROWS_PER_CHUNK))  # shorter rows: a whole chunk takes too long to sample
    return Budget(corpus, tokens, wanted, each * tokens, until)


def seconds_a_token(session: "Session", corpus: Corpus, layers: Sequence[int], statistic: Statistic = KEYS) -> float:
    """Seconds a token of sampling, if the corpus is the model itself, and of reading through `layers`."""
    token = session.start_token if isinstance(corpus, SelfCorpus) else 0
    row = [token] * min(READ, session.max_length)
    reading = _timed(lambda: statistic.accumulator(session, layers).add([row])) / len(row)
    if not isinstance(corpus, SelfCorpus):
        return reading
    starts = [[token]] * ROWS_PER_CHUNK
    drawing = _timed(lambda: sample(session.model, starts, STEPS, None, torch.Generator().manual_seed(0)))
    return reading + drawing / (STEPS * ROWS_PER_CHUNK)


def _timed(work: Callable[[], object]) -> float:
    """Seconds of the second run; the first one warms up."""
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
