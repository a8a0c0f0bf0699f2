"""`tune`: find the settings of a method for a model, and keep them as a profile."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import torch
from attrs import frozen

from editcore.editing.compute import Options
from editcore.models.batch import forward, pad
from editcore.tuning.facts import own_cases
from editcore.tuning.profiles import Profile, default_name, keep_profile
from editcore.tuning.search import Search, Trial, failed, looks
from editcore.tuning.trial import Bench
from editcore_hooks import Case, Tunable, UsageError

if TYPE_CHECKING:
    from editcore.editing.session import Session

FACTS: Final = 48
SECONDS: Final = 90.0
_TOKENS_A_TRIAL: Final = 2_500
"""Of one fact: forward and backward of its rows in every step, and its questions; a rough count."""
_TOKENS_OF_FACTS: Final = 60_000
"""Read and written while facts are looked for."""


@frozen
class Tuned:
    """The profile kept, the trial that won, all trials, and the facts on which the winner's edit did not take."""

    profile: Profile
    best: Trial
    trials: tuple[Trial, ...]
    failed: tuple[str, ...]
    seconds: float


def tune(
    session: "Session",
    method: str,
    cases: Sequence[Case] | None = None,
    *,
    name: str | None = None,
    facts: int = FACTS,
    seconds: float = SECONDS,
    edits: int = 1,
) -> Tuned:
    """Try the settings that `method` finds worth trying on `cases`, or on at most `facts` facts of the model itself.

    `edits` is how many facts will be written at once; where the method makes a difference, `name` does by default too.
    Works on the base, whatever patches are on. Says first about how long it will take; `seconds` bounds the search,
    except its first look at every place. Raises `UsageError` when the method has nothing to tune or the facts are too
    few.
    """
    cls = session.registry.method(method)
    space = cls.tunable({**session.facts(), "edits": edits})
    if space is None:
        raise UsageError(f"{method} has nothing to tune", hint="editcore methods NAME shows what can be set")
    started = time.monotonic()
    with session.at_base():
        n = len(cases) if cases else facts
        session.say(f"tuning {method} for {session.loaded.name}: about {_estimate(session, space, n):.0f} s")
        chosen = list(cases) if cases else own_cases(session, facts)
        options = Options(method=method)
        search = Search(session, cls, space, Bench.of(session, chosen), options, seconds)
        cls.make_ready(session, [search.prepared(settings).method.hparams for settings in search.candidates()])
        best = search.run()
    if best.summary is None:
        raise UsageError(f"{method} edits none of the facts: {best.failure}", hint="give others: --cases FILE")
    took = time.monotonic() - started
    trials = tuple(search.trials.values())
    undone = failed(search.bench, best)
    about = {
        "facts": "given" if cases else "of the model itself",
        "n_facts": len(chosen),
        "together": space.together,
        "seed": session.seed,
        "seconds": round(took, 1),
        "trials": [_row(trial) for trial in trials],
        "failed": list(undone),
    }
    profile = keep_profile(session, method, name or default_name(space.together), best.settings, about)
    return Tuned(profile, best, trials, tuple(undone), took)


def _row(trial: Trial) -> dict[str, Any]:
    measured = attrs.asdict(trial.summary) if trial.summary is not None else {"score": -1.0, "n": 0}
    return {"settings": dict(trial.settings), **measured, "failure": trial.failure}


@torch.no_grad()
def _estimate(session: "Session", space: Tunable, n: int) -> float:
    """Seconds for everything, from the time of one forward: nothing here is known of the machine otherwise."""
    batch = pad([[session.start_token] * 32] * 16).to(session.device)
    forward(session.model, batch)
    started = time.perf_counter()
    forward(session.model, batch)
    a_token = (time.perf_counter() - started) / batch.ids.numel()
    return a_token * (looks(space, n) * _TOKENS_A_TRIAL + _TOKENS_OF_FACTS)
