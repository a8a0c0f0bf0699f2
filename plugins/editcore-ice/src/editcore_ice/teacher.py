"""The teacher: it reads context and question, draws samples, and gives the distributions that it drew them from.

The logits of a drawing are those of the teacher at these tokens, so a step has one pass with context, and no second
model: a dynamic target is read with the copies that are trained, a static one with the weights that the model has.
"""

from collections.abc import Callable, Sequence

import torch
from attrs import define, frozen
from torch import Tensor

from editcore.authoring.models import Written, rollout
from editcore_ft.loop import diverged
from editcore_ft.weights import Trainable
from editcore_hooks import Anatomy, Site
from editcore_ice.examples import IceExample
from editcore_ice.hparams import IceHparams

KEPT_TOKENS = 32_768
"""Tokens whose keys and values below the sites are kept from one pass to the next."""


@frozen(eq=False)
class Lesson:
    """R samples of k tokens (R, k), the teacher's logits before each, (R, k, V) float32, and whether a place counts."""

    tokens: Tensor
    logits: Tensor
    counts: Tensor


@define(eq=False)
class _Pupil:
    """What is kept of an example: its generator, how often it was taught, its samples, and a static target's logits."""

    generator: torch.Generator
    calls: int = 0
    tokens: Tensor | None = None
    logits: Tensor | None = None


class Teacher:
    def __init__(self, anatomy: Anatomy, weights: Trainable, sites: Sequence[Site], hparams: IceHparams) -> None:
        self._anatomy, self._weights, self._sites, self._hparams = anatomy, weights, list(sites), hparams
        self._pupils: dict[int, _Pupil] = {}
        self._begun: dict[tuple[int, ...], Callable[[], Written]] = {}
        self._kept = 0
        self.drawn: dict[int, list[list[list[int]]]] = {}
        """By index of a request every drawing: the ids of each sample."""

    def lesson(self, batch: Sequence[IceExample]) -> Lesson:
        """The samples of a batch, those of an example together; drawn again every `update_interval` calls."""
        h = self._hparams
        pupils = [self._pupil(example) for example in batch]
        fresh = pupils[0].calls % h.update_interval == 0
        dynamic = h.target == "dynamic"
        if fresh or dynamic:
            work = lambda: self._draw(batch, pupils) if fresh else self._read(batch, pupils)  # noqa: E731
            owners = [example.index for example in batch for _ in example.teachers]
            tokens, logits = self._weights.run(work, owners) if dynamic else work()  # type: ignore[no-untyped-call]
        else:
            tokens, logits = (torch.cat([getattr(p, name) for p in pupils]) for name in ("tokens", "logits"))
        sizes = [len(example.teachers) for example in batch]
        for pupil, own, its in zip(pupils, tokens.split(sizes), logits.split(sizes), strict=True):  # type: ignore[no-untyped-call]
            pupil.calls += 1
            pupil.tokens, pupil.logits = own, None if dynamic else its
        if fresh:
            for example, own in zip(batch, tokens.split(sizes), strict=True):  # type: ignore[no-untyped-call]
                self.drawn.setdefault(example.index, []).append(own.tolist())
        return Lesson(tokens, logits, _counts(batch, tokens))

    def _pupil(self, example: IceExample) -> _Pupil:
        if example.index not in self._pupils:
            self._pupils[example.index] = _Pupil(torch.Generator().manual_seed(example.seed))
        return self._pupils[example.index]

    @torch.no_grad()
    def _draw(self, batch: Sequence[IceExample], pupils: Sequence[_Pupil]) -> tuple[Tensor, Tensor]:
        """x_c ~ softmax(logits / τ) over the likeliest, token by token: (R, k) and (R, k, V)."""
        written, k = self._start(batch), self._hparams.sample_length
        tokens, logits = [], []
        for place in range(k):
            logits.append(written.logits[:, -1].float())  # (R, V)
            tokens.append(self._choose(logits[-1], batch, pupils, first=place == 0))
            if place + 1 < k:
                written = written.read(tokens[-1][:, None])
        return torch.stack(tokens, 1), torch.stack(logits, 1)

    @torch.no_grad()
    def _read(self, batch: Sequence[IceExample], pupils: Sequence[_Pupil]) -> tuple[Tensor, Tensor]:
        """The samples that were drawn before, read again."""
        tokens = torch.cat([pupil.tokens for pupil in pupils if pupil.tokens is not None])  # (R, k)
        written = self._start(batch)
        logits = [written.logits.float()]
        if tokens.shape[1] > 1:
            logits.append(written.read(tokens[:, :-1]).logits.float())
        return tokens, torch.cat(logits, 1)

    def _choose(self, logits: Tensor, batch: Sequence[IceExample], pupils: Sequence[_Pupil], first: bool) -> Tensor:
        """One token a row, (R,). Each example has its own generator: what is edited beside it changes nothing."""
        h = self._hparams
        if not torch.isfinite(logits).all():
            raise diverged(h)
        chosen = []
        for example, pupil, own in zip(
            batch,
            pupils,
            logits.split([len(example.teachers) for example in batch]),  # type: ignore[no-untyped-call]
            strict=True,
        ):
            if first and example.closed:  # a sample is what follows where the answer does not end
                own = own.index_fill(1, torch.tensor(example.ends, device=own.device), -torch.inf)
            values, ids = own.topk(min(h.top_k or own.shape[1], own.shape[1]), dim=1)  # (r, n)
            shares = (values / h.temperature).softmax(1).cpu()
            picked = torch.multinomial(shares, 1, generator=pupil.generator).to(ids.device)  # (r, 1)
            chosen.append(ids.gather(1, picked)[:, 0])
        return torch.cat(chosen)

    def _start(self, batch: Sequence[IceExample]) -> Written:
        key = tuple(example.index for example in batch)
        start = self._begun.get(key)
        if start is None:
            items = [item for example in batch for item in example.teachers]
            start = rollout(self._anatomy, items, self._sites)
            if self._hparams.target == "static":
                written = start()  # the weights of the model do not change, so neither does this
                start = lambda: written  # noqa: E731
            size = sum(len(prompt) + len(given) for prompt, given in items)
            if self._kept + size <= KEPT_TOKENS:
                self._kept += size
                self._begun[key] = start
        return start()


def _counts(batch: Sequence[IceExample], tokens: Tensor) -> Tensor:
    """Places before which no sample has ended, (R, k); not the first where the target's end stands there."""
    found = []
    for example, own in zip(batch, tokens.split([len(example.teachers) for example in batch]), strict=True):  # type: ignore[no-untyped-call]
        ended = torch.isin(own, torch.tensor(example.ends, device=own.device, dtype=own.dtype)).long()
        counts = ended.cumsum(1) - ended == 0
        if example.closed:
            counts[:, 0] = False
        found.append(counts)
    return torch.cat(found)
