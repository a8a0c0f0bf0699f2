"""The keys with which slots begin.

random   uniform in ±1/√d, as a linear layer begins in the published code
states   the same, and to it κ (q − μ) / ‖q − μ‖², so that a slot fires with about κ at q and hardly elsewhere

q is what the MLP reads at the last token of a subject, in turn of all facts and contexts, and μ the mean of what it
reads at all tokens of the texts but the first.
"""

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from editcore.authoring.models import Mlp, Tap, Trace, target_logits
from editcore_hooks import EditRequest

if TYPE_CHECKING:
    from editcore_hooks import Session

SHARPNESS: Final = 4.0
"""κ: elsewhere a key fires in proportion to a cosine, and GELU and SiLU are close to zero below −κ/2."""


def random_keys(mlp: Mlp, rows: int, generator: torch.Generator) -> Tensor:
    """(rows, d), on the processor."""
    bound = 1 / sqrt(mlp.hidden_size)
    return torch.empty(rows, mlp.hidden_size).uniform_(-bound, bound, generator=generator)


def at_states(session: "Session", mlp: Mlp, requests: Sequence[EditRequest], keys: Tensor) -> Tensor:
    """Random `keys` (n, d), moved to the states of the requests, each in a context of its own."""
    states, mean = subject_states(session, mlp, requests)
    away = (states - mean).cpu()  # (S, d)
    turned = SHARPNESS * away / away.square().sum(-1, keepdim=True).clamp_min(1e-6)
    return keys + turned[torch.arange(len(keys)) % len(turned)]


@torch.no_grad()
def subject_states(session: "Session", mlp: Mlp, requests: Sequence[EditRequest]) -> tuple[Tensor, Tensor]:
    """What the MLP reads at the last token of each subject, (S, d), and on average at all tokens, (d,); float32.

    Beside an encoder the decoder reads nothing of the subject: there it is what it reads first of an answer.
    """
    reads = session.model.get_submodule(mlp.inner[0])
    found, every = [], []
    for request in requests:
        encoded = session.encode(request)
        with Trace(None, {reads: Tap(input=True)}, stop=True) as trace:
            target_logits(session.model, [(encoded.prompt_ids, encoded.target_ids)])
        states = trace.input(reads).float().reshape(-1, mlp.hidden_size)  # (T, d); OPT reads rows without a batch
        inside = encoded.subject is not None and not encoded.encoder_decoder
        found.append(states[encoded.subject[-1] if inside and encoded.subject else 0])
        every.append(states[1:] if len(states) > 1 else states)
    return torch.stack(found), torch.cat(every).mean(0)
