"""What a patch notes of its training: contexts, samples, curves, and token distributions side by side."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen
from torch import Tensor

from editcore_ice.examples import IceExample

if TYPE_CHECKING:
    from editcore_hooks import Session
    from editcore_ice.objective import Ice

SHOWN: Final = 10


@frozen
class Distributions:
    """The likeliest tokens with a context, and their probabilities with and without it."""

    tokens: tuple[int, ...]
    with_context: tuple[float, ...]
    without: tuple[float, ...]


def likeliest(teacher: Tensor, student: Tensor) -> Distributions | None:
    """Of log-probabilities (r, V) in the mean over rows; None without rows."""
    if not len(teacher):
        return None
    given, own = teacher.exp().mean(0), student.exp().mean(0)  # (V,)
    values, ids = given.topk(min(SHOWN, len(given)))
    return Distributions(tuple(ids.tolist()), tuple(values.tolist()), tuple(own[ids].tolist()))


def notes_of(session: "Session", examples: Sequence[IceExample], ice: "Ice") -> dict[str, Any]:
    """By request, in the order of the requests; `curves` are means over them, a value a step."""
    ordered = sorted(examples, key=lambda example: example.index)
    curves = [ice.curve[example.index] for example in ordered]
    steps = min(map(len, curves))
    return {
        "contexts": [list(example.contexts) for example in ordered],
        "samples": [ice.teacher.drawn.get(example.index, []) for example in ordered],
        "curves": {
            name: [fmean(curve[step][part] for curve in curves) for step in range(steps)]
            for part, name in enumerate(("target", "ice"))
        },
        "distributions": [[_shown(session, seen) for seen in ice.seen.get(example.index, [])] for example in ordered],
    }


def _shown(session: "Session", seen: Distributions) -> dict[str, Any]:
    tokens = [str(session.tokenizer.decode([token])) for token in seen.tokens]
    return {"tokens": tokens, "with": list(seen.with_context), "without": list(seen.without)}
