"""Causal tracing: corrupt the subject, restore one hidden state, and see how much of the answer comes back.

Meng et al. 2022, arXiv:2202.05262, section 2 and appendix B. One forward runs the clean prompt and all corrupted ones
and is kept; each restoration is a forward from the restored block on, and from the subject on, for all tokens at once.
Tokens before the subject are the same in all runs: restoring them changes nothing, and is not computed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Place, Recorded, Tap, Trace, pad, record
from editcore_causal_trace.facts import Fact
from editcore_causal_trace.hparams import TraceHparams
from editcore_hooks import Site

if TYPE_CHECKING:
    from editcore_hooks import Anatomy, Session
    from editcore_hooks.values import Role

Kind = Literal["state", "mlp", "attn", "state-no-mlp", "state-no-attn"]
KINDS: Final[tuple[Kind, ...]] = ("state", "mlp", "attn")
SEVERED: Final[tuple[Kind, ...]] = ("state-no-mlp", "state-no-attn")
"""The state restored while the MLP, or attention, outputs above it at its token are held at their corrupted values."""
TOKENS_PER_BATCH: Final = 8192

EMBED: Final = Site("embed")
_ROLES: Final[Mapping[str, "Role"]] = {"mlp": "mlp_out", "attn": "attn_out"}


@frozen(eq=False)
class Traced:
    """Probabilities of the answer: `high` clean, `low` corrupted, `restored` (T, L) of each kind, all as means over
    the corrupted runs."""

    fact: Fact
    high: float
    low: float
    restored: Mapping[Kind, Tensor]

    def effects(self, kind: Kind) -> Tensor:
        """The indirect effect of restoring each token at each block, (T, L)."""
        return self.restored[kind] - self.low


@torch.no_grad()
def noise_level(session: "Session", facts: Sequence[Fact], multiple: float) -> float:
    """ν: `multiple` standard deviations of the embeddings of all subject tokens, over all their entries."""
    subjects = torch.tensor([fact.ids[i] for fact in facts for i in fact.subject], device=session.device)
    embeddings: Tensor = session.anatomy.module(EMBED)(subjects[None])  # (1, n, d)
    return multiple * float(embeddings.float().std())


@torch.no_grad()
def trace_fact(
    session: "Session",
    fact: Fact,
    noise: float,
    hparams: TraceHparams,
    kinds: Sequence[Kind] = KINDS,
    tokens: Sequence[int] | None = None,
) -> Traced:
    """Restore every token from the subject on, or those of `tokens`, at every block.

    `noise` is ν. The same seeded noise corrupts every fact and every restoration. What is not restored has the value
    of the corrupted run.
    """
    runs = _Runs.of(session, fact, noise, hparams.samples)
    wanted = sorted(set(range(runs.start, len(fact.ids)) if tokens is None else tokens) - set(range(runs.start)))
    n_layers, low = session.anatomy.n_layers, float(runs.plain[1:].mean())
    window = hparams.window_in(n_layers)
    restored: dict[Kind, Tensor] = {}
    for kind in kinds:
        restored[kind] = torch.full((len(fact.ids), n_layers), low)
        for layer in range(n_layers) if wanted else ():
            restored[kind][wanted, layer] = runs.restore(kind, layer, window, wanted)
    return Traced(fact, float(runs.plain[0]), low, restored)


def window_of(layer: int, size: int, n_layers: int) -> range:
    """The blocks restored together around `layer`: `size` of them, [l − ⌊w/2⌋, l + ⌈w/2⌉) cut to the model's."""
    return range(max(0, layer - size // 2), min(n_layers, layer + (size + 1) // 2))


@frozen(eq=False)
class _Runs:
    """The clean prompt in row 0 and its S corrupted copies, run once. `outputs` (1 + S, T − start, d) are of the
    embedding and of every block and part, from the subject's first token, column `start`, on; `plain` (1 + S,) is
    p(answer)."""

    anatomy: "Anatomy"
    fact: Fact
    start: int
    recorded: Recorded
    outputs: Mapping[Site, Tensor]
    plain: Tensor

    @classmethod
    def of(cls, session: "Session", fact: Fact, noise: float, samples: int) -> "_Runs":
        anatomy, start = session.anatomy, fact.subject[0]
        generator = torch.Generator().manual_seed(session.seed)

        def corrupt(output: Tensor) -> Tensor:  # (1 + S, T, d)
            epsilon = torch.randn(samples, len(fact.subject), output.shape[-1], generator=generator)
            output = output.clone()
            output[1:, list(fact.subject)] += (noise * epsilon).to(output)
            return output

        roles: tuple[Role, ...] = ("block", *_ROLES.values())
        sites = [Site(role, layer) for role in roles for layer in range(anatomy.n_layers)]
        taps: dict[Place, Tap] = {EMBED: Tap(output=True, edit=corrupt), **{site: Tap(output=True) for site in sites}}
        batch = pad([fact.ids] * (1 + samples)).to(session.device)
        with Trace(anatomy, taps) as trace:
            recorded = record(anatomy, batch)
        outputs = {site: trace.output(site)[:, start:] for site in (EMBED, *sites)}
        rows = torch.arange(1 + samples, device=session.device)
        last = recorded.at(anatomy.n_layers, len(fact.ids) - 1)
        plain = _probability(last.forward((rows, torch.zeros_like(rows))), fact.answer)
        return cls(anatomy, fact, start, recorded, outputs, plain)

    def restore(self, kind: Kind, layer: int, window: int, tokens: Sequence[int]) -> Tensor:
        """p(answer) with the clean output of a block, or of a part of its neighbours, put back at each token, (n,)."""
        n_layers = self.anatomy.n_layers
        if kind in _ROLES:
            near = window_of(layer, window, n_layers)
            clean, begin = [Site(_ROLES[kind], i) for i in near], near.start
        else:
            clean, begin = [Site("block", layer)], layer + 1
        severed = kind.removeprefix("state-no-") if kind in SEVERED else None
        frozen_ = [Site(_ROLES[severed], i) for i in range(layer + 1, n_layers)] if severed else []
        resumed = self.recorded.at(begin, self.start)
        samples = len(self.plain) - 1
        columns = len(self.fact.ids) - self.start
        together = max(1, TOKENS_PER_BATCH // (samples * columns))
        found = []
        for some in (tokens[i : i + together] for i in range(0, len(tokens), together)):
            column = (torch.tensor(some) - self.start).repeat_interleave(samples).to(self.plain.device)  # (n · S,)
            sample = torch.arange(1, 1 + samples).repeat(len(some)).to(self.plain.device)  # (n · S,)
            row = torch.arange(len(column), device=self.plain.device)
            taps: dict[Place, Tap] = {
                site: Tap(edit=_put(self.outputs[site][torch.zeros_like(sample), column], column)) for site in clean
            }
            taps |= {site: Tap(edit=_put(self.outputs[site][sample, column], column)) for site in frozen_}
            if begin == 0:  # nothing is skipped, so the tokens are embedded again: as they were corrupted
                taps[EMBED] = Tap(edit=_always(self.outputs[EMBED][sample]))
            with Trace(self.anatomy, taps):
                logits = resumed.rows(sample).forward((row, torch.full_like(row, columns - 1)))  # (n · S, V)
            found.append(_probability(logits, self.fact.answer).view(-1, samples).mean(1))
        return torch.cat(found).cpu()


def _put(values: Tensor, column: Tensor) -> Callable[[Tensor], Tensor]:
    """Write `values` (N, d) into one column (N,) of each row of an output (N, T, d)."""

    def edit(output: Tensor) -> Tensor:
        output = output.clone()
        output[torch.arange(len(column), device=column.device), column] = values
        return output

    return edit


def _always(values: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda output: values


def _probability(logits: Tensor, token: int) -> Tensor:
    return logits.float().softmax(-1)[:, token]
