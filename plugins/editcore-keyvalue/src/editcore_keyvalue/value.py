"""The value optimisation that the family shares: which v at the subject's last token makes the model say the target.

Meng et al. 2022 (ROME), section 3.1 and equation 4, with the constants of its published code. Edits do not see each
other: they share forwards, and their losses are summed, so that every gradient is that of a run alone.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final, Literal

import torch
from attrs import define, field, frozen
from torch import Tensor

from editcore.models.anatomy import Anatomy
from editcore.models.resume import Resumed, resume
from editcore.models.tracing import Tap, Trace
from editcore_hooks import EditcoreError, Site
from editcore_keyvalue.rows import EditRows, Layout, lay_out

STOP_LOSS: Final = 0.05
TOKENS_PER_BATCH: Final = 4096
"""Enough to fill the matrix products of a small model on a processor; an edit alone has a few hundred."""

Stop = Literal["loss", "argmax", "never"]


@frozen
class ValueSettings:
    """`steps` forwards and at most one update less; `clamp` bounds ‖δ‖ by a multiple of ‖v₀‖.

    `stop`: below a loss of 0.05; or once the target is the argmax in every context; or never before `steps`.
    """

    steps: int = 20
    lr: float = 0.5
    weight_decay: float = 0.5
    kl: float = 0.0625
    clamp: float = 4.0
    stop: Stop = "loss"


@define(eq=False)
class Value:
    """Keys (R, f) of the contexts, v₀ (d,) of the clean prompt, δ (d,) and the loss of every forward.

    δ is the one that the last forward evaluated. `at` holds it as it would be with fewer steps, where asked for.
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
    site: Site,
    settings: ValueSettings,
    advance: Callable[[int], None],
    snapshots: Collection[int] = (),
) -> list[Value]:
    """Minimise NLL + kl · KL + wd · ‖δ‖/‖v₀‖² over δ, added to the output of `site` at s, for each edit alone.

    KL(current || initial) is read at the subject's last token of the KL row. δ starts at zero. Adam's moments are not
    touched by the projection. What comes before the site, and tokens before s, are computed once. `advance` is called with
    1 after each forward, and with what is left when all edits stopped before `settings.steps`.
    """
    assert site.layer is not None
    layout = lay_out(edits, anatomy.model.device)
    # what a block puts out is the same at every step: only those above it are run again
    above = site.layer + 1 if site.role == "block" else site.layer
    with Trace(anatomy, {site: Tap(input=True, output=True)}) as once:
        resumed = resume(anatomy, layout.batch, above, layout.start)
    k, v = once.input(site)[:, layout.start].float(), once.output(site)[:, layout.start].float()  # (N, f), (N, d)
    v0 = v[layout.clean]  # (E, d)
    values = [
        Value(k[layout.edit == e][: len(edit.contexts)], v0[e], torch.zeros_like(v0[e])) for e, edit in enumerate(edits)
    ]
    fit = _Fit(list(edits), values, site, settings, layout, resumed, v0)
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
    return values


@define(eq=False)
class _Fit:
    """The edits that still run, E of them, one row of every tensor each."""

    edits: list[EditRows]
    values: list[Value]
    site: Site
    settings: ValueSettings
    layout: Layout
    resumed: Resumed
    v0: Tensor  # (E, d)
    delta: Tensor = field(init=False)  # (E, d), as are Adam's moments and the gradient
    m: Tensor = field(init=False)
    v: Tensor = field(init=False)
    gradient: Tensor = field(init=False)
    initial: Tensor | None = None  # (E, V): log p at the KL rows

    def __attrs_post_init__(self) -> None:
        self.delta, self.m, self.v, self.gradient = (torch.zeros_like(self.v0) for _ in range(4))

    def forward(self, step: int, last: bool) -> list[bool]:
        """Evaluate δ and leave its gradient; which edits are done, (E,)."""
        s, layout, n = self.settings, self.layout, len(self.layout.labels)
        delta = self.delta.requires_grad_(True)
        add = Tap(edit=lambda output: _add_first(output, delta[layout.edit]))
        with torch.enable_grad(), Trace(self.resumed.anatomy, {self.site: add}):
            logits = self.resumed.forward(layout.at)  # (n + E, V)
            logprobs = logits.float().log_softmax(-1)
            now = logprobs[n:]  # (E, V)
            if self.initial is None:
                self.initial = now.detach().clone()
            kl = (now.exp() * (now - self.initial)).sum(1)  # (E,)
            decay = _norms(delta) / self.v0.square().sum(1)  # (E,)
            loss = layout.nll(logprobs[:n]) + s.kl * kl + s.weight_decay * decay  # (E,)
        losses = loss.detach().tolist()
        if not torch.isfinite(loss).all():
            raise EditcoreError(f"the value optimisation diverged at step {step}", hint="lower it: --set v_lr=0.1")
        for value, one in zip(self.values, losses, strict=True):
            value.losses.append(one)
        match s.stop:
            case "loss":
                done = [one < STOP_LOSS for one in losses]
            case "argmax":
                done = layout.all_right(logits.detach()[:n]).tolist()
            case "never":
                done = [False] * len(losses)
        if not last and not all(done):
            (self.gradient,) = torch.autograd.grad(loss.sum(), delta)
        self.delta = delta.detach()
        return [last or one for one in done]

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
        for name in ("v0", "delta", "m", "v", "gradient", "initial"):
            setattr(self, name, getattr(self, name)[keep])
        rows = torch.isin(self.layout.edit, keep).nonzero()[:, 0]
        self.layout, self.resumed = lay_out(self.edits, self.delta.device), self.resumed.rows(rows)

    def update(self, step: int) -> None:
        """One step of Adam (moments .9 and .999, ε 1e-8), then the projection onto the ball of clamp · ‖v₀‖."""
        g, t = self.gradient, step + 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g * g
        m, v = self.m / (1 - 0.9**t), self.v / (1 - 0.999**t)
        delta = self.delta - self.settings.lr * m / (v.sqrt() + 1e-8)
        limit = self.settings.clamp * self.v0.norm(dim=1)  # (E,)
        self.delta = delta * (limit / delta.norm(dim=1)).clamp(max=1)[:, None]


def _add_first(output: Tensor, delta: Tensor) -> Tensor:
    """δ (N, d) on the first column of `output` (N, T, d): the edited token begins the tail."""
    return torch.cat([output[:, :1] + delta[:, None].to(output.dtype), output[:, 1:]], dim=1)


def _norms(delta: Tensor) -> Tensor:
    """‖δ‖ of each row, (E,), with gradient 0 at δ = 0, where the plain norm's is undefined."""
    square = delta.square().sum(1)
    return torch.where(square > 0, square, torch.ones_like(square)).sqrt() * (square > 0)
