"""Estimates of tuning time from the time of one forward; nothing else is known of the machine before it starts."""

import time
from typing import TYPE_CHECKING, Final

import torch
from attrs import frozen

from editcore.models.running.batch import decoder_start, forward, forward_pair, pad
from editcore.tuning.search import looks
from editcore_hooks import Tunable

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession

TOKENS_A_TRIAL: Final = 3_500
TOKENS_A_CHECK: Final = 1_800
"""Cost of one fact: forward and backward of its rows in every step, and its questions; rough counts. Searches try
settings of more steps than the defaults have."""
SHALLOW: Final = 0.15
"""Share of the statistics' cost for the default place alone: fewer blocks run, on one text."""
TOKENS_A_FACT: Final = 150
"""Read for each fact that is looked for, in several wordings and of several candidates."""


@frozen
class Estimate:
    """Seconds: of facts, of the statistics of all places, of trying the defaults on few facts, and of a search."""

    facts: float
    statistics: float
    check: float
    search: float

    @classmethod
    def of(cls, session: "OpenSession", space: Tunable, n: int, check: int, given: bool) -> "Estimate":
        """For `n` facts in the search and `check` on which the defaults are tried first; `given` ones cost nothing."""
        token = seconds_a_token(session)
        return cls(
            facts=0.0 if given else token * TOKENS_A_FACT * n,
            statistics=token * space.tokens,
            check=token * ((0 if given else TOKENS_A_FACT) + TOKENS_A_CHECK) * check,
            search=token * TOKENS_A_TRIAL * looks(space, n),
        )

    def checking(self) -> float:
        """Until it is known whether the defaults hold."""
        return SHALLOW * self.statistics + self.check

    def whole(self, limit: float) -> float:
        """All of it, cut by the limit."""
        return min(self.facts + self.statistics + self.search, limit)


@torch.no_grad()
def seconds_a_token(session: "OpenSession") -> float:
    """Seconds a token of the second forward pass over 16 rows of 32 tokens, with the head at one token in eight.

    An edit reads the head at few positions and statistics at none; with a large vocabulary it is most of a model.
    """
    encoder_decoder = session.encoder_decoder
    token = decoder_start(session.model) if encoder_decoder else session.start_token
    batch = pad([[token] * 32] * 16).to(session.device)
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(0, 32, 8), indexing="ij")
    at = (rows.flatten().to(session.device), columns.flatten().to(session.device))

    def read() -> None:
        forward_pair(session.model, batch, batch, at) if encoder_decoder else forward(session.model, batch, at)

    read()
    started = time.perf_counter()
    read()
    return (time.perf_counter() - started) / batch.ids.numel()
