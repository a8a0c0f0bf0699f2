"""Output of `locate`: one fact by its tokens, or many by the parts that tokens play; as a table and as JSON."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen
from torch import Tensor

from editcore.authoring.models import decode
from editcore_causal_trace.average import average
from editcore_causal_trace.lens import Lens
from editcore_causal_trace.trace import Kind, Traced

if TYPE_CHECKING:
    from editcore_hooks import Session

TITLES: Final[Mapping[Kind, str]] = {
    "state": "hidden state",
    "mlp": "MLP",
    "attn": "attention",
    "state-no-mlp": "state, MLP severed",
    "state-no-attn": "state, attention severed",
}
VISIBLE: Final = 0.0005
"""Smallest number that a table of three decimals can show."""
Table = tuple[list[str], list[list[Any]]]


@frozen(eq=False)
class Report:
    """Effects (rows, L) by kind; a row is a token, or a group of tokens. `error` is the half
    width of the 95 % interval of an average over `n` facts, and None for a single fact."""

    n: int
    answer: str | None
    high: float
    low: float
    noise: float
    window: int
    rows: tuple[str, ...]
    effects: Mapping[Kind, Tensor]
    error: Mapping[Kind, Tensor] | None
    counts: tuple[int, ...] | None

    @property
    def absolute(self) -> bool:
        """Whether pictures show probabilities, as for one fact, or effects, as for an average."""
        return self.n == 1

    def table(self) -> Table:
        """The largest effect of each row, and the block where it is."""
        header = ["token" if self.absolute else f"mean of {self.n} facts", *(TITLES[kind] for kind in self.effects)]
        rows = [[name, *(_peak(effects[i]) for effects in self.effects.values())] for i, name in enumerate(self.rows)]
        return header, rows

    def summary(self) -> str:
        said = f"{self.answer!r}: " if self.answer is not None else ""
        return (
            f"{said}p {self.high:.3f} clean, {self.low:.3f} with the subject corrupted; total effect "
            f"{self.high - self.low:.3f}. Effects are of one block, of MLP and attention {self.window} around it"
        )

    def as_json(self) -> dict[str, Any]:
        kinds = {
            kind: {"effects": _plain(effects), **({} if self.error is None else {"error": _plain(self.error[kind])})}
            for kind, effects in self.effects.items()
        }
        about: dict[str, Any] = {"answer": self.answer} if self.counts is None else {"counts": list(self.counts)}
        return {
            "n": self.n,
            "clean": self.high,
            "corrupted": self.low,
            "noise": self.noise,
            "window": self.window,
            "rows": list(self.rows),
            **about,
            "kinds": kinds,
        }


def report_of(session: "Session", traced: Sequence[Traced], noise: float, window: int) -> Report:
    """The report on one traced fact, or the averages over several."""
    if len(traced) > 1:
        mean = average(traced)
        return Report(
            mean.n, None, mean.high, mean.low, noise, window, mean.groups, mean.effects, mean.error, mean.counts
        )
    (one,) = traced
    rows = tuple(
        f"{token.strip() or repr(token)}{'*' if i in one.fact.subject else ''}"
        for i, token in enumerate(one.fact.tokens(session))
    )
    effects = {kind: one.effects(kind) for kind in one.restored}
    answer = decode(session.tokenizer, (one.fact.answer,))
    return Report(1, answer, one.high, one.low, noise, window, rows, effects, None, None)


def lens_table(session: "Session", lenses: Sequence[Lens]) -> Table:
    """Probability and rank of the answer by block; of one fact with the likeliest tokens."""
    header = ["block", "p(answer)", "rank", *(["likeliest tokens"] if len(lenses) == 1 else [])]
    rows: list[list[Any]] = []
    for layer in range(session.anatomy.n_layers):
        p = fmean(float(lens.probability[layer]) for lens in lenses)
        rank = fmean(int(lens.rank[layer]) for lens in lenses)
        top = ["  ".join(f"{word.strip()!r} {value:.2f}" for word, value in lenses[0].top[layer])]
        rows.append([layer, f"{p:.4f}", f"{rank:.0f}" if len(lenses) == 1 else f"{rank:.1f}", *top[: 2 - len(lenses)]])
    return header, rows


def lens_json(session: "Session", lenses: Sequence[Lens]) -> list[dict[str, Any]]:
    """One object a fact."""
    return [
        {
            "id": lens.fact.request.id,
            "answer": decode(session.tokenizer, (lens.fact.answer,)),
            "probability": lens.probability.tolist(),
            "rank": lens.rank.tolist(),
            "top": [[[word, value] for word, value in layer] for layer in lens.top],
        }
        for lens in lenses
    ]


def _peak(effects: Tensor) -> str:
    layer = int(effects.argmax())
    value = float(effects[layer])
    return f"{value:.3f} at {layer}" if value >= VISIBLE else "-"


def _plain(matrix: Tensor) -> list[list[float]]:
    return [[float(value) for value in row] for row in matrix]
