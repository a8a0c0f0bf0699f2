"""Second moments as assets: found, or collected once for all layers asked for, resumable, within a time budget."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from editcore_hooks import Asset, UsageError
from editcore_keyvalue.corpus import Corpus, open_corpus, take
from editcore_keyvalue.moments import Accumulator, Moment

KIND: Final = "second_moment"
OWNER: Final = "editcore-keyvalue"
TOKENS_PER_WIDTH: Final = 10
"""Tokens for each of the f directions of C when no number is asked for: enough for GPT- and Llama-type models
(arXiv:2506.04226 finds 2 to 10)."""
LEAST_TOKENS: Final = 20_000
SAVE_SECONDS: Final = 20.0


@frozen
class Wish:
    """What to collect: `tokens` 0 means ten for each of the f directions; `seconds` bounds the time."""

    corpus: str = "self"
    tokens: int = 0
    seconds: float = 180.0


def second_moments(session: Any, layers: Sequence[int], wish: Wish) -> Mapping[int, tuple[Moment, Asset]]:
    """The moments of `layers`, from the store or collected now and kept.

    Of several kept for one layer and corpus the one over most tokens is taken. Says on `session.say` what it is about
    to do before it starts.
    """
    corpus = open_corpus(wish.corpus)
    found = {layer: asset for layer in layers if (asset := _largest(session, layer, corpus, wish.tokens))}
    missing = sorted(set(layers) - set(found))
    if missing:
        found |= _collect(session, missing, corpus, wish)
    return {layer: (_read(session, asset), asset) for layer, asset in found.items()}


def _identity(session: Any, layer: int, corpus: Corpus) -> dict[str, Any]:
    return {
        "layer": layer,
        "tokenizer_sha256": session.tokenizer_sha256,
        "corpus": corpus.identity,
        "seed": session.seed if corpus.identity == "self" else 0,
    }


def _largest(session: Any, layer: int, corpus: Corpus, tokens: int) -> Asset | None:
    identity = _identity(session, layer, corpus)
    fitting = [
        asset
        for asset in session.assets.list()
        if asset.kind == KIND
        and asset.base_root == session.weights_root
        and {key: value for key, value in asset.parameters.items() if key != "count"} == identity
        and asset.parameters["count"] >= tokens
    ]
    return max(fitting, key=lambda asset: asset.parameters["count"], default=None)


def _read(session: Any, asset: Asset) -> Moment:
    return Moment(session.assets.tensors(asset)["mean"], int(asset.parameters["count"]))


def _collect(session: Any, layers: Sequence[int], corpus: Corpus, wish: Wish) -> dict[int, Asset]:
    f = session.anatomy.mlp_width
    tokens = wish.tokens or max(TOKENS_PER_WIDTH * f, LEAST_TOKENS)
    source = "sampled from the model itself" if corpus.identity == "self" else f"of {wish.corpus}"
    named = ", ".join(map(str, layers))
    session.say(
        f"no second moments of the keys of layer {named} yet: collecting {tokens:,} tokens {source}, "
        f"at most {wish.seconds:.0f} s; kept for the next edit"
    )
    work = {"layers": list(layers), "tokens": tokens, **_identity(session, layers[0], corpus)}
    accumulator = Accumulator(session, layers)
    chunks_done = 0
    with session.assets.work(KIND, OWNER, session.weights_root, work) as partial, session.at_base():
        if saved := partial.load():
            accumulator.restore(saved)
            chunks_done = int(saved["chunks"])
            session.say(f"going on after {accumulator.count:,} tokens of an earlier pass")
        started = last_save = time.monotonic()
        with session.progress("second moments", tokens) as progress:
            progress.advance(accumulator.count)
            for chunk in take(corpus.chunks(session, chunks_done), tokens - accumulator.count):
                before = accumulator.count
                accumulator.add(chunk)
                chunks_done += 1
                progress.advance(accumulator.count - before)
                now = time.monotonic()
                if now - started > wish.seconds:
                    break
                if now - last_save > SAVE_SECONDS:
                    partial.save(accumulator.state(), chunks=chunks_done)
                    last_save = now
        if accumulator.count == 0:
            raise UsageError(f"the corpus {wish.corpus} holds no text", hint="give another with --corpus")
        if accumulator.count < tokens:
            session.say(f"stopped at {accumulator.count:,} of {tokens:,} tokens: the time or the corpus was used up")
        assets = {}
        for layer, moment in accumulator.moments().items():
            parameters = {**_identity(session, layer, corpus), "count": moment.count}
            assets[layer] = session.assets.put(KIND, OWNER, session.weights_root, parameters, {"mean": moment.mean})
        partial.clear()
    return assets
