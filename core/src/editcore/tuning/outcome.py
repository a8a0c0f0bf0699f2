"""What a search found, in words: the settings, their score, and what is wrong with edits by them."""

from collections.abc import Mapping
from typing import Any, Final

from editcore.tuning.search import Search, Trial
from editcore.tuning.task import HOLDS_SCORE
from editcore.tuning.trial import Summary, shown

_WRONG: Final = {
    "target": "many edits by them do not take",
    "general": "edits by them hold in few other wordings",
    "local": "edits by them change the answers to other facts",
}


def say_outcome(search: Search, best: Trial) -> None:
    """Report the best settings, and warn where they are not good enough to edit with."""
    session, found = search.session, best.summary
    if found is None:
        return
    tried = sum(bool(trial.outcomes) for trial in search.trials.values())
    session.say(f"best of {tried} settings: {_words(best.settings)}; score {shown(found.score)} on {found.n} facts")
    if found.score < HOLDS_SCORE:
        session.warn(
            f"no settings that were tried are good for {session.loaded.name} (enough: {HOLDS_SCORE}): "
            f"{_WRONG[_weakest(found)]}. `editcore methods` lists other methods"
        )


def _words(settings: Mapping[str, Any]) -> str:
    given = [f"{name} {value}" for name, value in settings.items()]
    return ", ".join(given) or "the defaults"


def _weakest(found: Summary) -> str:
    return min(_WRONG, key=lambda part: float(getattr(found, part)))
