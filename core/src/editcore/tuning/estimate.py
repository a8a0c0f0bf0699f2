"""How long a start takes, from the time of one forward: nothing is known of the machine otherwise."""

import time
from typing import TYPE_CHECKING, Final

import torch
from attrs import frozen

from editcore.models.batch import decoder_start, forward, forward_pair, pad
from editcore.tuning.search import first_looks, least_looks, looks
from editcore_hooks import Tunable

if TYPE_CHECKING:
    from editcore.editing.session import Session

TOKENS_A_TRIAL: Final = 2_500
"""Of one fact: forward and backward of its rows in every step, and its questions; a rough count."""
TOKENS_A_FACT: Final = 1_250
"""Read and written for each fact that is looked for."""
SAMPLED: Final = 2
"""What a token of statistics costs in tokens of one forward: most are sampled first."""


@frozen
class Estimate:
    """Seconds: of looking for facts, of statistics, of a whole search, of its first look and of the least one."""

    facts: float
    statistics: float
    search: float
    first: float
    least: float

    @classmethod
    def of(cls, session: "Session", space: Tunable, n: int, given: bool) -> "Estimate":
        token = seconds_a_token(session)
        trial, places = token * TOKENS_A_TRIAL, len(space.places)
        return cls(
            facts=0.0 if given else token * TOKENS_A_FACT * n,
            statistics=token * SAMPLED * space.tokens,
            search=trial * looks(space, n),
            first=trial * places * first_looks(space, n)[0],
            least=trial * places * least_looks(space, n),
        )

    def total(self, limit: float, spared: float) -> float:
        """All of it, cut by the limit as far as it can be: some facts must be found, and each place seen.

        `spared` are the seconds that statistics get in any case.
        """
        needed = self.facts + min(self.statistics, spared) + self.least
        return max(min(self.facts + self.statistics + self.search, limit), needed)


@torch.no_grad()
def seconds_a_token(session: "Session") -> float:
    """Of one forward of 16 rows of 32 tokens, the second that is made."""
    encoder_decoder = session.encoder_decoder
    token = decoder_start(session.model) if encoder_decoder else session.start_token
    batch = pad([[token] * 32] * 16).to(session.device)

    def read() -> None:
        forward_pair(session.model, batch, batch) if encoder_decoder else forward(session.model, batch)

    read()
    started = time.perf_counter()
    read()
    return (time.perf_counter() - started) / batch.ids.numel()
