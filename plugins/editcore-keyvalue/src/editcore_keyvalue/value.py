"""The shared value optimisation: find v at the subject's last token so that the model answers with the target.

Meng et al. 2022 (ROME), section 3.1 and equation 4, with the constants of its published code. Edits do not see each
other: they share forwards, and their losses are summed, so that every gradient is that of a run alone.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final, Literal

import torch
from attrs import define, field, frozen
from torch import Tensor

from editcore.authoring.models import Place, Resumed, Tap, Trace, resume
from editcore_hooks import Anatomy, EditcoreError, Site
from editcore_keyvalue.kernels import quick_kernels
from editcore_keyvalue.rows import EditRows, Layout, Part, lay_out

STOP_LOSS: Final = 0.05
GROWTH: Final = 1.05
"""Growth of the step size from one step to the next under `pace`: small values are found by small steps, and large
ones in few."""
TOKENS_PER_BATCH: Final = 4096
"""Enough to fill the matrix products of a small model on a processor; an edit alone has a few hundred."""

SETTLED_KL: Final = 0.01
SETTLED_NLL: Final = 0.1
"""Share of the NLL's weight once the target is the argmax everywhere, under the stop `settled`."""

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
    with 1 after each forward, and with what is left when all edits stopped before `settings.steps`. Of several sites,
    which all stand in one block, each has its own δ, decay and bound.
    """
    sites = (site,) if isinstance(site, Site) else tuple(site)
    layer, *others = {each.layer for each in sites}
    assert layer is not None
    assert not others
    layout = lay_out(edits, anatomy.model.device)
    # what a block puts out is the same at every step: only those above it are run again
    above = layer + 1 if all(each.role == "block" for each in sites) else layer
    taps: dict[Place, Tap] = {each: Tap(input=True, output=True) for each in sites}
    first, *rest = layout.parts
    with Trace(anatomy, taps) as once:
        begun = resume(anatomy, first.batch, above, first.start, through=layer)
    resumed = [begun, *(resume(anatomy, part.batch, above, part.start, through=layer) for part in rest)]
    edited = first.start - first.batch.ids.shape[1]  # the column of s, from the end
    k = once.input(sites[-1])[:, edited].float()  # (N, f)
    v = torch.stack([once.output(each)[:, edited].float() for each in sites], 1)  # (N, S, d)
    v0 = v[layout.clean]  # (E, S, d)
    values = [
        Value(k[first.edit == e][: len(edit.contexts)], v0[e], torch.zeros_like(v0[e])) for e, edit in enumerate(edits)
    ]
    fit = _Fit(list(edits), values, sites, settings, layout, resumed, v0)
    for step in range(settings.steps):
        done = fit.forward(step, last=step == settings.steps - 1)
        advance(1)
        for value, delta in zip(fit.values, fit.delta, strict=True):
            if step + 1 in snapshots:
                value.at[step + 1] = delta.clone()
        fit.leave(done)
        if not fit.values:
            advance(settings.steps - step - 1)
            break
        fit.update(step)
    for value in values:
        value.at |= {step: value.delta for step in snapshots if step > value.steps}
        if isinstance(site, Site):
            value.v0, value.delta = value.v0[0], value.delta[0]  # (d,)
            value.at = {step: delta[0] for step, delta in value.at.items()}
    return values


@define(eq=False)
class _Fit:
    """The edits that still run, E of them, one row of every tensor each."""

    edits: list[EditRows]
    values: list[Value]
    sites: tuple[Site, ...]
    settings: ValueSettings
    layout: Layout
    resumed: list[Resumed]
    """One value for each part of the layout."""
    v0: Tensor  # (E, S, d)
    delta: Tensor = field(init=False)  # (E, S, d), as are Adam's moments and the gradient
    m: Tensor = field(init=False)
    v: Tensor = field(init=False)
    gradient: Tensor = field(init=False)
    nll: Tensor = field(init=False)  # (E,): weight of the NLL
    initial: Tensor | None = None  # (E, V): log p at the KL rows

    def __attrs_post_init__(self) -> None:
        self.delta, self.m, self.v, self.gradient = (torch.zeros_like(self.v0) for _ in range(4))
        self.nll = torch.full_like(self.v0[:, 0, 0], self.settings.nll)

    def forward(self, step: int, last: bool) -> list[bool]:
        """Evaluate δ and leave its gradient; which edits are done, (E,)."""
        s, layout, n = self.settings, self.layout, len(self.layout.labels)
        delta = self.delta.requires_grad_(True)
        with torch.enable_grad():
            logits = torch.cat([self._logits(part, resumed, delta) for part, resumed in self._parts()])  # (n + E, V)
            logprobs = logits.float().log_softmax(-1)
            now = logprobs[layout.kl]  # (E, V)
            if self.initial is None:
                self.initial = now.detach().clone()
            kl = (now.exp() * (now - self.initial)).sum(1)  # (E,)
            decay = (_norms(delta) / self.v0.square().sum(-1)).sum(1)  # (E,)
            loss = self.nll * layout.nll(logprobs[:n]) + s.kl * kl + s.weight_decay * decay  # (E,)
        losses = loss.detach().tolist()
        if not torch.isfinite(loss).all():
            raise EditcoreError(
                f"the value optimisation diverged at step {step}", hint="lower the step size: --set v_lr=0.1"
            )
        for value, one in zip(self.values, losses, strict=True):
            value.losses.append(one)
        match s.stop:
            case "loss":
                done = [one < STOP_LOSS for one in losses]
            case "target":
                done = (layout.nll(logprobs.detach()[:n]) < STOP_LOSS).tolist()
            case "argmax":
                done = layout.all_right(logits.detach()[:n]).tolist()
            case "settled":
                right = layout.all_right(logits.detach()[:n])  # (E,)
                near = s.kl * kl.detach() <= SETTLED_KL
                done = ((loss.detach() < STOP_LOSS) | (right & near)).tolist()
                self.nll = torch.where(right, s.nll * SETTLED_NLL, s.nll)
            case "never":
                done = [False] * len(losses)
        if not last and not all(done):
            (self.gradient,) = torch.autograd.grad(loss.sum(), delta)
        self.delta = delta.detach()
        return [last or one for one in done]

    def _parts(self) -> list[tuple[Part, Resumed]]:
        """The parts that still have rows."""
        return [each for each in zip(self.layout.parts, self.resumed, strict=True) if len(each[0].edit)]

    def _logits(self, part: Part, resumed: Resumed, delta: Tensor) -> Tensor:
        rows = delta[part.edit]  # (N, S, d)
        before = part.start - resumed.start  # columns of the tail before s: none where the model keeps a prefix
        taps: dict[Place, Tap] = {site: Tap(edit=_adding(rows[:, i], before)) for i, site in enumerate(self.sites)}
        with Trace(resumed.anatomy, taps), quick_kernels(resumed.anatomy):
            logits = resumed.forward((part.at[0], part.at[1] + before))
        return logits

    def leave(self, done: Sequence[bool]) -> None:
        """Take the edits that are done out, with their δ."""
        for value, delta, ready in zip(self.values, self.delta, done, strict=True):
            if ready:
                value.delta = delta.clone()
        if not any(done):
            return
        left = [e for e, ready in enumerate(done) if not ready]
        self.edits, self.values = [self.edits[e] for e in left], [self.values[e] for e in left]
        if not left:
            return
        keep = torch.tensor(left, device=self.delta.device)
        for name in ("v0", "delta", "m", "v", "gradient", "nll", "initial"):
            setattr(self, name, getattr(self, name)[keep])
        self.layout, rows = self.layout.keeping(keep)
        self.resumed = [resumed.rows(stay) for resumed, stay in zip(self.resumed, rows, strict=True)]

    def update(self, step: int) -> None:
        """One step of Adam (moments .9 and .999, ε 1e-8), then the projection onto the ball of clamp · ‖v₀‖."""
        g, t = self.gradient, step + 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g * g
        m, v = self.m / (1 - 0.9**t), self.v / (1 - 0.999**t)
        norm = self.v0.norm(dim=-1)  # (E, S)
        delta = self.delta - self._step_size(norm, step)[..., None] * m / (v.sqrt() + 1e-8)
        limit = self.settings.clamp * norm
        self.delta = delta * (limit / delta.norm(dim=-1)).clamp(max=1)[..., None]

    def _step_size(self, norm: Tensor, step: int) -> Tensor:
        """Adam's, for values of `norm` (E, S)."""
        s = self.settings
        if s.lr is not None:
            return torch.full_like(norm, s.lr)
        sizes: Tensor = s.pace * GROWTH**step * norm / self.v0.shape[-1] ** 0.5
        return sizes


def _adding(delta: Tensor, column: int) -> Callable[[Tensor], Tensor]:
    """Add δ (N, d) to one column of an output (N, T, d)."""

    def add(output: Tensor) -> Tensor:
        before, at, after = torch.split(output, [column, 1, output.shape[1] - column - 1], dim=1)
        return torch.cat([before, at + delta[:, None].to(output.dtype), after], dim=1)

    return add


def _norms(delta: Tensor) -> Tensor:
    """‖δ‖ of each edit and site, (E, S), with gradient 0 at δ = 0, where the plain norm's is undefined."""
    square = delta.square().sum(-1)
    return torch.where(square > 0, square, torch.ones_like(square)).sqrt() * (square > 0)
