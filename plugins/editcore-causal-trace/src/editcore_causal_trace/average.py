"""Average indirect effects over many facts, by the part that a token plays. Meng et al. 2022, section 2.2, figure 2."""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from editcore_causal_trace.facts import Fact
from editcore_causal_trace.trace import Kind, Traced

LAST_SUBJECT: Final = "last subject token"
GROUPS: Final = (
    "first subject token",
    "middle subject tokens",
    LAST_SUBJECT,
    "first token after",
    "further tokens",
    "last token",
)


@frozen(eq=False)
class Averaged:
    """Means over facts: `high` and `low` as in `Traced`, `effects` (G, L) of each kind, `error` (G, L) the half width
    of its 95 % interval. `groups` names the G rows, those that occur, and `counts` (G,) in how many facts they do."""

    n: int
    high: float
    low: float
    groups: tuple[str, ...]
    counts: tuple[int, ...]
    effects: Mapping[Kind, Tensor]
    error: Mapping[Kind, Tensor]


def roles_of_tokens(fact: Fact) -> dict[str, list[int]]:
    """Token indices by group. A token is in one group, none before the subject; a subject of one token is its last."""
    subject, end = fact.subject, len(fact.ids) - 1
    found: dict[str, list[int]] = {group: [] for group in GROUPS}
    for i in range(subject[0], end + 1):
        if i == subject[-1]:
            group = LAST_SUBJECT
        elif i in subject:
            group = GROUPS[0] if i == subject[0] else GROUPS[1]
        elif i == end:
            group = GROUPS[5]
        else:
            group = GROUPS[3] if i == subject[-1] + 1 else GROUPS[4]
        found[group].append(i)
    return found


def average(traced: Sequence[Traced]) -> Averaged:
    """The mean over facts of the mean over a group's tokens; a fact without such a token does not count there."""
    roles = [roles_of_tokens(one.fact) for one in traced]
    groups = tuple(group for group in GROUPS if any(role[group] for role in roles))
    effects: dict[Kind, Tensor] = {}
    error: dict[Kind, Tensor] = {}
    for kind in traced[0].restored:
        means, errors = [], []
        for group in groups:
            each = torch.stack(
                [one.effects(kind)[role[group]].mean(0) for one, role in zip(traced, roles, strict=True) if role[group]]
            )  # (facts, L)
            means.append(each.mean(0))
            errors.append(1.96 * each.std(0, correction=0) / len(each) ** 0.5)
        effects[kind], error[kind] = torch.stack(means), torch.stack(errors)
    n = len(traced)
    counts = tuple(sum(bool(role[group]) for role in roles) for group in groups)
    high, low = sum(one.high for one in traced) / n, sum(one.low for one in traced) / n
    return Averaged(n, high, low, groups, counts, effects, error)
