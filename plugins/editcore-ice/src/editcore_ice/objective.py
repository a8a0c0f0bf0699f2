"""The objective: the target, and the answer as with a context.

L      = L_FT + λ L_ICE                                   Qi et al. 2025, arXiv:2406.11194, section 3
L_FT   = −log p(x* | q)
L_ICE  = mean over contexts c and samples x_c of
         Σₜ KL(sg[p(· | c, q, x*, x_c<t)] ‖ p(· | q, x*, x_c<t))     divergence
         −Σₜ log p(x_c,t | q, x*, x_c<t)                             samples
"""

from collections.abc import Sequence
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from editcore.authoring.models import Item, TargetLogits
from editcore_ft.loop import Losses
from editcore_ft.objective import Example, nll
from editcore_ft.weights import Trainable
from editcore_ice.examples import IceExample
from editcore_ice.hparams import IceHparams
from editcore_ice.record import Distributions, likeliest
from editcore_ice.teacher import Lesson, Teacher


@define(eq=False)
class Ice:
    """The objective of a training, and its record: by index of a request L_FT and L_ICE of every step, and the
    distributions with and without context at the first and the last."""

    weights: Trainable
    teacher: Teacher
    hparams: IceHparams
    encoder_decoder: bool
    curve: dict[int, list[tuple[float, float]]] = field(factory=dict)
    seen: dict[int, list[Distributions]] = field(factory=dict)

    def __call__(self, batch: Sequence[IceExample]) -> Losses:
        facts = [example.fact for example in batch]
        if not self.hparams.ice_weight:
            own = total(self.weights.logits, facts)  # (E,)
            return self._losses(batch, own, torch.zeros_like(own))
        lesson = self.teacher.lesson(batch)
        rows = [row.item for fact in facts for row in fact.rows]
        owners = [fact.index for fact in facts for _ in fact.rows]
        owners += [example.index for example in batch for _ in example.teachers]
        found = self.weights.fresh_logits([*rows, *self._students(batch, lesson)], owners)
        n = sum(len(target) for _, target in rows)
        first = TargetLogits(found.logits[:n], found.labels[:n], found.item[:n])
        own = total(lambda *_: first, facts)  # (E,)
        return self._losses(batch, own, self._ice(batch, lesson, found.logits[n:]))

    def _losses(self, batch: Sequence[IceExample], own: Tensor, ice: Tensor) -> Losses:
        each = own + self.hparams.ice_weight * ice
        if self.hparams.context_nll:
            stated = [example.stated for example in batch]
            each = each + total(self.weights.logits, stated)
        for example, *two in zip(batch, own.tolist(), ice.tolist(), strict=True):
            self.curve.setdefault(example.index, []).append((two[0], two[1]))
        return Losses(each, each.mean)

    def _students(self, batch: Sequence[IceExample], lesson: Lesson) -> list[Item]:
        """[q, x*, x_c] of every sample. A decoder of its own reads its part of the answer, so x* is scored as well."""
        rows = [example.student for example in batch for _ in example.teachers]
        samples = [tuple(row) for row in lesson.tokens.tolist()]
        if self.encoder_decoder:
            return [(q, (*given, *tokens)) for (q, given), tokens in zip(rows, samples, strict=True)]
        return [((*q, *given), tokens) for (q, given), tokens in zip(rows, samples, strict=True)]

    def _ice(self, batch: Sequence[IceExample], lesson: Lesson, logits: Tensor) -> Tensor:
        """L_ICE of each example, (E,); `logits` (n, V) at the places of the students, samples last in each."""
        R, k = lesson.tokens.shape
        if self.encoder_decoder:
            lengths = [len(example.student[1]) + k for example in batch for _ in example.teachers]
            logits = torch.cat([own[-k:] for own in logits.split(lengths)])  # type: ignore[no-untyped-call]
        student = logits.reshape(R, k, -1).float().log_softmax(-1)  # (R, k, V)
        teacher = lesson.logits.log_softmax(-1)
        if self.hparams.form == "divergence":
            each = (teacher.exp() * (teacher - student)).sum(-1)  # (R, k)
        else:
            each = -student.gather(-1, lesson.tokens[..., None])[..., 0]
        losses = (each * lesson.counts).sum(1)  # (R,)
        sizes = [len(example.teachers) for example in batch]
        self._note(batch, lesson, teacher, student.detach())
        return torch.stack([own.mean() for own in losses.split(sizes)])  # type: ignore[no-untyped-call]

    def _note(self, batch: Sequence[IceExample], lesson: Lesson, teacher: Tensor, student: Tensor) -> None:
        sizes = [len(example.teachers) for example in batch]
        parts: Any = zip(*(tensor.split(sizes) for tensor in (lesson.counts, teacher, student)), strict=True)  # type: ignore[no-untyped-call]
        for example, (counts, given, own) in zip(batch, parts, strict=True):
            place = 1 if example.closed else 0
            seen = likeliest(given[counts[:, place], place], own[counts[:, place], place])
            if seen is not None:
                self.seen[example.index] = [*self.seen.get(example.index, [])[:1], seen]


def total(logits: Any, examples: Sequence[Example]) -> Tensor:
    """−log p of all tokens of the target, in the mean over rows, (E,): a sum, where fine-tuning takes the mean."""
    counts = torch.tensor([float(len(example.rows[0].labels)) for example in examples])
    each = nll(logits, examples)  # (E,)
    return each * counts.to(each.device)
