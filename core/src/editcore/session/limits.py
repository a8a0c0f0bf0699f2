"""A time limit that holds inside the loops of others: every step of their progress looks at the clock."""

import time

from attrs import frozen

from editcore.session.talk import Progress
from editcore_hooks import EditcoreError


class TimeUp(EditcoreError):
    """The time that was given is used up."""


@frozen
class Guarded:
    """Progress whose `advance` raises `TimeUp` after the moment `stop_at` of `time.monotonic`."""

    progress: Progress
    stop_at: float

    def advance(self, n: int = 1) -> None:
        self.progress.advance(n)
        if time.monotonic() > self.stop_at:
            raise TimeUp("the time limit is reached")
