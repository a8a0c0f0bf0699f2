"""Adam on the values of many edits at once, on the rows of their contexts; `optimise_values` in `value` calls it."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, Self

import torch
from attrs import define, field, frozen
from torch import Tensor

from editcore.authoring.models import Place, Resumed, Tap, Trace, resume
from editcore_hooks import Anatomy, EditcoreError, Site
from editcore_keyvalue.kernels import quick_kernels
from editcore_keyvalue.rows import EditRows, Layout, Part, lay_out

if TYPE_CHECKING:
    from editcore_keyvalue.value import ValueSettings

STOP_LOSS: Final = 0.05
GROWTH: Final = 1.05
"""Growth of the step size from one step to the next under `pace`: small values are found by small steps, and large
ones in few."""
SETTLED_KL: Final = 0.01
SETTLED_NLL: Final = 0.1
"""Share of the NLL's weight once the target is the argmax everywhere, under the stop `settled`."""


@frozen(eq=False)
class Fitted:
    """One edit at its end: δ (S, d), the losses of its forwards, and δ after fewer steps, where asked for."""

    delta: Tensor
    losses: list[float]
    at: dict[int, Tensor]


@define(eq=False)
class Fit:
    """The edits that still run, E of them at S sites: one row of every tensor each."""

    sites: tuple[Site, ...]
    settings: "ValueSettings"
    layout: Layout
    resumed: list[Resumed]
    """One value for each part of the layout."""
    keys: list[Tensor]  # (R, f) of every edit, also of those that ended
    v0: Tensor  # (E, S, d)
    delta: Tensor  # (E, S, d), as are Adam's moments and the gradient
    m: Tensor
    v: Tensor
    nll: Tensor  # (E,): weight of the NLL
    t: Tensor  # (E,): updates so far
    losses: list[list[float]]
    at: list[dict[int, Tensor]]
    numbers: list[int] = field(init=False)
    """The place of each among the edits of `begin`."""
    gradient: Tensor = field(init=False)
    initial: Tensor | None = None  # (E, V): log p at the KL rows

    def __attrs_post_init__(self) -> None:
        self.gradient = torch.zeros_like(self.v0)
        self.numbers = list(range(len(self.v0)))

    @classmethod
    def begin(
        cls,
        anatomy: Anatomy,
        edits: Sequence[EditRows],
        sites: tuple[Site, ...],
        settings: "ValueSettings",
    ) -> Self:
        """Run what comes before the sites, which stand in one block, and start from δ = 0."""
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
        keys = [k[first.edit == e][: len(edit.contexts)] for e, edit in enumerate(edits)]
        return cls(
            sites=sites,
            settings=settings,
            layout=layout,
            resumed=resumed,
            keys=keys,
            v0=v0,
            delta=torch.zeros_like(v0),
            m=torch.zeros_like(v0),
            v=torch.zeros_like(v0),
            nll=torch.full((len(edits),), settings.nll, device=v0.device),
            t=torch.zeros(len(edits), dtype=torch.long, device=v0.device),
            losses=[[] for _ in edits],
            at=[{} for _ in edits],
        )

    def run(self, step: Callable[[], None], snapshots: Collection[int] = ()) -> list[Fitted]:
        """Update each edit until it is done; its δ is the one that its last forward evaluated."""
        ended: dict[int, Fitted] = {}
        while self.numbers:
            done = self._forward()
            step()
            for at, delta, t in zip(self.at, self.delta, self.t.tolist(), strict=True):
                if t + 1 in snapshots:
                    at[t + 1] = delta.clone()
            ended |= {
                self.numbers[e]: Fitted(self.delta[e].clone(), self.losses[e], self.at[e])
                for e, ready in enumerate(done)
                if ready
            }
            self._leave(done)
            if self.numbers:
                self._update()
        return [ended[number] for number in sorted(ended)]

    def _forward(self) -> list[bool]:
        """Evaluate δ and leave its gradient; which edits are done, (E,)."""
        s, layout, n = self.settings, self.layout, len(self.layout.labels)
        last = (self.t == s.steps - 1).tolist()
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
        if not torch.isfinite(loss).all():
            worst = int(self.t[~torch.isfinite(loss)].min())
            raise EditcoreError(
                f"the value optimisation diverged at step {worst}", hint="lower the step size: --set v_lr=0.1"
            )
        for losses, one in zip(self.losses, loss.detach().tolist(), strict=True):
            losses.append(one)
        done = [ready or end for ready, end in zip(self._stops(loss, logits, logprobs, kl), last, strict=True)]
        if not all(done):
            (self.gradient,) = torch.autograd.grad(loss.sum(), delta)
        self.delta = delta.detach()
        return done

    def _stops(self, loss: Tensor, logits: Tensor, logprobs: Tensor, kl: Tensor) -> list[bool]:
        """Which edits meet the rule, (E,)."""
        s, layout, n = self.settings, self.layout, len(self.layout.labels)
        loss, logits, logprobs, kl = (each.detach() for each in (loss, logits, logprobs, kl))
        met: Tensor
        match s.stop:
            case "loss":
                met = loss < STOP_LOSS
            case "target":
                met = layout.nll(logprobs[:n]) < STOP_LOSS
            case "argmax":
                met = layout.all_right(logits[:n])
            case "settled":
                right = layout.all_right(logits[:n])  # (E,)
                self.nll = torch.where(right, s.nll * SETTLED_NLL, s.nll)
                met = (loss < STOP_LOSS) | (right & (s.kl * kl <= SETTLED_KL))
            case "never":
                met = torch.zeros_like(loss, dtype=torch.bool)
        return [bool(each) for each in met.tolist()]

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

    def _leave(self, done: Sequence[bool]) -> None:
        """Take the edits that are done out."""
        if not any(done):
            return
        left = [e for e, ready in enumerate(done) if not ready]
        self.numbers = [self.numbers[e] for e in left]
        self.losses, self.at = [self.losses[e] for e in left], [self.at[e] for e in left]
        if not left:
            return
        keep = torch.tensor(left, device=self.delta.device)
        for name in ("v0", "delta", "m", "v", "t", "gradient", "nll", "initial"):
            setattr(self, name, getattr(self, name)[keep])
        self.layout, rows = self.layout.keeping(keep)
        self.resumed = [resumed.rows(stay) for resumed, stay in zip(self.resumed, rows, strict=True)]

    def _update(self) -> None:
        """One step of Adam (moments .9 and .999, ε 1e-8), then the projection onto the ball of clamp · ‖v₀‖."""
        g = self.gradient
        self.t = self.t + 1
        t = self.t[:, None, None]
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g * g
        m, v = self.m / (1 - 0.9**t), self.v / (1 - 0.999**t)
        norm = self.v0.norm(dim=-1)  # (E, S)
        delta = self.delta - self._step_size(norm)[..., None] * m / (v.sqrt() + 1e-8)
        limit = self.settings.clamp * norm
        self.delta = delta * (limit / delta.norm(dim=-1)).clamp(max=1)[..., None]

    def _step_size(self, norm: Tensor) -> Tensor:
        """Adam's for update t, of values of `norm`, (E, S)."""
        s = self.settings
        if s.lr is not None:
            return torch.full_like(norm, s.lr)
        sizes: Tensor = s.pace * GROWTH ** (self.t[:, None] - 1) * norm / self.v0.shape[-1] ** 0.5
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
