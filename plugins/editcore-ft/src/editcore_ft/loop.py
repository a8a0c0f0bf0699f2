"""The loop: Adam on the copies, a projection after every step, and an end when the loss is small."""

from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import Protocol, TypeVar

import torch
from attrs import field, frozen
from torch import Tensor

from editcore_ft.constraint import project_
from editcore_ft.hparams import TrainingHparams
from editcore_ft.weights import Copies
from editcore_hooks import EditcoreError

E = TypeVar("E", contravariant=True)
T = TypeVar("T")


@frozen(eq=False)
class Losses:
    """The loss of `each` request of a batch, (E,) with gradient, and of the `whole`, made only if a step is taken."""

    each: Tensor
    whole: Callable[[], Tensor]


class Objective(Protocol[E]):
    """What is minimised: called once a batch and pass, with gradients enabled."""

    def __call__(self, batch: Sequence[E], /) -> Losses: ...


@frozen
class Trained:
    """Passes (of the longest run under `depth`), updates, and the mean loss of each pass before its updates."""

    passes: int
    updates: int
    losses: tuple[float, ...] = field(repr=False)


def in_batches(examples: Sequence[T], size: int) -> list[list[T]]:
    """The examples in their order, `size` at a time."""
    return [list(examples[i : i + size]) for i in range(0, len(examples), size)]


def changes(examples: Sequence[T], hparams: TrainingHparams) -> bool:
    """Whether batches are made again in each pass."""
    return hparams.shuffle and hparams.schedule == "breadth" and len(examples) > hparams.batch_size


def train_(
    copies: Copies,
    examples: Sequence[T],
    hparams: TrainingHparams,
    objective: Objective[T],
    advance: Callable[[int], None],
    *,
    seed: int = 0,
    clip: float | None = None,
) -> Trained:
    """Train the copies until the loss of every request is below `stop_loss`, for `steps` passes at most.

    A batch of which that holds takes no step, but is projected. (Published code compares the mean of the batch, which
    is the same for a batch of one.) Under `depth` every batch has its own passes and its own Adam. `clip` bounds every
    entry of a gradient. Raises `EditcoreError` when a loss is no longer finite.
    """
    batches = in_batches(examples, hparams.batch_size)
    if hparams.schedule == "depth":
        runs = [_passes(copies, _same([batch], hparams), hparams, objective, advance, clip) for batch in batches]
        return Trained(
            max(run.passes for run in runs),
            sum(run.updates for run in runs),
            tuple(loss for run in runs for loss in run.losses),
        )
    passes = _shuffled(examples, hparams, seed) if changes(examples, hparams) else _same(batches, hparams)
    return _passes(copies, passes, hparams, objective, advance, clip)


def _same(batches: Sequence[Sequence[T]], hparams: TrainingHparams) -> Iterator[Sequence[Sequence[T]]]:
    return (batches for _ in range(hparams.steps))


def _shuffled(examples: Sequence[T], hparams: TrainingHparams, seed: int) -> Iterator[Sequence[Sequence[T]]]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(hparams.steps):
        order = torch.randperm(len(examples), generator=generator).tolist()
        yield in_batches([examples[i] for i in order], hparams.batch_size)


def _passes(
    copies: Copies,
    passes: Iterator[Sequence[Sequence[T]]],
    hparams: TrainingHparams,
    objective: Objective[T],
    advance: Callable[[int], None],
    clip: float | None,
) -> Trained:
    leaves = list(copies.trained.values())
    adam = torch.optim.Adam(leaves, lr=hparams.lr, weight_decay=hparams.weight_decay)
    losses: list[float] = []
    updates = 0
    for batches in passes:
        seen: list[float] = []
        for batch in batches:
            with torch.enable_grad():
                found = objective(batch)
                own = found.each.tolist()  # (E,)
                if not all(map(isfinite, own)):
                    raise diverged(hparams)
                seen += own
                if max(own) >= hparams.stop_loss:
                    # by name: `backward` would leave gradients on live parameters that happen to require them
                    for leaf, gradient in zip(leaves, torch.autograd.grad(found.whole(), leaves), strict=True):
                        leaf.grad = gradient if clip is None else gradient.clamp(-clip, clip)
                    adam.step()
                    updates += 1
            for site, leaf in copies.trained.items():
                project_(leaf, copies.anchor[site], hparams)
        losses.append(sum(seen) / len(seen))
        advance(1)
        if max(seen) < hparams.stop_loss:
            break
    return Trained(len(losses), updates, tuple(losses))


def diverged(hparams: TrainingHparams) -> EditcoreError:
    """The error for numbers that are no longer finite."""
    return EditcoreError("the training diverged", hint=f"take smaller steps: --set lr={hparams.lr / 10:g}")
