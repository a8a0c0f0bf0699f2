"""What the slots should leave alone: texts of the model, and the same questions about other subjects.

L_s = λ · mean over places of KL(p₀ ‖ p), p₀ of the model before this edit; once for texts, once for questions. Not part
of the published method, whose slots answer other questions with the targets too.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import attrs
import torch
from attrs import frozen
from torch import Tensor

from editcore.authoring.models import Item, sample, target_logits
from editcore_calinet.hparams import CalinetHparams
from editcore_calinet.slots import Slotted
from editcore_hooks import EditRequest
from editcore_keyvalue.unrelated import other_subjects, unrelated

if TYPE_CHECKING:
    from editcore_hooks import Session

TEXT_LENGTH: Final = 32
TEXT_PLACES: Final = 8
"""Places of a text that are held."""


@frozen(eq=False)
class Spared:
    """Items and log p₀ of each of their n places, (n, V) float32."""

    items: tuple[Item, ...]
    reference: Tensor

    def __call__(self, slotted: Slotted) -> Tensor:
        """The mean divergence over the places with the slots as they are."""
        logprobs = slotted.logits(self.items).logits.float().log_softmax(-1)  # (n, V)
        return (self.reference.exp() * (self.reference - logprobs)).sum(-1).mean()


def spared(
    session: "Session", batches: Sequence[Sequence[EditRequest]], hparams: CalinetHparams
) -> list[tuple[Spared, ...]]:
    """What each batch of requests is held to: the texts, and its own questions; nothing where λ is zero."""
    if not hparams.spare_weight:
        return [() for _ in batches]
    common = _held(session, _texts(session, hparams.text_count))
    return [(*common, *_held(session, _asked(session, batch, hparams))) for batch in batches]


def _asked(session: "Session", requests: Sequence[EditRequest], hparams: CalinetHparams) -> list[Item]:
    """The questions of the requests in turn, one for each name, or one for each request where these are more. Of the
    answer only the first token is a place."""
    subjects = {request.subject.strip() for request in requests}
    free = [
        [
            name
            for name in hparams.others or other_subjects(session, request, hparams.other_count)
            if name.strip() not in subjects
        ]
        for request in requests
    ]
    items: list[Item] = []
    for i in range(max(*map(len, free), len(requests))):
        request, names = requests[i % len(requests)], free[i % len(requests)]
        if not names:
            continue
        encoded = session.encode(attrs.evolve(request, subject=names[i % len(names)]))
        items.append((encoded.prompt_ids, encoded.target_ids[:1]))
    return list(dict.fromkeys((tuple(prompt), tuple(target)) for prompt, target in items))


@torch.no_grad()
def _held(session: "Session", items: Sequence[Item]) -> tuple[Spared, ...]:
    if not items:
        return ()
    return (Spared(tuple(items), target_logits(session.model, items).logits.float().log_softmax(-1)),)


def _texts(session: "Session", count: int) -> list[Item]:
    """`count` texts that the unedited model writes, the same all session long.

    Beside an encoder it writes none: its prompts are pieces of the bundled text, and a place where it begins to answer.
    """
    if not count:
        return []
    if session.encoder_decoder:
        return [(row, row[-1:]) for row in unrelated(session, count)]

    def make() -> list[tuple[int, ...]]:
        generator = torch.Generator().manual_seed(session.seed)
        start = session.start_token
        rows = sample(session.model, [[start]] * count, TEXT_LENGTH - 1, None, generator)
        return [(start, *row) for row in rows]

    key = ("calinet texts", session.seed, count)
    texts: list[tuple[int, ...]] = session.cached(key, make, base=True)
    # the end of each text: a place costs a row of the vocabulary in every step
    return [(row[:-TEXT_PLACES], row[-TEXT_PLACES:]) for row in texts if len(row) > TEXT_PLACES]
