"""From traces to a place to edit."""

from collections.abc import Sequence
from statistics import median_low
from typing import TYPE_CHECKING, Final

from torch import Tensor

from editcore_causal_trace.average import LAST_SUBJECT, average
from editcore_causal_trace.facts import read_facts
from editcore_causal_trace.hparams import LensHparams, TraceHparams
from editcore_causal_trace.lens import first_block, look
from editcore_causal_trace.trace import noise_level, trace_fact
from editcore_hooks import EditRequest, Location, Site

if TYPE_CHECKING:
    from editcore_hooks import Session

NEARLY: Final = 0.95


def by_trace(session: "Session", requests: Sequence[EditRequest], hparams: TraceHparams) -> Location:
    """The first block whose MLPs, restored at the subject's last token, bring back nearly the most, on average."""
    facts = read_facts(session, requests[: hparams.facts])
    noise = noise_level(session, facts, hparams.noise)
    with session.progress("causal tracing", len(facts)) as progress:
        traced = []
        for fact in facts:
            traced.append(trace_fact(session, fact, noise, hparams, ("mlp",), [fact.subject[-1]]))
            progress.advance()
    found = average(traced)
    effects = found.effects["mlp"][found.groups.index(LAST_SUBJECT)]  # (L,)
    layer = first_high(effects)
    session.say(f"causal tracing: the MLPs around block {layer} bring back {float(effects[layer]):.3f} of the answer")
    return _ending_at(layer, hparams.layers)


def by_lens(session: "Session", requests: Sequence[EditRequest], hparams: LensHparams) -> Location:
    """The block, the median over facts, from which on the answer can be read off the last token."""
    facts = read_facts(session, requests[: hparams.facts])
    layer = median_low(first_block(look(session, fact), hparams.rank) for fact in facts)
    session.say(f"logit lens: the answer is among the {hparams.rank} likeliest tokens from block {layer} on")
    return _ending_at(layer, hparams.layers)


def first_high(effects: Tensor) -> int:
    """The first block whose effect (L,) reaches `NEARLY` of the largest.

    Windows overlap, so that the block which matters shows in those of its neighbours: {0} and {0, 1} tie where it is 0.
    """
    largest = effects.max()
    return int((effects >= (NEARLY * largest if largest > 0 else largest)).nonzero()[0, 0])


def _ending_at(layer: int, n: int) -> Location:
    return Location(tuple(Site("mlp_out", i) for i in range(max(0, layer - n + 1), layer + 1)))
