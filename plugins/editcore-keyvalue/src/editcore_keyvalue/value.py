"""The shared value optimisation: find v at the subject's last token so that the model answers with the target.

Meng et al. 2022 (ROME), section 3.1 and equation 4, with the constants of its published code. Edits do not see each
other: they share forwards, and their losses are summed, so that every gradient is that of a run alone.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final, Literal

from attrs import define, field, frozen
from torch import Tensor

from editcore_hooks import Anatomy, Site
from editcore_keyvalue.fit import Fit
from editcore_keyvalue.rows import EditRows

TOKENS_PER_BATCH: Final = 4096
"""Enough to fill the matrix products of a small model on a processor; an edit alone has a few hundred."""

Stop = Literal["loss", "target", "argmax", "settled", "never"]


@frozen
class ValueSettings:
    """`steps` forwards and at most one update less; `clamp` bounds ‖δ‖ by a multiple of ‖v₀‖. Adam's step size is `lr`,
    or without it `pace` · GROWTH^t · ‖v₀‖ / √d: the first step is as long as `pace` ‖v₀‖, whatever the model's scale.

    `stop`: below a loss of 0.05; or once the NLL alone is; or once the target is the argmax in every context; or never
    before `steps`.
    `settled` is PMET's: below that loss, or once the target is the argmax in every context and the weighted KL below
    0.01; while it is the argmax, a tenth of the NLL counts. `nll` is the weight of the NLL.
    """

    steps: int = 20
    lr: float | None = None
    pace: float = 0.05
    weight_decay: float = 0.5
    kl: float = 0.0625
    clamp: float = 4.0
    stop: Stop = "loss"
    nll: float = 1.0


@define(eq=False)
class Value:
    """Keys (R, f) of the contexts, v₀ (d,) of the clean prompt, δ (d,) and the loss of every forward.

    Keys are those of the last site; v₀ and δ are (S, d) where S sites were asked for as a list. δ is the one that the
    last forward evaluated. `at` holds it as it would be with fewer steps, where asked for.
    """

    keys: Tensor
    v0: Tensor
    delta: Tensor
    losses: list[float] = field(factory=list, repr=False)
    at: dict[int, Tensor] = field(factory=dict, repr=False)

    @property
    def steps(self) -> int:
        return len(self.losses)


def optimise_values(
    anatomy: Anatomy,
    edits: Sequence[EditRows],
    site: Site | Sequence[Site],
    settings: ValueSettings,
    advance: Callable[[int], None],
    snapshots: Collection[int] = (),
) -> list[Value]:
    """Minimise NLL + kl · KL + wd · ‖δ‖/‖v₀‖² over δ, added to the output of `site` at s, for each edit alone.

    KL(current || initial) is read at the subject's last token of the KL row. δ starts at zero. Adam's moments are not
    touched by the projection. What comes before the site, and tokens before s, are computed once. `advance` is called
    after forwards, with `settings.steps` in all. Of several sites, which all stand in one block, each has its own δ,
    decay and bound.
    """
    sites = (site,) if isinstance(site, Site) else tuple(site)
    left = settings.steps

    def step() -> None:
        nonlocal left
        if left:
            advance(1)
            left -= 1

    fit = Fit.begin(anatomy, edits, sites, settings)
    keys, v0 = fit.keys, fit.v0
    values = [
        Value(k, v, one.delta, one.losses, dict.fromkeys(snapshots, one.delta) | one.at)
        for k, v, one in zip(keys, v0, fit.run(step, snapshots), strict=True)
    ]
    advance(left)
    for value in values if isinstance(site, Site) else ():
        value.v0, value.delta = value.v0[0], value.delta[0]  # (d,)
        value.at = {n: delta[0] for n, delta in value.at.items()}
    return values


def in_batches(edits: Sequence[EditRows]) -> list[list[EditRows]]:
    """Edits in their order, as many together as fit into TOKENS_PER_BATCH padded tokens, and at least one."""
    batches: list[list[EditRows]] = []
    rows = width = 0
    for edit in edits:
        widest = max(len(row.ids) for row in edit.all)
        if not batches or (rows + len(edit.all)) * max(width, widest) > TOKENS_PER_BATCH:
            batches.append([])
            rows = width = 0
        batches[-1].append(edit)
        rows, width = rows + len(edit.all), max(width, widest)
    return batches
