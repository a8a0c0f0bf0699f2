"""The training loop: AdamW on a cosine, mixed precision on the processor, and probes of what is known so far."""

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from editcore_demo.training.answering import answer_loss, pairs
from editcore_demo.training.packing import batches
from editcore_demo.training.scoring import accuracy, questions
from editcore_demo.training.shapes import Shape, auto_class
from editcore_demo.world import World

WARMUP = 150


@frozen
class Schedule:
    """How long and how fast; probes are every `probe_every` steps, and the model is saved with them."""

    steps: int = 3000
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.1
    seed: int = 0
    probe_every: int = 400
    warmup: int = WARMUP

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warmup = min(self.warmup, self.steps // 4 + 1)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, self.steps - warmup)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def train(
    world: World,
    shape: Shape,
    tokenizer: PreTrainedTokenizerFast,
    schedule: Schedule,
    checkpoint: Path | None = None,
    say: Callable[[str], None] = print,
) -> PreTrainedModel:
    """The trained model in float32; the same arguments give the same model on one machine."""
    model = new_model(shape, tokenizer, schedule.seed)
    probes = questions(world)

    def probe() -> None:
        shares = accuracy(model, tokenizer, probes, most=200)
        say("  ".join(f"{kind} {share:.2f}" for kind, share in shares.items()))
        if checkpoint is not None:
            model.save_pretrained(checkpoint)
            tokenizer.save_pretrained(checkpoint)

    if shape.answers:
        fit(model, pairs(world, tokenizer, schedule.seed, schedule.steps), schedule, probe, say, answer_loss)
    else:
        data = batches(world, tokenizer, schedule.seed, shape.begins_with_bos, schedule.steps)
        fit(model, data, schedule, probe, say)
    return model


def new_model(shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """A model of random weights in float32."""
    torch.manual_seed(seed)
    # Eager attention is the faster one for rows this short.
    config = shape.config(tokenizer)
    model: PreTrainedModel = auto_class(config).from_config(config, attn_implementation="eager", dtype=torch.float32)
    return model


def next_token_loss(model: PreTrainedModel, ids: Tensor, weights: Tensor) -> Tensor:
    """The loss of token ids and the weight of each as a target, both (rows, length)."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids, use_cache=False).logits
    # (rows, length, vocabulary) against the token after each position
    each = cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
    weight = weights[:, 1:].flatten()
    return (each * weight).sum() / weight.sum()


def fit(
    model: PreTrainedModel,
    data: Iterable[tuple[Tensor, ...]],
    schedule: Schedule,
    probe: Callable[[], None],
    say: Callable[[str], None] = print,
    loss_of: Callable[..., Tensor] = next_token_loss,
) -> None:
    """Train `model` in place on `schedule.steps` batches, the tensors that `loss_of` takes after the model.

    `probe` is called every `schedule.probe_every` steps, and not after the last one.
    """
    optimizer = _adamw(model, schedule)
    started, total, counted = time.monotonic(), 0.0, 0
    model.train()
    for step, batch in enumerate(data):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        loss = loss_of(model, *batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total, counted = total + loss.item(), counted + 1
        last = step + 1 == schedule.steps
        if (step + 1) % 100 == 0 or last:
            say(f"step {step + 1}/{schedule.steps}  {time.monotonic() - started:.0f} s  loss {total / counted:.4f}")
            total, counted = 0.0, 0
        if (step + 1) % schedule.probe_every == 0 and not last:
            probe()
    model.train(False)


def _adamw(model: PreTrainedModel, schedule: Schedule) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": schedule.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.95), fused=True)
