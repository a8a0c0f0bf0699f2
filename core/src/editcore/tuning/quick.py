"""What an edit without a check of its settings gives up, in words: the settings, and the time of a check."""

from typing import TYPE_CHECKING

import attrs

from editcore.tuning.estimate import Estimate
from editcore.tuning.task import CHECKED
from editcore.tuning.tune import FACTS, SECONDS

if TYPE_CHECKING:
    from editcore.editing.prepared import PreparedMethod
    from editcore.session.open_session import OpenSession


def cost_of_quick(session: "OpenSession", run: "PreparedMethod", edits: int) -> list[str]:
    """Lines about a quick edit; none where a profile or a preset gives its settings, or nothing can be tuned."""
    cls = type(run.method)
    space = cls.tunable({**session.traits(), "edits": edits})
    if run.source is not None or space is None:
        return []
    estimate = Estimate.of(session, space, FACTS, CHECKED, given=False)
    check, search = min(estimate.checking(), SECONDS), estimate.whole(SECONDS)
    given = attrs.asdict(run.resolved.hparams, recurse=False)
    chosen = [f"{name} {given[name]}" for name in ("layer", "layers") if given.get(name) is not None]
    place = " and ".join(chosen) or "a layer by relative depth"
    return [
        f"quick: {cls.name} edits with its default settings and {place}, which were not tried on {session.loaded.name}",
        f"not spent: about {check:.0f} s to check them on facts of the model, and {search:.0f} s to search for others",
        "where they do not suit the model, the edit fails, or holds in fewer wordings and changes other answers; "
        "whether it took is measured before the patch is written",
    ]
