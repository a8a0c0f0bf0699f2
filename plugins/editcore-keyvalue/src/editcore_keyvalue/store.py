"""Second moments as assets: found, or collected once for all layers asked for, resumable, within a time budget."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from editcore.assets.identity import Identity
from editcore.assets.store import Partial
from editcore_hooks import Asset, UsageError
from editcore_keyvalue.corpus import Corpus, open_corpus, take
from editcore_keyvalue.hparams import KeyValueHparams, tokens_by_width
from editcore_keyvalue.moments import Accumulator, Moment

if TYPE_CHECKING:
    from editcore import Session

KIND: Final = "second_moment"
OWNER: Final = "editcore-keyvalue"
SAVE_SECONDS: Final = 20.0


@frozen
class Wish:
    """What to collect: `tokens` 0 means ten for each of the f directions; `seconds` bounds the time."""

    corpus: str = "self"
    tokens: int = 0
    seconds: float = 180.0

    @classmethod
    def of(cls, hparams: KeyValueHparams) -> "Wish":
        return cls(hparams.mom2_corpus, hparams.mom2_tokens, hparams.mom2_seconds)


def second_moments(session: "Session", layers: Sequence[int], wish: Wish) -> Mapping[int, tuple[Moment, Asset]]:
    """The moments of `layers`, from the store or collected now and kept.

    Of several kept for one layer and corpus the one over most tokens is taken. Says on `session.say` what it is about
    to do before it starts.
    """
    corpus = open_corpus(wish.corpus)
    found = {layer: asset for layer in layers if (asset := _largest(session, layer, corpus, wish.tokens))}
    missing = sorted(set(layers) - set(found))
    if missing:
        found |= _collect(session, missing, corpus, wish)
    moments = {layer: (_read(session, asset), asset) for layer, asset in found.items()}
    _say_few(session, {layer: moment for layer, (moment, _) in moments.items()})
    return moments


def _say_few(session: "Session", moments: Mapping[int, Moment]) -> None:
    """Say, once a session, when fewer tokens than directions were seen: of the others C says nothing."""
    few = [layer for layer, moment in moments.items() if moment.count < len(moment.mean)]
    if not few:
        return
    layers, one = ", ".join(map(str, sorted(few))), moments[few[0]]
    text = (
        f"the second moments of layer {layers} are over {one.count:,} tokens, fewer than the {len(one.mean):,} "
        "directions of the keys: an update is not held in those that no token showed. Collect more with "
        f"`editcore stats MODEL --layers {layers.replace(' ', '')} --tokens {tokens_by_width(len(one.mean))}`, or "
        "raise it: --set mom2_ridge=0.01"
    )
    session.cached(("few tokens", layers), lambda: session.say(text), base=True)


def collect(session: "Session", wanted: Iterable[tuple[KeyValueHparams, Iterable[int]]]) -> None:
    """The second moments of all layers that several settings name, in one pass a corpus."""
    wishes: dict[Wish, set[int]] = {}
    for hparams, layers in wanted:
        wishes.setdefault(Wish.of(hparams), set()).update(layers)
    for wish, named in wishes.items():
        if named:
            second_moments(session, sorted(named), wish)


def _identity(session: "Session", layer: int, corpus: Corpus, **more: Any) -> Identity:
    parameters = {
        "layer": layer,
        "tokenizer_sha256": session.tokenizer_sha256,
        "corpus": corpus.identity,
        "seed": session.seed if corpus.identity == "self" else 0,
        **more,
    }
    return Identity(KIND, OWNER, session.weights_root, parameters)


def _largest(session: "Session", layer: int, corpus: Corpus, tokens: int) -> Asset | None:
    """The whole asset over most tokens, at least `tokens`."""
    wanted = _identity(session, layer, corpus)
    counts = [
        asset.parameters["count"]
        for asset in session.assets.list()
        if (asset.kind, asset.owner, asset.base_root) == (wanted.kind, wanted.owner, wanted.base_root)
        and {key: value for key, value in asset.parameters.items() if key != "count"} == wanted.parameters
        and asset.parameters["count"] >= tokens
    ]
    found = (session.assets.find(_identity(session, layer, corpus, count=n)) for n in sorted(counts, reverse=True))
    return next((asset for asset in found if asset is not None), None)


def _read(session: "Session", asset: Asset) -> Moment:
    return Moment(session.assets.load(asset)["mean"], int(asset.parameters["count"]))


def _collect(session: "Session", layers: Sequence[int], corpus: Corpus, wish: Wish) -> dict[int, Asset]:
    tokens = wish.tokens or tokens_by_width(session.anatomy.mlp_width)
    source = "sampled from the model itself" if corpus.identity == "self" else f"of {wish.corpus}"
    named = ", ".join(map(str, layers))
    seconds = max(0.0, min(wish.seconds, session.seconds_left))
    session.say(
        f"no second moments of the keys of layer {named} yet: collecting {tokens:,} tokens {source}, "
        f"at most {seconds:.0f} s; kept for the next edit"
    )
    work = _identity(session, layers[0], corpus, layers=list(layers), tokens=tokens)
    with session.assets.lock(work), session.at_base():
        accumulator = _accumulate(session, layers, corpus, tokens, seconds, session.assets.partial(work))
        if accumulator.count == 0:
            raise UsageError(f"the corpus {wish.corpus} holds no text", hint="give another with --corpus")
        if accumulator.count < tokens:
            session.say(f"stopped at {accumulator.count:,} of {tokens:,} tokens: the time or the corpus was used up")
        assets = {
            layer: session.assets.put(_identity(session, layer, corpus, count=moment.count), {"mean": moment.mean})
            for layer, moment in accumulator.moments().items()
        }
        session.assets.partial(work).remove()
    return assets


def _accumulate(
    session: "Session", layers: Sequence[int], corpus: Corpus, tokens: int, seconds: float, partial: Partial
) -> Accumulator:
    """Take in `tokens` tokens, or as many as `seconds` allow, going on where an earlier pass was stopped."""
    accumulator = Accumulator(session, layers)
    chunks = 0
    if saved := partial.load():
        sums, done = saved
        chunks = done["chunks"]
        accumulator.restore(sums, done["count"])
        session.say(f"going on after {accumulator.count:,} tokens of an earlier pass")
    started = saved_at = time.monotonic()
    with session.progress("second moments", tokens) as progress:
        progress.advance(accumulator.count)
        for chunk in take(corpus.chunks(session, chunks), tokens - accumulator.count):
            progress.advance(accumulator.add(chunk))
            chunks += 1
            now = time.monotonic()
            if now - started > seconds:
                break
            if now - saved_at > SAVE_SECONDS:
                partial.save(accumulator.state(), {"chunks": chunks, "count": accumulator.count})
                saved_at = now
    return accumulator
