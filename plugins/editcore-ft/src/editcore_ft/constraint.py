"""Constraints on the weights: a box or a ball around W₀, or a divergence from the unedited model's answers.

linf  |W − W₀| ≤ ε in every entry         Zhu et al. 2020, arXiv:2012.00363
l2    ‖W − W₀‖ ≤ ρ ‖W₀‖, Frobenius
kl    L + λ · mean over places of KL(p₀ ‖ p), p₀ of the model with W₀
"""

from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Item, encode_prompt, sample, target_logits
from editcore_ft.hparams import FtHparams, TrainingHparams
from editcore_ft.objective import Logits
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore_hooks import Session


def project_(weight: Tensor, anchor: Tensor, hparams: TrainingHparams) -> None:
    """Move `weight` to the nearest point that `linf` or `l2` allows around `anchor`; the others allow all."""
    with torch.no_grad():
        if hparams.constraint == "linf":
            weight.clamp_(anchor - hparams.linf_radius, anchor + hparams.linf_radius)
        elif hparams.constraint == "l2":
            change = weight - anchor
            limit, norm = hparams.l2_radius * anchor.norm(), change.norm()
            if norm > limit:
                weight.copy_(anchor + change * (limit / norm))


@frozen(eq=False)
class Divergence:
    """λ KL(p₀ ‖ p) over all places of the texts; `reference` is log p₀, (n, V) float32."""

    weight: float
    items: tuple[Item, ...]
    reference: Tensor

    def __call__(self, logits: Logits) -> Tensor:
        logprobs = logits(self.items, [0] * len(self.items)).logits.float().log_softmax(-1)  # (n, V)
        kl = (self.reference.exp() * (self.reference - logprobs)).sum(-1)  # (n,)
        return self.weight * kl.mean()


def divergence(session: "Session", hparams: FtHparams) -> Divergence | None:
    """The term of `kl`, with p₀ of the current model or of the base; None under another constraint."""
    if hparams.constraint != "kl":
        return None
    items = _texts(session, hparams)
    with torch.no_grad():
        if hparams.anchor == "base":
            with session.at_base():
                found = target_logits(session.model, items)
        else:
            found = target_logits(session.model, items)
    return Divergence(hparams.kl_weight, items, found.logits.float().log_softmax(-1))


def _texts(session: "Session", hparams: FtHparams) -> tuple[Item, ...]:
    """The texts as items that are scored at every place; with an encoder, at the first place of the decoder."""
    pairs = session.encoder_decoder
    if hparams.kl_texts:
        rows = [encode_prompt(session.tokenizer, text, encoder_decoder=pairs).ids for text in hparams.kl_texts]
    elif pairs:
        raise UsageError("kl has no texts: an encoder-decoder writes none by itself", hint="--set kl_texts=@FILE")
    else:
        key = ("ft texts", session.seed, hparams.kl_count, hparams.kl_length)
        rows = session.cached(key, lambda: _written(session, hparams.kl_count, hparams.kl_length))
    if not all(len(row) > 1 for row in rows):
        raise UsageError("a text of kl_texts has fewer than two tokens", hint="write sentences")
    return tuple((row, row[:1]) if pairs else (row[:1], row[1:]) for row in rows)


def _written(session: "Session", count: int, length: int) -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(session.seed)
    start = [session.start_token]
    with session.at_base():
        return [(*start, *row) for row in sample(session.model, [start] * count, length - 1, None, generator)]
