"""One pass over a corpus for all layers asked for: resumable, within its budget of tokens and time, and then kept."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from editcore.authoring.assets import Identity
from editcore_hooks import Asset, Partial, UsageError
from editcore_keyvalue.budget import Budget, budget
from editcore_keyvalue.corpus import Corpus, SelfCorpus, take
from editcore_keyvalue.moments import Accumulator
from editcore_keyvalue.statistic import KEYS, Statistic

if TYPE_CHECKING:
    from editcore_hooks import Session

OWNER: Final = "editcore-keyvalue"
SAVE_SECONDS: Final = 20.0


def identity(session: "Session", layer: int, corpus: Corpus, statistic: Statistic = KEYS, **more: Any) -> Identity:
    """The identity of a second moment: with `count` tokens of it, a corpus has one for each layer."""
    parameters = {
        "layer": layer,
        "tokenizer_sha256": session.tokenizer_sha256,
        "corpus": corpus.identity,
        "seed": session.seed if corpus.seeded else 0,
        **more,
    }
    return Identity(statistic.kind, OWNER, session.weights_root, parameters)


def collect_layers(
    session: "Session", layers: Sequence[int], corpus: Corpus, tokens: int, limit: float, statistic: Statistic = KEYS
) -> Mapping[int, Asset]:
    """The second moments of `layers` over `tokens` tokens, or over what `limit` seconds allow, computed and kept.

    A pass that was interrupted has `wanted` in the annotation of its assets, one that read a text to its end `whole`.
    Raises `UsageError` when the corpus holds no text.
    """
    there = corpus.count(session, tokens)
    if there == 0:
        raise UsageError(
            f"the corpus has no text: there is not one token {corpus.words}",
            hint="give another: --set mom2_corpus=FILE",
        )
    planned = budget(session, corpus, layers, min(tokens, there), limit, statistic)
    named = ", ".join(map(str, layers))
    every = "all " if planned.tokens == there < tokens else ""
    session.say(
        f"no second moments of the {statistic.of} of layer {named} yet: reading {every}{planned.tokens:,} "
        f"tokens {corpus.words}, about {planned.seconds:.0f} s; kept for the next edit"
    )
    work = identity(session, layers[0], planned.corpus, statistic, layers=list(layers), tokens=planned.tokens)
    with session.assets.lock(work), session.at_base():
        read, accumulator = _accumulate(
            session, statistic.accumulator(session, layers), planned, session.assets.partial(work)
        )
        about: dict[str, Any] = {}
        if accumulator.count < planned.wanted:
            about["wanted"] = planned.wanted
        elif there < tokens:
            about["whole"] = True
        assets = {}
        for layer, moment in accumulator.moments().items():
            kept = identity(session, layer, read, statistic, count=moment.count)
            over = {"positions": moment.positions} if moment.positions else {}
            assets[layer] = session.assets.put(kept, {"mean": moment.mean}, {**about, **over})
        session.assets.partial(work).remove()
    return assets


def _accumulate(
    session: "Session", accumulator: Accumulator, planned: Budget, partial: Partial
) -> tuple[Corpus, Accumulator]:
    """Take in the tokens of the budget, or as many as its time allows, resuming where an earlier pass was stopped.

    With them the corpus that they are of: rows whose sampling was interrupted are those of a corpus of such rows.
    """
    corpus, chunks = planned.corpus, 0
    if saved := partial.load():
        sums, done = saved
        chunks = done["chunks"]
        accumulator.restore(sums, done["count"])
        session.say(f"resuming after {accumulator.count:,} tokens of an earlier pass")
    saved_at = time.monotonic()
    with session.progress("second moments", planned.tokens) as progress:
        progress.advance(accumulator.count)
        rest = corpus.chunks(session, chunks, planned.proceed)
        for chunk in take(rest, planned.tokens - accumulator.count):
            progress.advance(accumulator.add(chunk))
            chunks += 1
            now = time.monotonic()
            if now > planned.until:
                break
            if now - saved_at > SAVE_SECONDS:
                partial.save(accumulator.state(), {"chunks": chunks, "count": accumulator.count})
                saved_at = now
    if accumulator.count < planned.tokens and isinstance(corpus, SelfCorpus):
        corpus = corpus.holding(session, accumulator.count)
    return corpus, accumulator
